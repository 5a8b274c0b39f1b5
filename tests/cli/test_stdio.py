# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`sendmail -bs` speaks SMTP with the clients that open it, and says yes to what is durable only."""

import os
import pty
import smtplib
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mailspool.config.load import load
from mailspool.spool import Spool
from tests.peers.server import program
from tests.running import ENVIRONMENT, ROOT, eventually

SENDMAIL = str(ROOT / "bin" / "sendmail")
CONFIG = """\
dequeue_dir = "{root}/spool"
run_dir = "{root}/run"
hostname = "mx.example.org"
mail_name = "example.org"
max_message_size = 100000
"""


@pytest.fixture
def site(tmp_path):
    """A spool; command: the words that open a session with it; stored(): what it has accepted."""
    config = tmp_path / "mailspool.toml"
    config.write_text(CONFIG.format(root=tmp_path))
    store = Spool(load(str(config))).store
    store.create(1)

    def stored():
        opened = [store.open(location) for location in store.locations()]
        return [(found.envelope, found.file.read()) for found in opened]

    command = [sys.executable, SENDMAIL, "-C", str(config), "-bs"]
    return SimpleNamespace(command=command, stored=stored, config=config, root=tmp_path)


@pytest.fixture
def talk(site):
    """talk(octets) -> the ended process: all is said at once, as a pipeline does, and then the input ends."""

    def start(octets):
        return subprocess.run(site.command, input=octets, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)

    return start


class OverPipe(smtplib.SMTP):
    """smtplib with a program instead of a host."""

    def __init__(self, command):
        self._command = command
        super().__init__("pipe", 1, "client.test", 60)

    def _get_socket(self, host, port, timeout):
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(self._command, stdin=theirs, stdout=theirs, env=ENVIRONMENT)
        return ours


def codes(ended):
    return [line[:3] for line in ended.stdout.decode().splitlines() if line[3:4] == " "]


BY_SYMFONY = (
    b"From: App <app@site.test>\r\nTo: ada@shop.test\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Message-ID: <1@site.test>\r\nMIME-Version: 1.0\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Hello\r\n..\r\n"
)
SYMFONY = [
    (b"EHLO [127.0.0.1]\r\n", b"250 "),
    (b"MAIL FROM:<app@site.test> BODY=8BITMIME\r\n", b"250 "),
    (b"RCPT TO:<ada@shop.test>\r\n", b"250 "),
    (b"DATA\r\n", b"354 "),
    (BY_SYMFONY, b""),
    (b"\r\n.\r\n", b"250 2.0.0 accepted as "),
    (b"NOOP\r\n", b"250 "),
    (b"RSET\r\n", b"250 "),
    (b"MAIL FROM:<app@site.test>\r\n", b"250 "),
    (b"RSET\r\n", b"250 "),
    (b"QUIT\r\n", b"221 "),
]
"""What Symfony's Mailer says with the DSN native://default, and reads before it goes on."""


