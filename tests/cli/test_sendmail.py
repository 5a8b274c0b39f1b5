# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `sendmail` promises its callers: their own command lines mean what they always meant."""

import email
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.cli.sendmail import RUN_DIR, main
from mailspool.config.schema import Settings
from mailspool.errors import UsageError
from mailspool.spool import Spool
from mailspool.submission.arguments import Options, parse_arguments
from mailspool.submission.hand_in import UntilDot

SENDMAIL = Path(__file__).parents[2] / "bin" / "sendmail"


def test_the_listener_is_looked_for_where_the_daemon_has_it_by_default():
    assert Settings().run_dir == RUN_DIR


@pytest.fixture
def site(tmp_path):
    """A configured spool: run(*arguments, text=…) calls sendmail in this process; stored() is what it accepted."""
    config = tmp_path / "mailspool.toml"
    config.write_text(
        f'dequeue_dir = "{tmp_path}/spool"\nrun_dir = "{tmp_path}/run"\n'
        'hostname = "mx.example.org"\nmail_name = "example.org"\nmax_message_size = 1000000\naliases_file = ""\n'
    )
    store = Spool.from_config(str(config)).store
    store.create(1)

    def run(*arguments, text=b"Subject: x\n\nbody\n"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
            return main(["sendmail", "-C", str(config), *arguments])

    def stored():
        opened = [store.open(location) for location in store.locations()]
        return [(found.envelope, found.file.read()) for found in opened]

    return SimpleNamespace(run=run, stored=stored, config=config, folder=tmp_path)


def recipients(envelope):
    return [recipient.address for recipient in envelope.recipients]


@pytest.mark.parametrize(
    ("line", "means"),
    [
        # cron
        (
            "/usr/sbin/sendmail -FCronDaemon -i -B8BITMIME -oem root",
            Options(full_name="CronDaemon", ignore_dots=True, recipients=("root",)),
        ),
        ("sendmail -i -FCronDaemon -oem -oi -t", Options(full_name="CronDaemon", ignore_dots=True, from_header=True)),
        ("sendmail -FAnacron -odi root", Options(full_name="Anacron", delivery="Background", recipients=("root",))),
        # git send-email
        ("sendmail -i a@b c@d", Options(ignore_dots=True, recipients=("a@b", "c@d"))),
        ("sendmail -f x -i a@b", Options(sender="x", ignore_dots=True, recipients=("a@b",))),
        # mutt
        ("sendmail -oem -oi -f x -- a@b", Options(ignore_dots=True, sender="x", recipients=("a@b",))),
        (
            "sendmail -oem -oi -N never -R hdrs -B 8BITMIME -- -a@b",
            Options(ignore_dots=True, notify=("never",), ret="hdrs", recipients=("-a@b",)),
        ),
        # PHP
        ("sendmail -t -i", Options(from_header=True, ignore_dots=True)),
        ("sendmail -t -i -fbounce@x", Options(from_header=True, ignore_dots=True, sender="bounce@x")),
        # Rails
        ("sendmail -i -t", Options(from_header=True, ignore_dots=True)),
        ("sendmail -i -f x a b", Options(ignore_dots=True, sender="x", recipients=("a", "b"))),
        # fail2ban, at, smartd, logwatch
        ("sendmail -f from to", Options(sender="from", recipients=("to",))),
        ("sendmail -i joe", Options(ignore_dots=True, recipients=("joe",))),
        ("sendmail -ti", Options(from_header=True, ignore_dots=True)),
        ("sendmail -it a@b", Options(from_header=True, ignore_dots=True, recipients=("a@b",))),
        ("sendmail -oi -oem -t -f a@b", Options(ignore_dots=True, from_header=True, sender="a@b")),
        ("sendmail -bm -oi -odq a", Options(ignore_dots=True, recipients=("a",))),
        ("sendmail -odb a", Options(recipients=("a",))),
        ("sendmail -o i -o dq a", Options(ignore_dots=True, recipients=("a",))),
        # what other mail systems have and we have no use for
        (
            "sendmail -U -G -n -m -x -c -s -h 3 -L tag -X log -O A=b -p smtp -oMrSMTP -oA/etc/x -d8.1 a",
            Options(recipients=("a",)),
        ),
        ("sendmail -h3 -Ltag -em -Am a", Options(recipients=("a",))),
        ("sendmail -a account a", Options(recipients=("a",))),  # msmtp's
        ("sendmail -tvi", Options(from_header=True, verbose=True, ignore_dots=True)),
        ("sendmail -ivfx a", Options(ignore_dots=True, verbose=True, sender="x", recipients=("a",))),
        # the rest
        ("sendmail -r x a", Options(sender="x", recipients=("a",))),
        ("sendmail -f <> a", Options(sender="<>", recipients=("a",))),
        ("sendmail -Zy -iZ a", Options(ignored="ZyZ", ignore_dots=True, recipients=("a",))),
        ("sendmail -bd -q15m", Options(mode="d")),
        ("sendmail -C /x/y -V id -R FULL -N success,delay a", None),
        ("sendmail a -t", Options(recipients=("a", "-t"))),
        ("sendmail - a", Options(recipients=("-", "a"))),
        ("sendmail", Options()),
        ("sendmail -bp", Options(mode="p")),
        ("/usr/bin/mailq", Options(mode="p")),
        ("mailq -v", Options(mode="p", verbose=True)),
        ("newaliases", Options(mode="i")),
        ("sendmail -bi", Options(mode="i")),
        ("sendmail -I", Options(mode="i")),
        ("sendmail -bs", Options(mode="s")),
        ("sendmail -q", Options(mode="q")),
        ("sendmail -q15m", Options(mode="q15m")),
        ("sendmail -qRexample.org", Options(mode="qRexample.org")),
    ],
)
def test_a_command_line_means_what_it_always_meant(line, means):
    found = parse_arguments(line.split())
    if means is None:
        means = Options(config="/x/y", envid="id", ret="FULL", notify=("success", "delay"), recipients=("a",))
    assert found == means


def test_an_empty_option_of_o_does_nothing():
    assert parse_arguments(["sendmail", "-o", "", "a"]) == Options(recipients=("a",))


def test_an_empty_sender_is_the_null_sender():
    assert parse_arguments(["sendmail", "-f", "", "a"]) == Options(sender="", recipients=("a",))


@pytest.mark.parametrize("line", ["-f", "-i -F", "-o", "-N", "-Z -f"])
def test_a_command_line_that_makes_no_sense_is_refused(line):
    with pytest.raises(UsageError, match="option -"):
        parse_arguments(["sendmail", *line.split()])


def test_a_long_option_is_refused_and_no_letter_of_it_names_a_sender():
    with pytest.raises(UsageError, match="--read-recipients is not known"):
        parse_arguments(["sendmail", "--read-recipients", "a"])


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_every_command_line_is_understood_or_refused(words):
    try:
        found = parse_arguments(["sendmail", *words])
    except UsageError:
        return
    count = len(found.recipients)
    assert list(found.recipients) == (words[-count:] if count else [])


@pytest.mark.parametrize("mode", ["-bt", "-bv", "-bx", "-qX", "-qR", "-qR!x", "-b", "-bmm"])
def test_what_is_not_supported_is_refused_with_exit_code_64(mode, capsys):
    assert main(["sendmail", mode]) == 64
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "code"), [("newaliases", 0), ("mailq", 0), ("sendmail", 64), ("/usr/lib/sendmail", 64)]
)
def test_the_name_by_which_it_is_called_decides_through_links_too(site, name, code):
    link = site.folder / name.rpartition("/")[2]
    link.symlink_to(SENDMAIL)
    environment = {**os.environ, "PYTHONPATH": str(SENDMAIL.parents[1]), "MAILSPOOL_CONFIG": str(site.config)}
    ended = subprocess.run(
        [sys.executable, link], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == code, ended.stderr


def test_unknown_options_are_ignored(site):
    assert site.run("-Zy", "-i", "a@x") == 0
    assert len(site.stored()) == 1


@pytest.fixture
def aliases(site):
    (site.folder / "aliases").write_text("root: admin@example.com\nbad: |cat\n")
    text = site.config.read_text()
    site.config.write_text(text.replace('aliases_file = ""', f'aliases_file = "{site.folder}/aliases"'))
    return site


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], b"From: root (Cron Daemon)\nTo: root\n\nx\n"),
        (["-i", "-FCronDaemon", "-oem", "-oi", "-t"], b"From: root\nTo: root\n\nx\n"),  # Debian's cron
        (["-i", "root"], b"Subject: Output from your job 1\nTo: root\n\nx\n"),  # at
        (["-t"], b"From: mdadm monitoring <root>\nTo: root\nSubject: Fail\n\nx\n"),  # mdadm
        (["-t"], b"To: root\nFrom: Logwatch <root>\n\nx\n"),
        (["-f", "fail2ban", "root"], b"From: Fail2Ban <fail2ban>\nTo: root\n\nx\n"),
        (["-t", "-i"], b"To: root@localhost\nX-PHP-Originating-Script: 0:x.php\n\nx\n"),
        (["-i", "-t"], b"To: root@example.org\n\nx\n"),  # Rails
    ],
)
def test_what_a_hosts_own_programs_send_to_root_goes_where_the_alias_says(aliases, arguments, text):
    assert aliases.run(*arguments, text=text) == 0
    ((envelope, message),) = aliases.stored()
    assert recipients(envelope) == ["admin@example.com"]
    assert b"\r\nTo: root" in message or b"-FCronDaemon" in b" ".join(map(str.encode, arguments))


