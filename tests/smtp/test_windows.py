# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a session writes behind what, octet for octet, and what it makes of a peer that answers as it likes."""

import io

import pytest

from mailspool.errors import ClaimLost
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Deferred, Delivered, Failed
from mailspool.model.phase import Phase
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.content import BLOCK
from mailspool.smtp.flight import Letter, always
from mailspool.smtp.session import WIDEST, Session
from mailspool.tls.policy import TlsLevel, TlsPolicy

NONE = TlsPolicy(TlsLevel("none"))
SMALL = b"Subject: x\r\n\r\n.dot\r\nhello\r\n"
COMMANDS = ["MAIL FROM:<joe@example.net>", "RCPT TO:<ann@example.org>"]
CHUNKING = ("PIPELINING", "CHUNKING")


def letter(message=SMALL, seal=always, file=None, to=("ann@example.org",)):
    facts = Facts(size=len(message), leading_dots=message.count(b"\r\n."))
    recipients = tuple(map(Recipient, to))
    return Letter(
        Envelope("id1", "joe@example.net", recipients, 0.0, facts=facts), recipients, file or io.BytesIO(message), seal
    )


def open_session(port, timeouts=None, **more):
    timeouts = timeouts or Timeouts(*[20.0] * 11)
    return Session.open("127.0.0.1", port, "mx", "client.example.net", timeouts=timeouts, tls=NONE, **more)


def exchange_all(session, letters):
    return [session.exchange(letters[n:])[0] for n in range(len(letters))]


def hear_chunk(peer, message=SMALL):
    """A transaction that came whole. The replies to all but its content."""
    line = peer.hear()
    replies = ["250 ok"] * (3 if line == "RSET" else 2)
    assert (line if line != "RSET" else peer.hear()) == COMMANDS[0]
    peer.expect(COMMANDS[1], f"BDAT {len(message)} LAST")
    assert peer.hear_octets(len(message)) == message
    return replies


def take_first(peer, message=SMALL):
    """What no message was taken before: its content comes once somebody was accepted for it."""
    peer.expect(*COMMANDS)
    peer.say("250 ok", "250 ok")
    peer.expect(f"BDAT {len(message)} LAST")
    assert peer.hear_octets(len(message)) == message
    peer.say("250 taken")


def test_with_chunking_a_message_goes_as_it_is_once_somebody_was_accepted_and_the_next_one_whole(serve):
    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        peer.say(*hear_chunk(peer), "250 2.6.0 taken")

    session = open_session(serve(script))
    (outcome,) = session.exchange([letter()])
    assert isinstance(outcome, Delivered)
    assert session.exchange([letter()])[0].text == "250 2.6.0 taken"
    session.close()


def test_without_pipelining_each_step_of_a_chunk_waits(serve):
    def script(peer):
        peer.greet("CHUNKING")
        for _ in range(2):
            for command in COMMANDS:
                peer.expect(command)
                peer.say("250 ok")
            peer.expect(f"BDAT {len(SMALL)} LAST")
            assert peer.hear_octets(len(SMALL)) == SMALL
            peer.say("250 taken")

    session = open_session(serve(script))
    assert [type(outcome) for outcome in exchange_all(session, [letter(), letter()])] == [Delivered] * 2
    session.close()


def test_a_large_message_is_not_sent_where_nobody_is_accepted(serve):
    large = b"x" * BLOCK + b"\r\n"

    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        peer.expect(*COMMANDS)
        peer.say("250 ok", "550 no")
        peer.expect("QUIT")
        peer.say("221 bye")

    session = open_session(serve(script))
    first, second = exchange_all(session, [letter(), letter(large)])
    assert (type(first), type(second)) == (Delivered, Failed)
    session.quit()


def test_the_window_grows_by_one_with_each_message_that_is_taken_to_its_widest(serve):
    total = 30

    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        under_way = []
        for taken in range(1, total):
            while len(under_way) < min(taken + 1, WIDEST, total - taken):  # all of these come without a word from us
                under_way.append(hear_chunk(peer))
            peer.say(*under_way.pop(0), f"250 taken {taken}")
        assert peer.hear_end() == b""

    session = open_session(serve(script))
    outcomes = exchange_all(session, [letter() for _ in range(total)])
    assert [outcome.text for outcome in outcomes] == ["250 taken", *(f"250 taken {n}" for n in range(1, total))]
    session.close()


