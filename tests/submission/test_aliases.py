# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who reads whose mail, as aliases(5) says, and how everything else is refused by name."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import ConfigError, MailspoolError, NoSuchUser
from mailspool.submission.aliases import MAX_OCTETS, Aliases

DOMAINS = ("mx.example.org", "example.org")


@pytest.fixture
def expand(tmp_path):
    """expand(text, name or address): whom mail for it goes to, by a file that holds the text."""

    def look_up(text, whom):
        (tmp_path / "aliases").write_text(text)
        aliases = Aliases(str(tmp_path / "aliases"), DOMAINS)
        return list(aliases.expand(whom if "@" in whom else f"{whom}@example.org", "@" not in whom))

    return look_up


@pytest.mark.parametrize(
    ("text", "whom", "targets"),
    [
        ("root: a@x.example\n", "root", ["a@x.example"]),
        ("root:a@x.example", "ROOT", ["a@x.example"]),
        ("Root : a@x.example\n", "root", ["a@x.example"]),
        ("root: a@x.example, Joe <b@y.example>\n", "root", ["a@x.example", "b@y.example"]),
        ("root: a@x.example,\n# between\n\tb@y.example,\n\n c@z.example\n", "root",
         ["a@x.example", "b@y.example", "c@z.example"]),
        ('"a b": a@x.example\n', '"a b"', ["a@x.example"]),
        ('"a:b,c": a@x.example\n', '"a:b,c"', ["a@x.example"]),
        ("postmaster: root\nroot: joe\njoe: j@x.example\n", "postmaster", ["j@x.example"]),
        ("all: root, j@x.example\nroot: j@x.example\n", "all", ["j@x.example"]),
        ("root: a@x.example\nroot: b@x.example\n", "root", ["a@x.example"]),
        # with a domain
        ("root: a@x.example\n", "root@example.org", ["a@x.example"]),
        ("root: a@x.example\n", "root@mx.example.org", ["a@x.example"]),
        ("root: a@x.example\n", "root@localhost", ["a@x.example"]),
        ("root: a@x.example\n", "root@elsewhere.example", ["root@elsewhere.example"]),
        ("", "joe@example.org", ["joe@example.org"]),
        ("root: root@example.org\n", "root", ["root@example.org"]),
        ("a: b@example.org\nb: a@example.org\n", "a", ["a@example.org"]),
        ("x: a@elsewhere.example\n", "a@elsewhere.example", ["a@elsewhere.example"]),
        # for all others
        ("default: a@x.example\n", "joe", ["a@x.example"]),
        ("default: a@x.example\njoe: b@x.example\n", "joe", ["b@x.example"]),
        ("default: a@x.example\n", "joe@example.org", ["joe@example.org"]),
        ("default: root\nroot: a@x.example\n", "joe", ["a@x.example"]),
        # faults of others
        ("no colon here\nbad: |x\nroot: a@x.example\n", "root", ["a@x.example"]),
    ],
)  # fmt: skip
def test_an_alias_leads_to_addresses(expand, text, whom, targets):
    assert expand(text, whom) == targets


@pytest.mark.parametrize("whom", ["joe", "joe@localhost"])
def test_a_name_without_an_alias_is_nobody_and_the_fix_is_named(expand, whom):
    with pytest.raises(NoSuchUser, match=r"add 'joe: you@example.org' to .*/aliases") as caught:
        expand("root: a@x.example\n", whom)
    assert caught.value.exit_code == 67


def test_an_alias_that_leads_to_nobody_says_for_whom(expand):
    with pytest.raises(NoSuchUser, match=r"'root' on this host \(for 'postmaster'\)"):
        expand("postmaster: root\n", "postmaster")


def test_a_failing_alias_says_its_own_words(expand):
    with pytest.raises(NoSuchUser, match=r"^He left, sorry$"):
        expand("joe: :fail: He left, sorry\n", "joe")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("|/usr/bin/procmail", "a pipe"),
        ('"|/usr/bin/vacation joe, x"', "a pipe"),
        ("/var/mail/joe", "a file"),
        ("/dev/null", "a file"),
        ("\\joe", "a mailbox of this host"),
        (":blackhole:", "no directive that is known"),
        ("", "nobody stands behind it"),
        ("a@@b", "a@@b"),
        ("joe", "leads back to itself"),
        ("jane", "joe → jane → joe"),
        (":include:relative", "absolute path"),
        (":include:/no/such/file", "No such file"),
    ],
)
def test_what_cannot_be_followed_is_named_with_its_place_and_is_a_local_fault(expand, value, what):
    with pytest.raises(ConfigError) as caught:
        expand(f"# first\njoe: {value}\njane: joe\n", "joe")
    assert ":2: alias 'joe'" in str(caught.value)
    assert what in str(caught.value)


OWNED = """\
list: a@x.example
list2: b@x.example, part2, c@x.example
part2: d@x.example, c@x.example
owner-list2: joe
owner-part2: one@x.example, two@x.example
joe: joe@x.example
owner-owner-list2: z@x.example
"""