def test_a_name_without_an_alias_is_refused_with_67_and_the_fix(aliases, capsys):
    assert aliases.run("joe") == 67
    assert "add 'joe: you@example.org' to" in capsys.readouterr().err
    assert aliases.stored() == []


def test_an_alias_that_cannot_be_followed_is_a_local_fault(aliases, capsys):
    assert aliases.run("bad") == 75
    assert "aliases:2: alias 'bad': '|cat' is a pipe" in capsys.readouterr().err


def test_a_report_to_a_local_name_follows_its_alias_and_no_fault_of_the_aliases_stops_it(aliases):
    spool = Spool.from_config(str(aliases.config))
    for to in ("root@example.org", "bad@example.org"):
        spool.spool_report(to, spool.parse_message({"message": "Subject: x\n\nx\n"}))
    assert {tuple(recipients(envelope)) for envelope, _ in aliases.stored()} == {
        ("admin@example.com",),
        ("bad@example.org",),
    }


def test_verifying_tells_each_recipients_fate_and_spools_nothing(aliases, capsys):
    assert aliases.run("-bv", "root", "a@x.example", "joe") == 67
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "root: admin@example.com: deliverable by way of example.com"
    assert second == "a@x.example: deliverable by way of x.example"
    assert third.startswith("joe: refused: ")
    assert aliases.stored() == []
    assert aliases.run("-bv", "a@x.example") == 0


