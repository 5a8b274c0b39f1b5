# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The sink takes mail as RFC 5321 says, and misbehaves only when told to."""

import contextlib
import errno
import smtplib
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.cli.sink import MAX_LINE, MAX_SIZE, NEVER, Dialogue, Manner, Rules, Sink

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
    """host(pace=…, **manners) -> port."""
    with contextlib.ExitStack() as stack:

        def start(pace=0.0, manners=None):
            sink = stack.enter_context(Sink(arrived.append, manners))
            port = sink.listen(pace=pace)
            stack.enter_context(served(sink))
            return port

        yield start


def client(port):
    return smtplib.SMTP("127.0.0.1", port, "client.test", LIMIT)


def talk(text, take=lambda _: None, manners=None):
    """The replies' first lines' codes and statuses to all that a client says."""
    dialogue = Dialogue(Rules(take, manners or {}))
    return dialogue.receive(text.replace("\n", "\r\n").encode()).decode().splitlines(), dialogue


# --- on the wire


def test_what_smtplib_sends_arrives_whole(host, arrived):
    content = "Subject: x\r\n\r\n.\r\n..\r\n.dot\r\nend"
    with client(host()) as smtp:
        assert smtp.sendmail("a@home.test", ["b@good.test", "c@good.test"], content) == {}
    assert arrived == [("a@home.test", ("b@good.test", "c@good.test"), (content + "\r\n").encode())]


def test_it_offers_its_extensions(host):
    with client(host()) as smtp:
        smtp.ehlo()
        assert set(smtp.esmtp_features) == {"pipelining", "8bitmime", "size", "enhancedstatuscodes"}


def test_greylisting_refuses_the_first_try_of_each_sender(host, arrived):
    with client(host(manners={"grey.test": Manner.GREYLIST})) as smtp:
        for sender in ("a@home.test", "b@home.test"):
            with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
                smtp.sendmail(sender, "x@grey.test", "first")
            assert caught.value.recipients["x@grey.test"][0] == 451
            smtp.sendmail(sender, "X@GREY.test", "second")
    assert [arrival.content for arrival in arrived] == [b"second\r\n"] * 2


def test_an_unknown_user_is_refused_and_the_others_get_the_mail(host, arrived):
    with client(host(manners={"nobody@good.test": Manner.UNKNOWN})) as smtp:
        refused = smtp.sendmail("a@home.test", ["nobody@good.test", "b@good.test"], "x")
    assert refused == {"nobody@good.test": (550, b"5.1.1 there is no such user here")}
    assert [arrival.recipients for arrival in arrived] == [("b@good.test",)]


