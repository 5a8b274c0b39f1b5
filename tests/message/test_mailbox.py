# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an address list promises: it is read as the grammar says, or refused; no recipient is ever guessed."""

import email.errors
from email.headerregistry import Address as EmailAddress
from email.headerregistry import HeaderRegistry

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailspool.errors import AddressError
from mailspool.message.mailbox import Mailbox, format_phrase, parse_for_address
from mailspool.model.address import Address


def addresses(line, mail_name=""):
    return [mailbox.address for mailbox in parse_for_address(line, mail_name)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", []),
        (" , ,", []),
        ("a@b", ["a@b"]),
        ("A@EXAMPLE.Org.", ["A@example.org"]),
        ('Bob <b@c>, "Doe, Jane" <j@d>', ["b@c", "j@d"]),
        ("a@b,,c@d,", ["a@b", "c@d"]),
        ("a@x <bob@y>", ["bob@y"]),
        ('"a@x, b@y" <c@z>', ["c@z"]),
        ("John Q. Public <j@x>", ["j@x"]),
        ("Team: a@b, Bob <c@d>;, e@f", ["a@b", "c@d", "e@f"]),
        ("undisclosed-recipients:;", []),
        ("<@a,@b:user@c>", ["user@c"]),
        ("<@a:user@c>", ["user@c"]),
        ("<@a, , @b.c : user@c>", ["user@c"]),
        ("(x (y) \\) z)a@b(c, d@e)", ["a@b"]),
        ("a . b @ c . d", ["a.b@c.d"]),
        ("a@b\r\n , c@d", ["a@b", "c@d"]),
        ('"a b"@c', ['"a b"@c']),
        ("x@[192.0.2.1]", ["x@[192.0.2.1]"]),
        ("=?utf-8?q?J=C3=A4ne?= <j@x>", ["j@x"]),
        ("jörg@exämple.org", ["jörg@xn--exmple-cua.org"]),
        ("-oX@y", ["-oX@y"]),
    ],
)
def test_address_lists_of_every_kind_are_read(line, found):
    assert addresses(line) == found


@pytest.mark.parametrize(
    "line",
    [
        *("a", "a b@c", "a@b c@d", "<a@b><c@d>", "<a@b> c@d", "Bob <>", "<>", "g: a@b", ";", "a@b;", "g: h: a@b;;"),
        *("(a@b", '"a@b', "a@b>", "<a@b", "<<a@b>>", "a@b@c", "a..b@c", ".a@b", "a@b..c", "a@-b", "a\\b@c", "<@a:>"),
        *("a@[300.1.1.1]", "a@b\0", "a@b <c@d", "[a]@b", "a@b:c@d", "a@b, c@d e@f", 'a"b"@c', "a@\udcff"),
    ],
)
def test_a_malformed_list_is_refused_and_named(line):
    with pytest.raises(AddressError) as caught:
        addresses(line)
    assert caught.value.exit_code == 65
    assert str(caught.value)


def test_an_address_without_a_domain_gets_the_mail_name():
    assert addresses("root, Bob <bob>, a@b, Cron (x)", "example.org") == [
        *("root@example.org", "bob@example.org", "a@b", "Cron@example.org")
    ]


@pytest.mark.parametrize(
    "evil", ["(" * 50_000, "a " * 50_000, "<@a" * 30_000, "a." * 50_000, '"\\' * 50_000, ",:" * 9999]
)
def test_hostile_lists_are_refused_without_recursion_and_in_linear_time(evil):
    with pytest.raises(AddressError):
        addresses(evil)


def test_a_mailbox_tells_its_parts_as_mail_address_does():
    (mailbox,) = parse_for_address('"Doe, \\"Jane\\"" <jane@Example.ORG>')
    assert (mailbox.phrase, mailbox.address, mailbox.domain, mailbox.host) == (
        *('Doe, "Jane"', "jane@example.org", "example.org", "example.org"),
    )
    assert mailbox.format() == '"Doe, \\"Jane\\"" <jane@example.org>'
    assert parse_for_address("a@b")[0].format() == "a@b"


def test_encoded_words_are_read_for_people_and_kept_for_headers():
    (mailbox,) = parse_for_address("=?utf-8?q?J=C3=A4ne?= Doe <j@x>")
    assert (mailbox.name, mailbox.format()) == ("Jäne Doe", "=?utf-8?q?J=C3=A4ne?= Doe <j@x>")
    assert parse_for_address("=?no-such?q?J=C3?= <j@x>")[0].name == "=?no-such?q?J=C3?="


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
@example('a"b\\c')
@example("=?utf-8?q?x?=")
def test_a_display_name_comes_back_from_its_phrase(name):
    phrase = format_phrase(name)
    assert phrase.isascii()
    assert all(len(word) <= 75 for word in phrase.split() if word.startswith("=?utf-8?b?"))
    (mailbox,) = parse_for_address(f"{phrase} <a@b>")
    assert mailbox.address == "a@b"
    if not name.isascii():
        assert mailbox.name == name
    elif "=?" not in name:
        assert mailbox.phrase == name.strip(" ")


@given(st.text(st.sampled_from('ab@.,<>:;"\\() \t[]é')))
def test_whatever_the_text_it_is_read_or_refused(text):
    try:
        found = parse_for_address(text, "example.org")
    except AddressError:
        return
    assert all(Mailbox("", mailbox.checked).address == str(mailbox.checked) for mailbox in found)
    assert all(addresses(mailbox.format()) == [mailbox.address] for mailbox in found)


atoms = st.from_regex(r"[a-z0-9!+=_-]{1,8}(\.[a-z0-9]{1,5}){0,2}", fullmatch=True)
domains = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z]{1,5}){0,2}", fullmatch=True)
names = st.text(st.sampled_from('ab .,;:"\\()<>@')).map(lambda name: " ".join(name.split()))


@given(st.lists(st.builds(lambda name, local, domain: (name, local, domain), names, atoms, domains), min_size=1))
def test_what_the_standard_library_writes_is_read_as_it_was_meant(boxes):
    header = ", ".join(str(EmailAddress(name, local, domain)) for name, local, domain in boxes)
    found = parse_for_address(header)
    assert [mailbox.checked for mailbox in found] == [Address(local, domain) for _, local, domain in boxes]
    assert [mailbox.phrase for mailbox in found] == [name for name, _, _ in boxes]


@given(
    st.lists(st.sampled_from(["a@b", "Bob", "<c@d>", ",", " ", "(x)", '"q@r"', "g:", ";", "<@x:e@f>", "."])).map(
        "".join
    )
)
def test_where_we_and_the_standard_library_both_see_no_fault_we_see_the_same(line):
    try:
        ours = addresses(line)
        header = HeaderRegistry()("To", line)
        theirs = [address.addr_spec for address in header.addresses]
    except (AddressError, IndexError, AttributeError, email.errors.MessageError):
        return
    if not [defect for defect in header.defects if not isinstance(defect, email.errors.ObsoleteHeaderDefect)]:
        assert [address.lower() for address in ours] == [address.lower() for address in theirs]