@pytest.mark.parametrize(("what", "left"), [("-qRX.EXAMPLE", 1), ("-qSalice", 1), ("-qRnobody", 2), ("-qI", None)])
def test_what_is_chosen_by_recipient_sender_or_id_is_due_now(site, capsys, what, left):
    assert site.run("-f", "alice@y.example", "a@x.example") == 0
    assert site.run("-f", "bob@y.example", "b@z.example") == 0
    wanted = site.stored()[0][0].id if what == "-qI" else ""
    assert site.run(f"{what}{wanted}") == 0
    names = [at.name for at in Spool.from_config(str(site.config)).store.locations()]
    assert sum(not name.startswith("0-") for name in names) == (1 if left is None else left)
    assert "they are due, but no supervisor answers" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["-bd", "-q15m", "-bD"])
def test_who_wants_a_daemon_is_told_of_mailspoold(site, capsys, mode):
    assert site.run(mode) == 69
    assert "start mailspoold" in capsys.readouterr().err


def test_newaliases_succeeds_and_does_nothing(capsys):
    assert main(["newaliases"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_call_without_recipients_is_refused_before_anything_is_read(capsys):
    assert main(["sendmail", "-i"]) == 64
    assert "no recipient: name one, or read To, Cc and Bcc with -t" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b"a\n.\nb\n", b"a\n"),
        (b"a\r\n.\r\nb", b"a\r\n"),
        (b"a\n.", b"a\n"),
        (b".\n", b""),
        (b"", b""),
        (b"a.\n..\n .\n. \n", b"a.\n..\n .\n. \n"),
        (b"a" * 10 + b".\nb", b"a" * 10 + b".\nb"),
    ],
)
@pytest.mark.parametrize("size", [1 << 16, 5, 3])
def test_a_lone_dot_ends_the_input(text, read, size):
    file = UntilDot(io.BytesIO(text))
    assert b"".join(iter(lambda: file.read(size), b"")) == read


