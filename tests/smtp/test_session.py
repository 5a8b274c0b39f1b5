# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import base64
import io
import signal
import time
import traceback
from contextlib import suppress

import pytest

from mailspool import log
from mailspool.errors import ClaimLost, DeadlineExceeded, PermanentError, TransientError, Unreadable
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Deferred, Delivered, Failed
from mailspool.model.phase import Phase
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.session import Session
from mailspool.tls import context
from mailspool.tls.policy import TlsLevel, TlsPolicy

NONE, MAY, ENCRYPT, VERIFY = (TlsPolicy(TlsLevel(word)) for word in ("none", "may", "encrypt", "verify"))
SMALL = b"Subject: x\r\n\r\nhello\r\n"
BIG = b"Subject: x\r\n\r\n" + b"a line of text\r\n" * 20_000
OUTGOING = "MAIL FROM:<joe@example.net> SIZE={}"


def open_session(port, tls=NONE, timeouts=None, name="mx.example.org", **more):
    timeouts = timeouts or Timeouts(*[20.0] * 11)
    return Session.open("127.0.0.1", port, name, "client.example.net", timeouts=timeouts, tls=tls, **more)


def send(session, message=SMALL, *addresses, size=None, dots=0):
    facts = Facts(size=len(message) if size is None else size, leading_dots=dots)
    recipients = tuple(Recipient(address) for address in addresses or ("ann@example.org",))
    return session.send(
        Envelope("id1", "joe@example.net", recipients, 0.0, facts=facts), recipients, io.BytesIO(message)
    )


def expect_message(peer, message=SMALL, answer="250 2.0.0 queued"):
    peer.expect(OUTGOING.format(len(message)), "RCPT TO:<ann@example.org>", "DATA")
    peer.say("250 ok", "250 ok", "354 go")
    assert peer.hear_content() == message
    peer.say(answer)


