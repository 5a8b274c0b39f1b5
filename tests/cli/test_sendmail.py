# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `sendmail` promises its callers: their own command lines mean what they always meant."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.cli.sendmail import Options, UntilDot, main, parse_arguments
from mailspool.errors import UsageError


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
        ("sendmail -tvi", Options(from_header=True, verbose=True, ignore_dots=True)),
        ("sendmail -ivfx a", Options(ignore_dots=True, verbose=True, sender="x", recipients=("a",))),
        # the rest
        ("sendmail -r x a", Options(sender="x", recipients=("a",))),
        ("sendmail -f <> a", Options(sender="<>", recipients=("a",))),
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


@pytest.mark.parametrize("line", ["-f", "-i -F", "-Z", "-tZ", "--help", "-o", "-N"])
def test_a_command_line_that_makes_no_sense_is_refused(line):
    with pytest.raises(UsageError, match="option -"):
        parse_arguments(["sendmail", *line.split()])


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_every_command_line_is_understood_or_refused(words):
    try:
        found = parse_arguments(["sendmail", *words])
    except UsageError:
        return
    count = len(found.recipients)
    assert list(found.recipients) == (words[-count:] if count else [])


@pytest.mark.parametrize("mode", ["-bs", "-bd", "-bt", "-bv", "-bh", "-q5m", "-qRx", "-b", "-bmm"])
def test_what_is_not_supported_is_refused_with_exit_code_64(mode, capsys):
    assert main(["sendmail", mode]) == 64
    assert len(capsys.readouterr().err.splitlines()) == 1


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