def test_what_stands_behind_the_dot_is_never_waited_for():
    reader, writer = os.pipe()
    os.write(writer, b"a\n.\n")  # and it stays open, as a terminal does
    with os.fdopen(reader, "rb") as stdin:
        file = UntilDot(stdin)
        assert (file.read(100), file.read(100)) == (b"a\n", b"")
    os.close(writer)


def test_what_cron_sends_is_in_the_spool_when_it_says_yes(site):
    assert site.run("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root", text=b"To: root\n\n.\nout\n") == 0
    ((envelope, message),) = site.stored()
    assert recipients(envelope) == ["root@example.org"]
    assert envelope.sender.endswith("@example.org")
    parsed = email.message_from_bytes(message)
    assert parsed["From"] == f"CronDaemon <{envelope.sender}>"
    assert parsed["Message-ID"]
    assert parsed["Date"]
    assert message.endswith(b"\r\n\r\n.\r\nout\r\n")


def test_the_headers_recipients_are_added_to_those_of_the_command_line_and_bcc_is_gone(site):
    assert site.run("-t", "-f", "f@x", "a@x", text=b"To: B <b@y>\nBcc: c\n\nx\n.\nnot this\n") == 0
    envelope, message = site.stored()[0]
    assert recipients(envelope) == ["a@x", "b@y", "c@example.org"]
    assert len(site.stored()) == 3
    assert b"Bcc" not in message
    assert message.endswith(b"\r\nx\r\n")


@pytest.mark.parametrize("sender", ["", "<>"])
def test_the_null_sender_can_be_given(site, sender):
    assert site.run("-f", sender, "a@x") == 0
    assert site.stored()[0][0].sender == ""


def test_rfc_3461_wishes_reach_the_envelope(site):
    assert site.run("-N", "success,failure", "-R", "hdrs", "-V", "id+2B1", "a@x") == 0
    ((envelope, _),) = site.stored()
    assert (envelope.recipients[0].notify, envelope.ret, envelope.envid) == (("SUCCESS", "FAILURE"), "HDRS", "id+2B1")


def test_an_empty_input_is_a_message(site):
    assert site.run("a@x", text=b"") == 0
    ((_, message),) = site.stored()
    assert re.fullmatch(rb"Received: .*\r\n\t.*\r\nFrom: .*\r\nDate: .*\r\nMessage-ID: .*\r\n\r\n", message)


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["-t"], b"Subject: nobody\n\n", 64),
        (["-N", "maybe", "a@x"], b"", 64),
        (["a b@x"], b"", 65),
        (["a@x\nb@y"], b"", 65),
        (["-f", "a@b, c@d", "a@x"], b"", 65),
        (["-t"], b"To: a@@b\n\n", 65),
        (["-F", "x\nBcc: y@z", "a@x"], b"", 65),
        (["a@x"], b"X: \0\n", 65),
        (["a@x"], b"A: b\n\n" + b"x" * 1_000_001, 65),
    ],
)
def test_what_is_refused_is_refused_in_one_line_and_nothing_stays(site, capsys, arguments, text, code):
    assert site.run(*arguments, text=text) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert site.stored() == []
    assert not [path for path in site.folder.rglob("spool/**/*") if path.is_file()]