def test_a_seal_that_breaks_ends_the_session_without_the_final_dot(serve):
    def script(peer):
        peer.greet("PIPELINING")
        peer.expect("MAIL FROM:<joe@example.net>", "RCPT TO:<ann@example.org>", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        assert peer.hear_end() == b""

    def broken():
        raise ClaimLost("taken away")

    session = open_session(serve(script))
    recipients = (Recipient("ann@example.org"),)
    envelope = Envelope("id1", "joe@example.net", recipients, 0.0, facts=Facts(size=len(SMALL)))
    with pytest.raises(ClaimLost):
        session.send(envelope, recipients, io.BytesIO(SMALL), broken)
    assert not session.alive


def test_a_session_delivers_one_message_after_the_other(serve):
    def script(peer):
        peer.greet("PIPELINING", "SIZE 0")
        expect_message(peer)
        expect_message(peer, BIG, "550 5.6.0 too much")
        expect_message(peer)
        peer.expect("QUIT")
        peer.say("221 bye")

    session = open_session(port := serve(script))
    host = f"mx.example.org[127.0.0.1]:{port}"
    assert session.host == host
    assert send(session) == [Delivered("2.0.0", host, "250 2.0.0 queued", silent=True)]
    assert send(session, BIG) == [Failed("5.6.0", host, "550 5.6.0 too much")]
    assert send(session) == [Delivered("2.0.0", host, "250 2.0.0 queued", silent=True)]
    assert session.alive
    session.quit()
    assert not session.alive


def test_a_small_message_goes_out_in_two_writes_and_the_transcript_holds_nothing_of_it(serve):
    def script(peer):
        peer.greet("PIPELINING", "SIZE")
        expect_message(peer)
        assert peer.hear_end() == b""

    session = open_session(serve(script))
    send(session)
    session.close()
    assert str(session.transcript).splitlines() == [
        f"-- connected to {session.host}",
        "S: 220 mx.example.org ESMTP",
        "C: EHLO client.example.net",
        "S: 250 mx.example.org PIPELINING SIZE",
        "C: MAIL FROM:<joe@example.net> SIZE=21",
        "C: RCPT TO:<ann@example.org>",
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 354 go",
        "C: [24 octets]",
        "S: 250 2.0.0 queued",
    ]


@pytest.fixture
def lines(capfd):
    """lines(level): the log on standard error is of that level. Returns what it says."""

    def configure(level):
        log.configure(level, "stderr")
        return lambda: capfd.readouterr().err.splitlines()

    yield configure
    log.configure(stream="stderr")


def test_who_debugs_finds_in_the_log_what_was_said_on_each_session_once(serve, lines):
    def script(peer):
        peer.greet()
        peer.expect("QUIT")
        peer.say("221 bye")

    logged = lines("debug")
    session = open_session(serve(script))
    assert logged() == []
    session.quit()
    session.close()
    assert [line.partition(" host=")[2] for line in logged()] == [
        f'{session.host} line="{line}"' for line in str(session.transcript).splitlines()
    ]


def test_nobody_else_is_told(serve, lines):
    logged = lines("info")
    open_session(serve(lambda peer: peer.greet())).close()
    assert logged() == []


def test_the_watch_hears_of_each_phase_before_it_begins_and_of_the_final_dot_before_it_is_written(serve):
    seen = []
    final = []

    def script(peer):
        peer.greet("SIZE 0")
        for command in (OUTGOING.format(len(BIG)), "RCPT TO:<ann@example.org>"):
            peer.expect(command)
            peer.say("250 ok")
        peer.expect("DATA")
        peer.say("354 go")
        content = b""
        while b"\r\n.\r\n" not in content:
            octets = peer.socket.recv(65536)
            assert octets, "the client hung up"
            content += octets
        final.append(Phase.FINAL in [phase for phase, _, _ in seen])
        peer.say("250 ok")
        peer.expect("QUIT")

    session = open_session(
        serve(script), timeouts=Timeouts(*map(float, range(20, 31))), watch=lambda *a: seen.append(a)
    )
    send(session, BIG)
    session.quit()
    assert final == [True]
    assert {host for _, host, _ in seen} == {session.host}
    assert [(phase.name, seconds) for phase, _, seconds in seen] == [
        ("CONNECT", 20),
        ("GREETING", 21),
        ("EHLO", 22),
        ("MAIL", 25),
        ("RCPT", 26),
        ("DATA", 27),
        *[("CONTENT", 28)] * 4,
        ("SEAL", 0),
        ("FINAL", 29),
        ("QUIT", 30),
    ]


def test_leading_dots_reach_the_peer_doubled(serve):
    message = b"Subject: x\r\n\r\n.\r\n.x\r\n"

    def script(peer):
        peer.greet("PIPELINING", "SIZE 0")
        peer.expect(OUTGOING.format(len(message)), "RCPT TO:<ann@example.org>", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        assert peer.hear_content() == b"Subject: x\r\n\r\n..\r\n..x\r\n"
        peer.say("250 ok")

    session = open_session(serve(script))
    assert isinstance(send(session, message, dots=2)[0], Delivered)
    session.close()


def test_an_ipv6_peer_is_as_good(serve):
    import socket
    import threading

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:

        def greet():
            sock, _ = server.accept()
            with sock:
                sock.sendall(b"554 5.7.1 no\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(PermanentError) as caught:
            Session.open("::1", port := server.getsockname()[1], "six", "me", timeouts=Timeouts(*[20.0] * 11), tls=NONE)
        thread.join()
    assert caught.value.host == f"six[::1]:{port}"


# --- trouble


@pytest.mark.parametrize(
    ("line", "kind", "status"),
    [
        ("554 5.7.1 no", PermanentError, "5.7.1"),
        ("421 4.3.2 busy", TransientError, "4.3.2"),
        ("HTTP/1.1 400 Bad Request", TransientError, "4.5.0"),
    ],
)
def test_a_host_that_cannot_be_used_is_told_and_hung_up_on(serve, line, kind, status):
    def script(peer):
        peer.say(line)
        assert peer.hear_end() == b""

    with pytest.raises(kind) as caught:
        open_session(serve(script))
    assert caught.value.status == status


def test_a_421_ends_the_session(serve):
    def script(peer):
        peer.greet("PIPELINING")
        peer.hear()
        peer.say("421 4.3.2 shutting down")
        peer.hear_end()

    session = open_session(serve(script))
    assert send(session) == [Deferred("4.3.2", session.host, "421 4.3.2 shutting down", refused=True)]
    assert not session.alive
    session.quit()


def test_a_connection_that_dies_before_the_dot_defers(serve):
    def script(peer):
        peer.greet()
        peer.hear()

    session = open_session(serve(script))
    (outcome,) = send(session)
    assert (type(outcome), outcome.status, outcome.refused) == (Deferred, "4.4.2", True)
    assert outcome.text == f"connection to {session.host} lost in MAIL: closed by the peer"
    assert not session.alive


@pytest.mark.parametrize("message", [SMALL, BIG])
def test_a_connection_that_dies_after_the_dot_says_that_the_fate_is_unknown(serve, message):
    def script(peer):
        peer.greet("PIPELINING", "SIZE 0")
        peer.expect(OUTGOING.format(len(message)), "RCPT TO:<ann@example.org>", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        peer.hear_content()

    session = open_session(serve(script))
    (outcome,) = send(session, message)
    assert (type(outcome), outcome.status, outcome.refused) == (Deferred, "4.4.2", True)
    assert outcome.text.endswith("lost in FINAL: closed by the peer; whether the message was delivered is unknown")


def test_a_silent_peer_takes_no_longer_than_its_phase(serve):
    def script(peer):
        peer.greet()
        peer.hear_end()

    session = open_session(serve(script), timeouts=Timeouts(*[20.0] * 4, mail=0.01))
    (outcome,) = send(session)
    assert outcome.text == f"{session.host} timed out after 0.01 s in MAIL"


def test_a_refusal_in_the_middle_of_the_content_counts_and_the_rest_is_not_sent(serve):
    def script(peer):
        peer.greet("PIPELINING", "SIZE 0")
        peer.expect(OUTGOING.format(len(BIG)), "RCPT TO:<ann@example.org>", "DATA")
        peer.say("250 ok", "250 ok", "354 go", "552 5.3.4 enough")
        assert not peer.hear_end().endswith(b"\r\n.\r\n")

    session = open_session(serve(script))
    assert send(session, BIG) == [Failed("5.3.4", session.host, "552 5.3.4 enough")]
    assert not session.alive


def test_a_reply_to_nothing_never_delivers_a_message(serve):
    def script(peer):
        peer.greet("PIPELINING", "SIZE 0")
        peer.expect(OUTGOING.format(len(SMALL)), "RCPT TO:<ann@example.org>", "DATA")
        peer.say("250 ok", "250 ok", "354 go", "250 one too many")
        assert peer.hear_end() == b""

    session = open_session(serve(script))
    (outcome,) = send(session)
    assert (type(outcome), outcome.status, outcome.refused) == (Deferred, "4.5.0", True)
    assert not session.alive


def test_a_session_that_the_peer_closed_between_two_messages_is_not_alive(serve):
    def script(peer):
        peer.greet("PIPELINING", "SIZE 0")
        expect_message(peer)
        peer.say("421 idle too long")

    session = open_session(serve(script))
    assert isinstance(send(session)[0], Delivered)
    while session.alive:  # until the peer's packet has come
        time.sleep(0.001)
    (outcome,) = send(session)
    assert outcome == Deferred("4.0.0", session.host, "421 idle too long", refused=True)


def test_a_file_that_ends_too_early_is_unreadable_and_the_peer_never_sees_a_dot(serve):
    def script(peer):
        peer.greet("PIPELINING")
        peer.expect("MAIL FROM:<joe@example.net>", "RCPT TO:<ann@example.org>", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        assert not peer.hear_end().endswith(b".\r\n")

    session = open_session(serve(script))
    with pytest.raises(Unreadable):
        send(session, BIG, size=len(BIG) + 1)
    assert not session.alive


def test_an_alarm_closes_the_session_and_passes_through(serve):
    def script(peer):
        peer.greet()
        peer.expect("MAIL FROM:<joe@example.net>")
        assert peer.hear_end() == b""

    def ring(*_):
        raise DeadlineExceeded

    session = open_session(serve(script))
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(DeadlineExceeded):
            send(session)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not session.alive


@pytest.mark.parametrize("answer", ["221 bye", "550 no", "what?", None])
def test_no_error_at_quit_is_raised(serve, answer):
    def script(peer):
        peer.greet()
        peer.expect("QUIT")
        if answer:
            peer.say(answer)

    session = open_session(serve(script))
    session.quit()
    session.quit()
    assert not session.alive


def test_quit_is_brief(serve):
    def script(peer):
        peer.greet()
        peer.expect("QUIT")
        peer.hear_end()

    open_session(serve(script), timeouts=Timeouts(*[20.0] * 10, quit=0.01)).quit()


# --- AUTH

JOE = Credentials(user="joe", password="tanstaaf", tls="may")
SECRETS = ("AGpvZQB0", "am9l", "dGFuc3Rh", "tanstaaf")


def log_in(serve, answer, mechanism="PLAIN"):
    def script(peer):
        peer.greet(f"AUTH {mechanism}")
        heard = peer.hear()
        if mechanism == "LOGIN":
            for challenge in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"):
                peer.say(challenge)
                heard = peer.hear()
        peer.socket.sendall(answer(heard).encode() + b"\r\n")
        peer.hear_end()

    return open_session(serve(script), credentials=JOE)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_the_transcript_shows_that_we_logged_in_and_not_how(serve, mechanism):
    session = log_in(serve, lambda heard: f"235 2.7.0 welcome {heard}", mechanism)
    session.close()
    transcript = str(session.transcript)
    assert f"C: AUTH {mechanism}" in transcript
    assert "***" in transcript
    assert not [secret for secret in SECRETS if secret in transcript]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda heard: f"535 5.7.8 not with {heard}, {base64.b64decode(heard.split()[-1]).decode()}",
        lambda heard: f"454 4.7.0 not now: '{heard[:25]}'",
        lambda heard: f"500-5.5.1 <{heard}>\r\n500 5.5.1 is unknown",
        lambda heard: heard,
        lambda heard: f"!{heard[-12:]}",
    ],
)
def test_no_error_repeats_what_a_host_repeats_of_the_password(serve, answer, mechanism):
    with pytest.raises(TransientError) as caught:
        log_in(serve, answer, mechanism)
    told = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in SECRETS if secret in told]


def test_a_challenge_without_an_end_is_not_read_on(serve):
    def script(peer):
        peer.greet("AUTH CRAM-MD5")
        peer.expect("AUTH CRAM-MD5")
        with suppress(OSError):
            peer.socket.sendall(b"334 " + b"Zm9v" * 10_000)
        peer.hear_end()

    with pytest.raises(TransientError) as caught:
        open_session(serve(script), credentials=JOE)
    assert caught.value.status == "4.5.0"


@pytest.mark.parametrize("level", ["encrypt", "verify"])
def test_the_credentials_may_ask_for_more_tls_than_the_policy(serve, level):
    def script(peer):
        peer.greet("AUTH PLAIN")
        assert not peer.hear_end()

    with pytest.raises(TransientError) as caught:
        open_session(serve(script), NONE, credentials=Credentials(user="joe", password="tanstaaf", tls=level))
    assert caught.value.status == "4.7.5"


# --- implicit TLS


def test_a_message_goes_out_in_implicit_tls(serve, server_tls):
    def script(peer):
        peer.start_tls(server_tls)
        peer.greet("STARTTLS", "PIPELINING", "SIZE 0")
        expect_message(peer)
        peer.expect("QUIT")
        peer.say("221 bye")

    phases = []
    tls = TlsPolicy(TlsLevel.NONE, wrap=True)
    session = open_session(serve(script), tls, watch=lambda phase, *_: phases.append(phase))
    assert session.secured
    assert phases == [Phase.CONNECT, Phase.STARTTLS, Phase.GREETING, Phase.EHLO]
    assert isinstance(send(session)[0], Delivered)
    session.quit()


def test_a_handshake_that_fails_in_implicit_tls_is_not_followed_by_a_session_in_clear(serve):
    def script(peer):
        peer.say("220 mx.example.org ESMTP")
        peer.hear_end()

    with pytest.raises(TransientError, match="TLS handshake"):
        open_session(serve(script), TlsPolicy(TlsLevel.MAY, wrap=True))


# --- TLS


def in_tls(server_tls, *extensions):
    def script(peer):
        peer.greet("STARTTLS", "SIZE 1")
        peer.expect("STARTTLS")
        peer.say("220 go")
        peer.start_tls(server_tls)
        peer.expect("EHLO client.example.net")
        peer.say("250-mx.example.org", *(f"250-{line}" for line in extensions), "250 SIZE 0")
        expect_message(peer, BIG)
        peer.expect("QUIT")
        peer.say("221 bye")

    return script


@pytest.mark.parametrize("policy", [MAY, ENCRYPT])
def test_a_message_goes_out_in_tls_to_a_certificate_that_nobody_signed(serve, server_tls, policy):
    session = open_session(serve(in_tls(server_tls, "PIPELINING")), policy)
    assert session.secured.startswith("TLSv1.")
    assert isinstance(send(session, BIG)[0], Delivered)
    assert session.alive
    assert f"-- {session.secured}" in str(session.transcript).splitlines()
    session.quit()


def test_a_certificate_of_a_known_authority_that_names_the_host_is_verified(
    serve, server_tls, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context.verifying.cache_clear()
    try:
        session = open_session(serve(in_tls(server_tls, "PIPELINING")), VERIFY)
        assert isinstance(send(session, BIG)[0], Delivered)
        session.quit()
    finally:
        context.verifying.cache_clear()


def broken_by_us(server_tls):
    def script(peer):
        peer.greet("STARTTLS")
        peer.expect("STARTTLS")
        peer.say("220 go")
        with suppress(OSError):  # in TLS 1.3 the client's alert comes after the server thinks all is well
            peer.start_tls(server_tls)
            assert not peer.hear_end()

    return script


def test_a_certificate_of_nobody_is_not_verified(serve, server_tls):
    with pytest.raises(TransientError, match="certificate verify failed") as caught:
        open_session(serve(broken_by_us(server_tls)), VERIFY)
    assert caught.value.status == "4.7.5"


def test_a_certificate_for_another_host_is_not_verified(serve, server_tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context.verifying.cache_clear()
    try:
        with pytest.raises(TransientError, match=r"not valid for 'mail\.example\.org'") as caught:
            open_session(serve(broken_by_us(server_tls)), VERIFY, name="mail.example.org")
        assert caught.value.status == "4.7.5"
    finally:
        context.verifying.cache_clear()


def broken(peer):
    peer.greet("STARTTLS")
    peer.expect("STARTTLS")
    peer.say("220 go", "220 but this is no TLS")


def test_where_tls_may_be_a_broken_handshake_is_followed_by_a_session_in_clear(serve):
    def clear(peer):
        peer.greet("STARTTLS", "PIPELINING", "SIZE 0")
        expect_message(peer)

    session = open_session(serve(broken, clear), MAY)
    assert not session.secured
    assert isinstance(send(session)[0], Delivered)
    assert "again, in clear: TLS handshake with" in str(session.transcript)
    session.close()


def test_where_tls_must_be_a_broken_handshake_is_the_end(serve):
    with pytest.raises(TransientError) as caught:
        open_session(serve(broken), ENCRYPT)
    assert caught.value.status == "4.7.5"
