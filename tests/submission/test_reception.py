# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is said to a session comes into the spool as it was said, or is refused where it was said."""

import shutil

import pytest

from mailspool.submission.policy import Limits
from mailspool.submission.reception import IN_MEMORY, Reception
from mailspool.submission.server import Session

OPENED = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


@pytest.fixture
def spool(make_spool):
    return make_spool(max_message_size=300_000)


@pytest.fixture
def say(spool):
    """say(octets) -> the replies to them, line by line, in a session of their own."""

    def talk(octets, **options):
        session = Session(Reception(spool, **options), "mx.test", Limits(spool.settings.max_message_size))
        session.begin()
        session.receive(octets)
        session.close()
        return session.replies().decode().splitlines()

    return talk


def stored(spool):
    opened = [spool.store.open(location) for location in spool.store.locations()]
    return [(found.envelope, found.file.read()) for found in opened]


def test_the_reply_tells_the_id_of_what_is_in_the_spool(say, spool):
    reply = say(OPENED + b"DATA\r\nSubject: x\r\n\r\ny\r\n.\r\n")[-1]
    ((envelope, message),) = stored(spool)
    assert reply == f"250 2.0.0 accepted as {envelope.id}"
    assert (envelope.sender, [one.address for one in envelope.recipients]) == ("a@b.test", ["c@d.test"])
    assert message.startswith(b"Received: from c.test\r\n\tby mail.test (mailspool, from userid ")
    assert b" with ESMTP\r\n" in message


@pytest.mark.parametrize(("hello", "protocol"), [(b"EHLO", b"local-esmtp"), (b"HELO", b"local-smtp")])
def test_the_received_field_tells_a_local_program(say, spool, hello, protocol):
    say(OPENED.replace(b"EHLO", hello) + b"DATA\r\n\r\n.\r\n", local=True)
    assert b" with " + protocol + b"\r\n" in stored(spool)[0][1]


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("c@d.test", "250 2.1.5"),
        ("root", "250 2.1.5"),
        ("@x,@y:c@d.test", "250 2.1.5"),
        ('"c d"@e.test', "250 2.1.5"),
        ("c@[192.0.2.1]", "250 2.1.5"),
        ("c@d..test", "553 5.1.3"),
        ("c@d, e@f", "553 5.1.3"),
        ("all: c@d;", "553 5.1.3"),
        ("c@d@e", "553 5.1.3"),
        (f"{'x' * 65}@d.test", "553 5.1.3"),
        ("@", "553 5.1.3"),
    ],
)
def test_each_recipient_is_checked_at_rcpt(say, path, reply):
    assert say(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\n" % path.encode())[-1].startswith(reply)


def test_a_name_without_a_domain_is_one_of_ours(say, spool):
    say(b"EHLO c\r\nMAIL FROM:<cron>\r\nRCPT TO:<root>\r\nDATA\r\n.\r\n")
    ((envelope, _),) = stored(spool)
    assert (envelope.sender, envelope.recipients[0].address) == ("cron@mail.test", "root@mail.test")


def test_a_sender_that_is_no_address_is_refused_at_mail(say):
    assert say(b"EHLO c\r\nMAIL FROM:<a b@c>\r\n")[-1].startswith("553 5.1.7")


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"X: \0\r\n\r\n", "554 5.6.0"),
        (b"X: " + b"x" * 2_000_000 + b"\r\n\r\n", "552 5.3.4"),
        (b"\r\n" * 99_995 + b"\n" * 100_000, "552 5.3.4"),  # it is too large only when its line ends are whole
    ],
)
def test_a_message_that_cannot_be_accepted_is_refused_for_good(say, spool, content, reply):
    assert say(OPENED + b"DATA\r\n" + content + b"\r\n.\r\n")[-1].startswith(reply)
    assert stored(spool) == []


def test_a_local_fault_is_for_now(say, spool):
    shutil.rmtree(spool.settings.dequeue_dir)
    assert say(OPENED + b"DATA\r\nx\r\n.\r\n")[-1].startswith("451 4.3.0")


def test_a_large_message_comes_through_the_file_whole(say, spool):
    body = b"\r\n.\r\n" * (IN_MEMORY // 2)
    assert say(OPENED + b"DATA\r\n\r\n" + body.replace(b"\r\n.", b"\r\n..") + b".\r\n")[-1].startswith("250")
    assert stored(spool)[0][1].partition(b"\r\n\r\n")[2] == body