def test_a_wrong_configuration_is_a_local_fault_to_who_submits_and_named_to_who_asks(site, capsys):
    site.config.write_text("no_such_option = 1\n")
    assert site.run("a@x") == 75
    assert "no_such_option" in capsys.readouterr().err
    assert site.run("-q") == 78


def test_a_spool_that_cannot_be_written_is_a_local_fault(site, capsys):
    site.config.write_text('dequeue_dir = "/proc/nowhere"\n')
    assert site.run("a@x") == 75
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_unforeseen_is_one_line_and_75_and_with_v_the_whole_story(site, capsys, monkeypatch):
    monkeypatch.setattr(Spool, "send_mail", lambda *_, **__: 1 / 0)
    assert site.run("a@x") == 75
    assert capsys.readouterr().err == "sendmail: ZeroDivisionError: division by zero\n"
    assert site.run("-v", "a@x") == 75
    assert "Traceback" in capsys.readouterr().err


def test_verbose_tells_the_queue_id(site, capsys):
    assert site.run("-v", "a@x") == 0
    ((envelope, _),) = site.stored()
    assert capsys.readouterr().err == f"sendmail: accepted as {envelope.id}\n"


@pytest.mark.parametrize(
    ("redirection", "code"), [("</dev/null", 0), ("<&-", 64), ("</dev/null 2>&-", 0), ("</dev/null >&- 2>&-", 0)]
)
def test_closed_files_never_change_the_answer(site, redirection, code):
    command = ["sh", "-c", f'exec "$0" "$1" -v -C "$2" a@x {redirection}', sys.executable, SENDMAIL, site.config]
    environment = {**os.environ, "PYTHONPATH": str(SENDMAIL.parents[1])}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert len(site.stored()) == (code == 0)


# Each of them costs a submission some 0.3 ms: what the straight way does not need is imported where it is needed.
ON_THE_WAY_IN = {
    *("cli", "config", "errors", "log", "message", "model", "spool", "store", "submission", "supervisor"),
    *("cli.sendmail", "log.entry", "log.writer", "supervisor.trigger"),
    *("submission.arguments", "submission.client", "submission.hand_in", "submission.prepare", "submission.submit"),
    *("config.check", "config.layers", "config.load", "config.machine", "config.schema"),
    *("message.headers", "message.mailbox", "message.message", "message.parse"),
    *("model.address", "model.envelope", "model.limit", "model.outcome", "model.tier", "model.timeouts"),
    *("store.base", "store.claim", "store.descriptors", "store.filesystem", "store.fsops"),
    *("store.messagefile", "store.nodename"),
}


def test_nothing_slow_is_loaded_to_submit(site):
    code = f"""if True:
        import sys
        from mailspool.cli.sendmail import main
        assert main(["sendmail", "-t", "-C", {str(site.config)!r}, "a@x"]) == 0
        print(*sys.modules)
    """
    environment = {**os.environ, "PYTHONPATH": str(SENDMAIL.parents[1])}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        input=b"To: B <b@x>\n\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    modules = {*ended.stdout.decode().split()}
    assert {name.removeprefix("mailspool.") for name in modules if name.startswith("mailspool.")} == ON_THE_WAY_IN
    loaded = {name.partition(".")[0] for name in modules}
    assert not loaded & {
        "structlog",
        "dns",
        "rich",
        "click",
        "asyncio",
        "logging",
        "email",
        "argparse",
        "gettext",
        "ssl",
    }


@pytest.mark.parametrize("command", [["mailq"], ["/usr/sbin/sendmail", "-bp"]])
def test_the_queue_is_listed(site, capsys, command):
    assert site.run("a@x") == 0
    ((envelope, _),) = site.stored()
    assert main([*command, "-C", str(site.config)]) == 0
    assert envelope.id in capsys.readouterr().out
