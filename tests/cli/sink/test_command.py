# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool sink` as its users have it: real clients and the real daemon send to the real program."""

import contextlib
import json
import re
import signal
import smtplib
import subprocess
import sys

import pytest

from mailspool.cli.admin import main
from tests.peers.server import program
from tests.running import ENVIRONMENT, ROOT, eventually

LIMIT = 60  # seconds until a program that hangs fails


class Running:
    """The program, listening on `port`."""

    def __init__(self, folder, *words):
        self.folder = folder
        command = [sys.executable, str(ROOT / "bin" / "mailspool"), "sink", "--listen", "127.0.0.1:0", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, env=ENVIRONMENT, cwd=folder, **pipes)
        self.port = int(re.search(r"listening on 127\.0\.0\.1:(\d+);", self.process.stderr.readline())[1])
        self.address = f"127.0.0.1:{self.port}"

    def client(self):
        return smtplib.SMTP("127.0.0.1", self.port, "client.test", LIMIT)

    def end(self, number=signal.SIGTERM):
        """Its output, as lines."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=LIMIT)
        assert (self.process.returncode, err) == (0, "")
        return out.splitlines()


@pytest.fixture
def start(tmp_path):
    """start(*words) -> Running."""
    made = []

    def run(*words):
        made.append(Running(tmp_path, *words))
        return made[-1]

    yield run
    for each in made:
        with each.process:
            each.process.kill()


def send(sink, *recipients, text="Subject: hello\r\n\r\nx\r\n"):
    with sink.client() as smtp:
        return smtp.sendmail("a@home.test", recipients or ["b@good.test"], text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_shows_a_line_for_each_message_and_ends_with_the_totals(start, number):
    sink = start()
    send(sink, "b@good.test", "c@good.test", text="Subject: =\x1b[2J\r\n\r\nx\r\n")
    line, totals = sink.end(number)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d 127\.0\.0\.1:\d+ ESMTP <a@home\.test> -> <b@good\.test>, <c@good\.test> 21 \"=\\x1b\[2J\"",
        line,
    )
    assert totals == "1 connection, 1 message to 2 recipients, 21 octets"


def test_counting_shows_the_totals_only(start):
    sink = start("--count")
    for _ in range(3):
        send(sink)
    assert sink.end() == ["3 connections, 3 messages to 3 recipients, 63 octets"]


def test_a_stored_message_is_octet_for_octet_what_came_with_its_envelope_beside_it(start, tmp_path):
    sink = start("--store", "mail")
    text = b"Subject: x\r\n\r\n.\r\n..\r\n\xff\r\n" + b"y" * 200_000 + b"\r\n"
    with sink.client() as smtp:
        smtp.sendmail("a@home.test", ["b@good.test"], text, ["BODY=8BITMIME"])
    with contextlib.closing(sink.client()) as smtp:  # what is given up leaves nothing behind
        smtp.helo()
        smtp.mail("a@home.test")
        smtp.rcpt("b@good.test")
        assert smtp.docmd("DATA")[0] == 354
        smtp.send("x\r\n")
    eventually(lambda: len(list((tmp_path / "mail").iterdir())) == 2)
    (eml,), (envelope,) = (list((tmp_path / "mail").glob(pattern)) for pattern in ("*.eml", "*.json"))
    assert eml.read_bytes() == text
    assert eml.stat().st_mode & 0o777 == 0o600
    assert eml.stem == envelope.stem
    found = json.loads(envelope.read_text())
    assert found["sender"] == "a@home.test"
    assert found["recipients"] == [{"address": "b@good.test"}]
    assert (found["body"], found["client"], found["size"]) == ("8BITMIME", "client.test", len(text))
    assert eml.name in sink.end()[0]


def test_ordered_faults_strike_and_are_counted(start):
    sink = start("--fail", "rcpt:550:5.1.1 no such user", "--drop", "final", "--fail", "mail:451:0%")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        send(sink)
    assert caught.value.recipients == {"b@good.test": (550, b"5.1.1 no such user")}
    assert sink.end() == ["1 connection, 0 messages to 0 recipients, 0 octets; 1 x rcpt 550"]


def test_greylisting_is_refused_at_first(start):
    sink = start("--greylist", "1h")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        send(sink)
    assert caught.value.recipients["b@good.test"] == (451, b"4.7.1 greylisted, try again later")


def test_a_hang_and_a_drip_do_what_they_say(start):
    sink = start("--hang", "ehlo", "--drip", "1ms")
    with contextlib.closing(smtplib.SMTP(timeout=0.5)) as smtp:
        assert smtp.connect("127.0.0.1", sink.port)[0] == 220
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            smtp.ehlo()


def test_swaks_sends_in_tls_and_in_a_pipeline(start):
    program("openssl", "openssl")
    sink = start("--tls")
    command = [program("swaks", "swaks"), "--server", sink.address, "-tls", "-f", "a@home.test", "-t", "b@good.test"]
    ended = subprocess.run([*command, "--pipeline"], capture_output=True, timeout=LIMIT, check=False)
    assert ended.returncode == 0, ended
    assert " ESMTPS <a@home.test> -> <b@good.test> " in sink.end()[0]


def test_a_certificate_and_a_key_can_be_given(start, tmp_path):
    openssl = program("openssl", "openssl")
    made = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=mine"]
    subprocess.run([openssl, *made, "-keyout", "k", "-out", "c"], cwd=tmp_path, capture_output=True, check=True)
    sink = start("--tls-cert", "c", "--tls-key", "k")
    with sink.client() as smtp:
        assert smtp.starttls()[0] == 220


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["--fail", "rcpt:250"], 64, "is not like rcpt:451"),
        (["--hang", "quit"], 64, "is not like data"),
        (["--listen", "a:b"], 64, "is not like 127.0.0.1:2525"),
        (["--greylist", "soon"], 64, "is not a time such as 10s"),
        (["--tls-key", "k"], 64, "--tls-key needs --tls-cert"),
        (["--tls-cert", "/nonexistent"], 75, "cannot use the certificate /nonexistent"),
        (["--listen", "192.0.2.1:0"], 75, "cannot listen on 192.0.2.1, port 0: Cannot assign"),
        (["--store", "/proc/nowhere"], 75, "cannot make the directory /proc/nowhere"),
    ],
)
def test_what_makes_no_sense_is_named(words, code, what, capsys):
    assert main(["sink", *words]) == code
    assert what in " ".join(capsys.readouterr().err.split())


def test_the_daemon_gets_its_mail_through_a_sink_with_faults(start, daemon, make_spool, tmp_path):
    sink = start(
        "--store", "mail", "--fail", "rcpt:451:40%", "--drop", "data:20%", "--fail", "final:452:20%", "--seed", "3"
    )

    class Address:
        address = sink.address

    options = {"sink": Address, "dequeue_timeout": 0.2, "dequeue_periods": [0] * 40, "dequeue_priority": [1] * 40}
    options["cool_down"] = 0
    spool = make_spool(**options)
    sent = {spool.send_mail(to="b@good.test", from_="a@home.test", message=f"Subject: {n}\n\n{n}\n") for n in range(20)}
    daemon(**options)
    eventually(lambda: len(list((tmp_path / "mail").glob("*.eml"))) >= len(sent), what="all mail")
    eventually(lambda: not list(spool.store.locations()), what="an empty spool")
    texts = [path.read_text() for path in (tmp_path / "mail").glob("*.eml")]
    assert {re.search(r"\tid (\w+);", text)[1] for text in texts} == sent
    assert len(texts) == 20
    assert re.search(r"; \d+ x data drop; \d+ x final 452; \d+ x rcpt 451$", sink.end()[-1])