def test_a_silent_host_accepts_connections_and_never_says_a_word(host):
    with socket.create_connection(("127.0.0.1", host(pace=NEVER)), LIMIT) as connection:
        connection.sendall(b"EHLO x\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_dripping_host_speaks_octet_by_octet_and_takes_mail_all_the_same(host, arrived):
    with client(host(pace=0.0005)) as smtp:
        smtp.sendmail("a@home.test", "b@slow.test", "x")
    assert len(arrived) == 1


def test_a_silent_host_does_not_keep_the_others_from_speaking(arrived):
    with Sink(arrived.append) as sink:
        silent, talking = sink.listen(pace=NEVER), sink.listen()
        with served(sink), socket.create_connection(("127.0.0.1", silent), LIMIT), client(talking) as smtp:
            smtp.sendmail("a@home.test", "b@good.test", "x")
    assert len(arrived) == 1


def test_a_client_that_never_reads_is_no_reason_to_spin_or_to_stop(host):
    port = host()
    with socket.create_connection(("127.0.0.1", port), LIMIT) as rude:
        rude.settimeout(0.5)
        with contextlib.suppress(TimeoutError, ConnectionError):
            rude.sendall(b"NOOP\r\n" * 400_000)
        with client(port) as smtp:
            assert smtp.noop()[0] == 250


def test_a_client_that_hangs_up_is_forgotten(arrived):
    with Sink(arrived.append) as sink:
        port = sink.listen()
        with socket.create_connection(("127.0.0.1", port), LIMIT):
            sink.serve(LIMIT)
        sink.serve(LIMIT)
        assert not sink._connections


# --- the dialogue


def test_pipelined_commands_are_answered_in_their_order():
    replies, _ = talk("EHLO c\nMAIL FROM:<a@b> SIZE=10 BODY=8BITMIME\nRCPT TO:<c@d>\nDATA\nx\n.\nQUIT\n")
    assert [reply[:5] for reply in replies[5:]] == ["250 2", "250 2", "354 g", "250 2", "221 2"]


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("EHLO", "501 5.5.4"),
        ("MAIL FROM:<a@b>", "503 5.5.1"),
        ("HELO c\nMAIL FROM:<a@b>\nMAIL FROM:<a@b>", "503 5.5.1"),
        ("HELO c\nMAIL TO:<a@b>", "501 5.5.4"),
        ("HELO c\nMAIL FROM:a@b", "501 5.5.4"),
        ("HELO c\nMAIL FROM:<a@b> SIZE=99999999999", "552 5.3.4"),
        ("HELO c\nMAIL FROM:<a@b> SIZE=x", "555 5.5.4"),
        ("HELO c\nMAIL FROM:<a@b> SMTPUTF8", "555 5.5.4"),
        ("HELO c\nMAIL FROM:<>", "250 2.1.0"),
        ('helo c\nmail from:<"a>b"@c>', "250 2.1.0"),
        ("HELO c\nRCPT TO:<a@b>", "503 5.5.1"),
        ("HELO c\nMAIL FROM:<>\nRCPT TO:<>", "501 5.5.4"),
        ("HELO c\nMAIL FROM:<>\nRCPT TO:<a@b> NOTIFY=NEVER", "555 5.5.4"),
        ("HELO c\nMAIL FROM:<>\nRCPT FROM:<a@b>", "501 5.5.4"),
        ("HELO c\nMAIL FROM:<>\nDATA", "503 5.5.1"),
        ("HELO c\nMAIL FROM:<>\nRCPT TO:<a@full.test>\nDATA", "503 5.5.1"),
        ("HELO c\nMAIL FROM:<>\nRSET\nRCPT TO:<a@b>", "503 5.5.1"),
        ("HELO c\nMAIL FROM:<>\nEHLO c\nRCPT TO:<a@b>", "503 5.5.1"),
        ("NOOP", "250 2.0.0"),
        ("VRFY a", "252 2.5.0"),
        ("EXPN a", "500 5.5.2"),
        ("\xff", "500 5.5.2"),
        ("A" * (MAX_LINE + 1), "500 5.5.2"),
    ],
)
def test_each_command_has_its_reply(said, reply):
    replies, _ = talk(said + "\n", manners={"full.test": Manner.DEFER})
    assert replies[-1].startswith(reply)


def test_a_line_without_an_end_ends_the_session():
    replies, dialogue = talk("A" * (MAX_LINE + 1))
    assert (replies, dialogue.ended) == (["500 5.5.2 the line is too long"], True)


def test_nothing_is_heard_behind_quit():
    assert len(talk("QUIT\nNOOP\n")[0]) == 1


def test_a_bare_line_feed_ends_no_content(arrived):
    dialogue = Dialogue(Rules(arrived.append, {}))
    dialogue.receive(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n")
    assert dialogue.receive(b"x\n.\nMAIL FROM:<evil@x>\n.\r\ny\r\n") == b""
    assert dialogue.receive(b".\r\n").startswith(b"250")
    assert [arrival.content for arrival in arrived] == [b"x\n.\nMAIL FROM:<evil@x>\n.\r\ny\r\n"]


def test_what_cannot_be_kept_is_not_taken():
    def full(_arrival):
        raise OSError(errno.ENOSPC, "No space left on device")

    replies, _ = talk("HELO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nDATA\nx\n.\n", full)
    assert replies[-1] == "451 4.3.0 cannot keep it: No space left on device"


def test_a_message_that_is_too_big_is_refused_and_not_kept(arrived):
    line = "x" * 998 + "\n"
    replies, _ = talk(
        "HELO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nDATA\n" + line * (MAX_SIZE // 1000 + 1) + ".\nNOOP\n", arrived.append
    )
    assert (replies[-2][:9], replies[-1][:3], arrived) == ("552 5.3.4", "250", [])


@given(st.lists(st.binary(max_size=8)), st.integers(1, 50))
def test_content_comes_through_whatever_its_dots_and_however_it_is_cut(lines, size):
    arrived = []
    lines = [line.replace(b"\r", b".").replace(b"\n", b"") for line in lines]
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    octets = b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n" + stuffed + b".\r\nQUIT\r\n"
    dialogue = Dialogue(Rules(arrived.append, {}))
    for at in range(0, len(octets), size):
        dialogue.receive(octets[at : at + size])
    assert dialogue.ended
    assert [arrival.content for arrival in arrived] == [b"".join(line + b"\r\n" for line in lines)]
