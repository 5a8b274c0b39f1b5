# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The same session against a server that somebody else wrote."""

import asyncio
import io
import threading

import pytest
from aiosmtpd.smtp import SMTP

from mailspool.model.envelope import Envelope, Recipient, Survey
from mailspool.model.outcome import Delivered, Failed
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.session import Session
from mailspool.tls.policy import TlsLevel, TlsPolicy


class Mailbox:
    """aiosmtpd's handler: keeps what it accepts, knows nobody called nobody."""

    def __init__(self):
        self.got = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        self.got.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content, session.ssl is not None))
        return "250 2.0.0 kept"


@pytest.fixture
def start():
    """start(**options of aiosmtpd) -> its mailbox and a session with it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = []

    def begin(level="none", **options):
        mailbox = Mailbox()

        async def listen():
            # hostname: aiosmtpd would otherwise ask DNS for its own name
            return await loop.create_server(
                lambda: SMTP(mailbox, hostname="mx.example.org", loop=loop, **options), "127.0.0.1", 0
            )

        server = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        tls = TlsPolicy(TlsLevel(level))
        timeouts = Timeouts(*[20.0] * 11)
        return mailbox, Session.open(
            "127.0.0.1", port, "mx.example.org", "client.example.net", timeouts=timeouts, tls=tls
        )

    yield begin
    for server in servers:
        loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def send(session, message, *addresses, sender="joe@example.net"):
    survey = Survey([message])
    list(survey)
    recipients = tuple(Recipient(address) for address in addresses)
    envelope = Envelope("id1", sender, recipients, 0.0, facts=survey.facts())
    return session.send(envelope, recipients, io.BytesIO(message))


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: x\r\n\r\nhello\r\n",
        b"",
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n",
        b"Subject: long\r\n\r\n" + b".line\r\n" * 100_000,
        b"Subject: 8bit\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    ],
)
def test_the_message_arrives_octet_for_octet(start, message):
    mailbox, session = start()
    assert isinstance(send(session, message, "ann@example.org")[0], Delivered)
    session.quit()
    assert mailbox.got == [("joe@example.net", ["ann@example.org"], message, False)]


def test_many_messages_go_over_one_session_and_a_refused_one_is_followed_by_a_good_one(start):
    mailbox, session = start()
    for n in range(3):
        message = f"Subject: {n}\r\n\r\n.{n}\r\n".encode()
        assert isinstance(send(session, message, "nobody@example.org")[0], Failed)
        outcomes = send(session, message, "nobody@example.org", "ann@example.org", sender="")
        assert [type(outcome) for outcome in outcomes] == [Failed, Delivered]
    session.quit()
    assert [content for _, _, content, _ in mailbox.got] == [f"Subject: {n}\r\n\r\n.{n}\r\n".encode() for n in range(3)]


def test_it_goes_through_tls(start, server_tls):
    mailbox, session = start("encrypt", tls_context=server_tls, require_starttls=True)
    assert session.secured
    message = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 50_000
    assert isinstance(send(session, message, "ann@example.org")[0], Delivered)
    session.quit()
    assert mailbox.got == [("joe@example.net", ["ann@example.org"], message, True)]


def test_an_address_in_utf8_arrives_where_smtputf8_is_offered_and_fails_where_not(start):
    mailbox, session = start(enable_SMTPUTF8=True)
    assert isinstance(send(session, b"Subject: x\r\n\r\n", "jörg@example.org", sender="zoë@example.net")[0], Delivered)
    session.quit()
    assert mailbox.got[0][:2] == ("zoë@example.net", ["jörg@example.org"])
    mailbox, session = start(enable_SMTPUTF8=False)
    assert send(session, b"Subject: x\r\n\r\n", "jörg@example.org")[0].status == "5.6.7"
    session.quit()


def test_a_message_over_the_announced_size_stays_here(start):
    mailbox, session = start(data_size_limit=100)
    assert send(session, b"x" * 101 + b"\r\n", "ann@example.org")[0].status == "5.3.4"
    assert isinstance(send(session, b"x" * 90 + b"\r\n", "ann@example.org")[0], Delivered)
    session.quit()
    assert len(mailbox.got) == 1