@pytest.mark.parametrize(
    ("whom", "targets"),
    [
        ("list", {"a@x.example": ""}),
        (
            "list2",
            {
                "b@x.example": "joe@x.example",
                "d@x.example": "owner-part2@example.org",  # the nearest owner; of several the alias that leads to them
                "c@x.example": "owner-part2@example.org",  # of two ways the first
            },
        ),
        ("owner-list2", {"joe@x.example": ""}),  # an owner has no owner
        ("list2@elsewhere.example", {"list2@elsewhere.example": ""}),
    ],
)
def test_what_has_an_owner_is_sent_by_that_owner(tmp_path, whom, targets):
    (tmp_path / "aliases").write_text(OWNED)
    aliases = Aliases(str(tmp_path / "aliases"), DOMAINS)
    address = whom if "@" in whom else f"{whom}@example.org"
    assert aliases.expand(address, "@" not in whom) == targets


def test_an_owner_that_cannot_be_followed_is_told_of(tmp_path):
    (tmp_path / "aliases").write_text("list: a@x.example\nowner-list: |prog\n")
    with pytest.raises(ConfigError, match=r"owner-list.*is a pipe"):
        Aliases(str(tmp_path / "aliases"), DOMAINS).expand("list@example.org", True)


def test_an_included_file_is_read_if_nobody_else_may_write_it(expand, tmp_path):
    members = tmp_path / "members"
    members.write_text("# us\na@x.example, b@x.example\n\nroot\n")
    members.chmod(0o644)
    text = f"list: :include:{members}, z@x.example\nroot: r@x.example\n"
    assert expand(text, "list") == ["a@x.example", "b@x.example", "r@x.example", "z@x.example"]
    members.chmod(0o666)
    with pytest.raises(ConfigError, match="may be written by others: chmod go-w"):
        expand(text, "list")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_included_file_of_somebody_else_is_refused(expand, tmp_path):
    members = tmp_path / "members"
    members.write_text("a@x.example\n")
    os.chown(members, 2, 2)
    with pytest.raises(ConfigError, match="belongs to uid 2"):
        expand(f"list: :include:{members}\n", "list")


def test_of_a_file_that_is_too_large_nobody_is_left_out(expand, tmp_path):
    members = tmp_path / "members"
    many = "".join(f"member-{number:040}@x.example\n" for number in range(MAX_OCTETS // 58))
    members.write_text(many)
    assert len(expand(f"list: :include:{members}\n", "list")) == MAX_OCTETS // 58
    members.write_text(many + "last@x.example\n" * 10)
    with pytest.raises(ConfigError, match="File too large"):
        expand(f"list: :include:{members}\n", "list")
    with pytest.raises(ConfigError, match="File too large"):
        expand("# a comment\n" * (MAX_OCTETS // 12) + "root: a@x.example\n", "root")


def test_an_included_fifo_is_not_waited_for(expand, tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        expand(f"list: :include:{tmp_path}/fifo\n", "list")


def test_a_file_that_is_not_there_has_no_entries(tmp_path):
    with pytest.raises(NoSuchUser):
        Aliases(str(tmp_path / "none"), DOMAINS).expand("root@example.org", True)


def test_a_file_that_cannot_be_read_is_a_local_fault(tmp_path):
    with pytest.raises(ConfigError, match=r"aliases_file: .* cannot be read"):
        Aliases(str(tmp_path), DOMAINS)


def test_all_faults_of_a_file_are_told_each_with_its_place(tmp_path):
    path = tmp_path / "aliases"
    path.write_text(
        "# ours\n"
        "root: a@x.example\n"
        "no colon here\n"
        "gone: :fail: He left\n"
        "joe: |/bin/procmail, a@x.example,\n"
        "  /var/mail/joe\n"
        "Root: b@x.example\n"
        "a: b\n"
        "b: c\n"
        "c: a\n"
        "list: :include:/no/such/file\n"
        "postmaster: nobody\n"
        "all: gone\n"
        "empty:\n"
    )
    told = [line.removeprefix(str(path)) for line in Aliases(str(path), DOMAINS).faults()]
    beginnings = [
        ":3: found 'no colon here', which is no 'name: address'",
        ":5: alias 'joe': '|/bin/procmail' is a pipe",
        ":5: alias 'joe': '/var/mail/joe' is a file",
        f":7: alias 'root' counts for nothing: it has an entry already, {path}:2",
        ":8: alias 'a': it leads back to itself (a → b → c → a)",
        ":9: alias 'b': it leads back to itself",
        ":10: alias 'c': it leads back to itself",
        ":11: alias 'list': the included file /no/such/file cannot be read: No such file",
        ":12: alias 'postmaster': there is nobody called 'nobody' on this host (for 'postmaster')",
        ":13: alias 'all': He left",
        ":14: alias 'empty': nobody stands behind it",
    ]
    assert len(told) == len(beginnings)
    for line, beginning in zip(told, beginnings, strict=True):
        assert line.startswith(beginning)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_of_every_file_faults_are_told(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_text(text)
    for line in Aliases(str(path), DOMAINS).faults():
        assert line.startswith(f"{path}:")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["root", "a", "default"]))
def test_every_file_is_followed_or_refused(tmp_path_factory, text, name):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_text(text + f"\n{name}: b\nb: a@x.example\n")
    with contextlib.suppress(MailspoolError):
        assert Aliases(str(path), DOMAINS).expand(f"{name}@example.org", True)
