# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The sink takes mail over real sockets, and misbehaves only when told to."""

import contextlib
import errno
import random
import smtplib
import socket
import ssl
import threading

import pytest

from mailspool.cli.sink.certificate import server_context
from mailspool.cli.sink.faults import Drop, Fault, Faults, Greylist, Hang, Stage
from mailspool.cli.sink.host import NEVER, Rules, Sink
from mailspool.cli.sink.keep import HandOn
from mailspool.errors import MailspoolError
from mailspool.submission.reply import Reply
from tests.peers.server import program

LIMIT = 20  # seconds until a test that hangs fails


@pytest.fixture
def arrived():
    return []


@contextlib.contextmanager
def served(sink):
    """The sink at work in a thread of its own."""
    over = threading.Event()

    def work():
        while not over.is_set():
            sink.serve(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def host(arrived):
    """host(pace=…, **rules) -> port."""
    with contextlib.ExitStack() as stack:

        def start(pace=0.0, take=arrived.append, **rules):
            sink = stack.enter_context(Sink(Rules(HandOn(take), **rules)))
            port = sink.listen(pace=pace)
            stack.enter_context(served(sink))
            return port

        yield start


def ordered(stage, happens, **more):
    return Faults([Fault(stage, happens, **more)])


def client(port):
    return smtplib.SMTP("127.0.0.1", port, "client.test", LIMIT)


def send(port, recipient="b@good.test"):
    with client(port) as smtp:
        return smtp.sendmail("a@home.test", recipient, "x")


def test_what_smtplib_sends_arrives_whole(host, arrived):
    content = "Subject: x\r\n\r\n.\r\n..\r\n.dot\r\nend"
    with client(host()) as smtp:
        assert smtp.sendmail("a@home.test", ["b@good.test", "c@good.test"], content) == {}
    assert arrived == [("a@home.test", ("b@good.test", "c@good.test"), (content + "\r\n").encode())]


def test_a_bare_line_feed_is_kept_as_it_came(host, arrived):
    with client(host()) as smtp:
        smtp.helo()
        smtp.mail("a@home.test")
        smtp.rcpt("b@good.test")
        smtp.putcmd("DATA")
        assert smtp.getreply()[0] == 354
        smtp.send(b"x\n.\ny\rz\r\n.\r\n")
        assert smtp.getreply()[0] == 250
    assert arrived[0].content == b"x\n.\ny\rz\r\n"


def test_greylisting_refuses_the_first_try_of_each_sender(host, arrived):
    with client(host(greylist=Greylist(0, lambda: 0.0, ["grey.test"]))) as smtp:
        for sender in ("a@home.test", "b@home.test"):
            with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
                smtp.sendmail(sender, "x@grey.test", "first")
            assert caught.value.recipients["x@grey.test"][0] == 451
            smtp.sendmail(sender, "X@GREY.test", "second")
        smtp.sendmail(sender, "x@good.test", "second")
    assert [arrival.content for arrival in arrived] == [b"second\r\n"] * 3


def test_an_unknown_user_is_refused_and_the_others_get_the_mail(host, arrived):
    faults = ordered(Stage.RCPT, Reply(550, "5.1.1", "nobody"), where="nobody@good.test")
    with client(host(faults=faults)) as smtp:
        refused = smtp.sendmail("a@home.test", ["Nobody@good.test", "b@good.test"], "x")
    assert refused == {"Nobody@good.test": (550, b"5.1.1 nobody")}
    assert [arrival.recipients for arrival in arrived] == [("b@good.test",)]
    assert faults.struck == {"rcpt 550": 1}


def test_a_silent_host_accepts_connections_and_never_says_a_word(host):
    with socket.create_connection(("127.0.0.1", host(pace=NEVER)), LIMIT) as connection:
        connection.sendall(b"EHLO x\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_dripping_host_speaks_octet_by_octet_and_takes_mail_all_the_same(host, arrived):
    assert send(host(pace=0.0005), "b@slow.test") == {}
    assert len(arrived) == 1


SCRIPT = {
    Stage.CONNECT: b"",
    Stage.EHLO: b"EHLO c\r\n",
    Stage.MAIL: b"MAIL FROM:<a@b>\r\n",
    Stage.RCPT: b"RCPT TO:<c@d>\r\n",
    Stage.DATA: b"DATA\r\n",
    Stage.FINAL: b"x\r\n.\r\n",
}


def until(stage):
    stages = list(Stage)
    return b"".join(SCRIPT[each] for each in stages[: stages.index(stage) + 1])


def codes(octets):
    return [line[:3].decode() for line in octets.splitlines() if line[3:4] == b" "]


EARLIER = dict(zip(Stage, (["220", "250", "250", "250", "354"][:n] for n in range(6)), strict=True))
"""The replies before those to each stage."""


@pytest.mark.parametrize("stage", Stage)
def test_a_drop_at_a_stage_says_nothing_to_it_and_hangs_up(host, arrived, stage):
    with socket.create_connection(("127.0.0.1", host(faults=ordered(stage, Drop))), LIMIT) as connection:
        connection.sendall(until(stage))
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while octets := connection.recv(1000):
                heard += octets
    assert codes(heard) == EARLIER[stage]
    assert arrived == []


@pytest.mark.parametrize("stage", Stage)
def test_a_hang_at_a_stage_says_nothing_more_but_all_that_came_before(host, arrived, stage):
    with socket.create_connection(("127.0.0.1", host(faults=ordered(stage, Hang))), LIMIT) as connection:
        connection.sendall(until(stage))
        heard = b""
        while codes(heard) != EARLIER[stage]:
            heard += connection.recv(1000)
        connection.sendall(b"NOOP\r\nQUIT\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert arrived == []


@pytest.mark.parametrize("stage", Stage)
def test_a_refusal_at_a_stage_is_its_reply(host, arrived, stage):
    port = host(faults=ordered(stage, Reply(451, "4.7.1", "no")))
    with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
        connection.sendall(until(stage) + b"QUIT\r\n")
        heard = b""
        while octets := connection.recv(1000):
            heard += octets
    assert codes(heard)[: len(EARLIER[stage]) + 1] == [*EARLIER[stage], "451"]
    assert arrived == []


def test_the_same_seed_rolls_the_same_dice(host):
    def refused():
        port = host(faults=Faults([Fault(Stage.MAIL, Reply(451, "4.0.0", "no"), 0.5)], random.Random(7).random))
        with client(port) as smtp:
            smtp.ehlo()
            return [smtp.docmd("MAIL FROM:<a@b>")[0] + smtp.docmd("RSET")[0] for _ in range(30)]

    assert refused() == (first := refused())
    assert set(first) == {451 + 250, 250 + 250}


def test_mail_may_come_in_tls(host, arrived):
    program("openssl", "openssl")
    with client(host(tls=server_context())) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        smtp.starttls(context=context)
        smtp.ehlo()
        assert not smtp.has_extn("starttls")
        smtp.sendmail("a@home.test", "b@good.test", "x" * 200_000)
    assert len(arrived[0].content) == 200_002


def test_a_client_that_fails_at_tls_does_not_disturb_the_others(host, arrived):
    program("openssl", "openssl")
    port = host(tls=server_context())
    with socket.create_connection(("127.0.0.1", port), LIMIT) as broken:
        broken.sendall(b"STARTTLS\r\n")
        heard = b""
        while codes(heard) != ["220", "220"]:
            heard += broken.recv(1000)
        broken.sendall(b"this is no TLS\r\n" * 10)
        assert send(port) == {}
        with contextlib.suppress(ConnectionResetError):
            while broken.recv(1000):
                pass
    assert len(arrived) == 1


def test_many_clients_are_served_at_once(host, arrived):
    port = host()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(port)) for _ in range(50)]
        for smtp in clients:
            smtp.ehlo()
        for smtp in reversed(clients):
            smtp.sendmail("a@home.test", "b@good.test", "x")
    assert len(arrived) == 50


def test_what_cannot_be_kept_is_not_taken(host):
    def full(_arrival):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(smtplib.SMTPDataError) as caught:
        send(host(take=full))
    assert (caught.value.smtp_code, caught.value.smtp_error[:5]) == (452, b"4.3.1")


def test_a_message_that_is_too_big_is_refused_and_not_kept(host, arrived):
    with client(host(size=1000)) as smtp, pytest.raises(smtplib.SMTPResponseException) as caught:
        smtp.sendmail("a@home.test", "b@good.test", "x" * 1000)
    assert caught.value.smtp_code == 552
    assert arrived == []


def test_a_port_that_is_taken_is_named(host):
    port = host()
    with Sink(Rules(HandOn(print))) as other, pytest.raises(MailspoolError, match=f"127.0.0.1, port {port}: Address"):
        other.listen(port=port)