def test_behind_a_message_that_is_not_answered_rset_comes_first_so_that_no_recipient_gets_anothers_mail(serve):
    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        for _ in range(2):
            peer.say(*hear_chunk(peer), "250 taken")
        assert peer.hear_end() == b""

    session = open_session(serve(script))
    exchange_all(session, [letter() for _ in range(3)])
    said = [line for line in str(session.transcript).splitlines() if line.startswith("C: ")]
    assert said.count("C: RSET") == 1
    session.close()


def test_the_next_commands_go_out_with_the_final_dot_and_not_before_its_seal(serve):
    def script(peer):
        peer.greet("PIPELINING")
        peer.expect(*COMMANDS, "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        assert peer.hear_content() == b"Subject: x\r\n\r\n..dot\r\nhello\r\n"
        peer.expect(*COMMANDS, "DATA")  # before its reply
        peer.say("452 full", "250 ok", "250 ok", "354 go")
        peer.hear_content()
        peer.say("250 taken")

    session = open_session(serve(script))
    first, second = exchange_all(session, [letter(), letter()])
    assert (type(first), type(second)) == (Deferred, Delivered)
    session.close()


def test_a_message_whose_seal_breaks_behind_another_is_not_said_and_the_other_is_settled(serve):
    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        peer.say(*hear_chunk(peer), "250 second")
        assert peer.hear_end() == b""

    def broken():
        raise ClaimLost("taken away")

    session = open_session(serve(script))
    letters = [letter(), letter(), letter(seal=broken)]
    session.exchange(letters)
    assert session.exchange(letters[1:])[0].text == "250 second"
    assert session.alive
    with pytest.raises(ClaimLost):
        session.exchange([letter(seal=broken)])
    assert not session.alive


# --- the session ends


def lost_after(serve, *answers):
    """The outcomes of four messages, of which the peer answers the first, then so, and hangs up."""

    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        for chunk in [hear_chunk(peer) for _ in range(2)]:
            peer.say(*chunk, "250 taken")
        chunks = [hear_chunk(peer) for _ in range(2)]
        peer.say(*chunks[0][1:])
        peer.say(*answers)

    session = open_session(serve(script))
    letters = [letter() for _ in range(5)]
    outcomes = []
    for n in range(5):
        outcomes.append((session.exchange(letters[n:])[0], session.untouched))
    return outcomes[3:]


def test_what_was_not_answered_when_the_connection_was_lost_is_in_doubt(serve):
    (third, _), (fourth, untouched) = lost_after(serve)
    assert (third.in_doubt, fourth.in_doubt, untouched) == (True, True, False)


def test_what_comes_behind_a_421_was_not_taken(serve):
    (third, _), (fourth, untouched) = lost_after(serve, "421 4.3.2 too many messages")
    assert (type(third), third.in_doubt) == (Deferred, False)
    assert (fourth.in_doubt, untouched) == (False, True)


def test_a_reply_too_many_settles_nothing(serve):
    (third, _), (fourth, _) = lost_after(serve, *["250 ok"] * 9)
    assert (third.in_doubt, fourth.in_doubt) == (True, True)


def test_garbage_settles_nothing(serve):
    (third, _), (fourth, _) = lost_after(serve, "HTTP/1.1 200 OK")
    assert (third.in_doubt, fourth.in_doubt) == (True, True)


def test_a_message_past_its_final_dot_is_waited_for_as_long_as_a_final_dot_whatever_its_reply(serve):
    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        peer.say(*hear_chunk(peer), "250 taken")

    waits = []
    session = open_session(
        serve(script), timeouts=Timeouts(*[20.0] * 9, final=99.0), watch=lambda *told: waits.append(told)
    )
    exchange_all(session, [letter(), letter()])
    last_seal = max(n for n, (phase, *_) in enumerate(waits) if phase is Phase.SEAL)
    assert {seconds for *_, seconds in waits[last_seal + 1 :]} == {99.0}
    session.close()