def test_symfony_s_own_words_bring_a_message_into_the_spool(site):
    process = subprocess.Popen(site.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
    with process:
        assert process.stdout.readline().startswith(b"220 mx.example.org ESMTP")
        for said, reply in SYMFONY:
            process.stdin.write(said)
            process.stdin.flush()
            line = process.stdout.readline() if reply else b""
            while line[3:4] == b"-":
                line = process.stdout.readline()
            assert line.startswith(reply)
            if b"accepted" in reply:
                assert [envelope.id for envelope, _ in site.stored()] == [line.split()[-1].decode()]
        assert process.wait(60) == 0
    ((envelope, message),) = site.stored()
    assert (envelope.sender, envelope.recipients[0].address) == ("app@site.test", "ada@shop.test")
    assert message.startswith(b"Received: from [127.0.0.1]\r\n\tby mx.example.org (mailspool, from userid ")
    assert b") with local-esmtp\r\n\tid " + envelope.id.encode() in message
    assert message.endswith(b"\r\n\r\nHello\r\n.\r\n\r\n")


def test_smtplib_sends_over_a_socket_pair(site):
    with OverPipe(site.command) as smtp:
        text = "Subject: ä\r\n\r\n.\r\n..\r\n" + "x" * 70000
        assert smtp.sendmail("a@b.test", ["root@example.org", "c@d.test"], text.encode(), ["BODY=8BITMIME"]) == {}
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            smtp.sendmail("a@b.test", ["x..y@d.test"], "x")
        assert caught.value.recipients["x..y@d.test"][0] == 553
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail("a@b@c", ["c@d.test"], "x")
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (553, b"5.1.7")
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail("a@b.test", ["c@d.test"], "x" * 200000)
        assert refused.value.smtp_code == 552
    assert smtp.process.wait(60) == 0
    (envelope, message), _other = site.stored()
    assert [recipient.address for recipient in envelope.recipients] == ["root@example.org", "c@d.test"]
    assert message.partition(b"\r\n\r\n")[2] == text.encode().partition(b"\r\n\r\n")[2] + b"\r\n"


def test_swaks_sends_through_a_pipe(site):
    command = [program("swaks", "swaks"), "--pipe", " ".join(site.command), "-f", "a@b.test", "-t", "c@d.test"]
    ended = subprocess.run(
        [*command, "--pipeline", "--body", ".\nend"], capture_output=True, env=ENVIRONMENT, timeout=60, check=False
    )
    assert ended.returncode == 0, ended
    ((envelope, message),) = site.stored()
    assert envelope.sender == "a@b.test"
    assert b"\r\n\r\n.\r\nend\r\n" in message


def test_rfc_3461_wishes_reach_the_envelope(site, talk):
    ended = talk(
        b"EHLO c\r\nMAIL FROM:<a@b.test> RET=HDRS ENVID=id\r\nRCPT TO:<c@d.test> NOTIFY=NEVER ORCPT=rfc822;x@y\r\n"
        b"DATA\r\n\r\nx\r\n.\r\nQUIT\r\n"
    )
    assert codes(ended) == ["220", "250", "250", "250", "354", "250", "221"]
    ((envelope, _),) = site.stored()
    assert (envelope.ret, envelope.envid) == ("HDRS", "id")
    assert (envelope.recipients[0].notify, envelope.recipients[0].orcpt) == (("NEVER",), "rfc822;x@y")


def test_nothing_can_be_smuggled_through_it(site, talk):
    ended = talk(
        b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: x\r\n\r\nx\n.\r\nMAIL FROM:<evil@x>\r\n"
        b"RCPT TO:<e@f>\r\nDATA\r\ny\r.\r\n.\r\nQUIT\r\n"
    )
    assert codes(ended) == ["220", "250", "250", "250", "354", "250", "221"]
    ((_, message),) = site.stored()
    assert message.endswith(b"\r\n\r\nx\r\n.\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<e@f>\r\nDATA\r\ny\r\n.\r\n")


def test_the_end_of_the_input_is_the_end(talk):
    ended = talk(b"EHLO c\r\n")
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_message_without_its_end_is_not_accepted_and_no_success(site, talk):
    ended = talk(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\n")
    assert ended.returncode == 75
    assert len(ended.stderr.splitlines()) == 1
    assert site.stored() == []


def test_a_local_fault_is_for_now_and_the_next_message_may_do_better(site, talk):
    site.config.write_text(CONFIG.format(root="/proc/nowhere"))
    message = b"MAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\r\n"
    ended = talk(b"EHLO c\r\n" + 2 * message + b"QUIT\r\n")
    assert codes(ended) == ["220", "250", *["250", "250", "354", "451"] * 2, "221"]
    assert ended.returncode == 0


def test_a_wrong_configuration_is_told_to_both_sides_and_may_be_mended(site, talk):
    site.config.write_text("no_such_option = 1\n")
    ended = talk(b"")
    assert ended.stdout == b"421 4.3.5 the configuration is wrong: see standard error\r\n"
    assert b"no_such_option" in ended.stderr
    assert ended.returncode == 75


@pytest.mark.parametrize("redirection", ["<&-", ">&-"])
def test_closed_files_are_an_error_of_the_caller(site, redirection):
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *site.command]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, check=False)
    assert ended.returncode == 64


def test_a_client_that_reads_no_replies_is_no_fault_of_ours(site):
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        site.command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_person_may_type_to_it(site):
    ours, theirs = pty.openpty()
    with subprocess.Popen(site.command, stdin=theirs, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        os.close(theirs)
        os.write(ours, b"HELO me\nMAIL FROM:<a@b.test>\nRCPT TO:<c@d.test>\nDATA\nhello\n.\nQUIT\n")
        replies = process.stdout.read()
    os.close(ours)
    assert [line[:3] for line in replies.splitlines()] == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
    assert len(site.stored()) == 1


def test_no_more_of_a_large_message_is_in_memory_than_of_a_small_one(site):
    site.config.write_text(CONFIG.format(root=site.root).replace("100000", "0"))
    with subprocess.Popen(site.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        peak = 0
        process.stdin.write(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        for _ in range(40):
            process.stdin.write((b"x" * 998 + b"\r\n") * 1000)
        process.stdin.write(b".\r\n")
        process.stdin.flush()
        eventually(site.stored)
        with open(f"/proc/{process.pid}/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        process.stdin.write(b"QUIT\r\n")
    assert peak < 60_000  # KiB
