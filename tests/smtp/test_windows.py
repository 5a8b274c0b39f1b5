# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a session writes behind what, octet for octet, and what it makes of a peer that answers as it likes."""

import io
import itertools
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailspool.errors import ClaimLost
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Deferred, Delivered, Failed
from mailspool.model.phase import Phase, nobody_watches
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.dialogue import Dialogue
from mailspool.smtp.letter import BLOCK, Letter, always
from mailspool.smtp.session import WIDEST, Session
from mailspool.smtp.stream import Stream
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


@pytest.mark.parametrize("behind", [["503 nested"] * 3, ["503 nested", "421 bye"], ["421 bye"]])
def test_where_rset_is_refused_no_reply_behind_it_is_a_verdict(serve, behind):
    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        replies = hear_chunk(peer)
        assert len(hear_chunk(peer)) == 3  # with RSET
        peer.say(*replies, "250 taken", "503 not now", *behind)
        peer.hear_end()

    session = open_session(serve(script))
    *_, last = exchange_all(session, [letter() for _ in range(3)])
    assert isinstance(last, Deferred)
    assert not session.alive


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


def test_nothing_may_be_interrupted_before_it_is_told_that_a_message_was_taken(serve):
    many = [f"u{n}@example.org" for n in range(98)]  # whose replies leave no room for another message
    large = b"x" * BLOCK + b"\r\n"

    def script(peer):
        peer.greet(*CHUNKING)
        take_first(peer)
        peer.expect(COMMANDS[0], *(f"RCPT TO:<{each}>" for each in many), f"BDAT {len(SMALL)} LAST")
        peer.hear_octets(len(SMALL))
        peer.say(*["250 ok"] * 99, "250 taken")
        assert peer.hear() == "RSET"

    phases = []
    session = open_session(serve(script), watch=lambda phase, *_: phases.append(phase))
    session.exchange([letter()])
    assert isinstance(session.exchange([letter(to=many), letter(large)])[0], Delivered)
    last_seal = len(phases) - phases[::-1].index(Phase.SEAL)
    assert phases[last_seal:] == [Phase.FINAL] * 2  # its own, and with the commands of the next one
    session.close()


# --- over a pair of sockets


@contextmanager
def session_with(answer, kind, *extensions):
    """A session whose peer answers each piece that it receives with `answer(piece)`, which returns pieces."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    theirs.settimeout(20)

    def serve():
        with suppress(OSError), theirs:
            theirs.sendall(b"220 mx\r\n")
            theirs.recv(1 << 20)
            theirs.sendall(b"".join(b"250-%b\r\n" % each.encode() for each in ("mx", *extensions)) + b"250 X\r\n")
            while octets := theirs.recv(1 << 20):
                for piece in answer(octets):
                    if piece is None:
                        return
                    theirs.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    session = Session(
        Stream(ours, "mx", time.monotonic),
        Dialogue("mx", "client.example.net"),
        "mx",
        timeouts=Timeouts(*[20.0] * 11),
        tls=NONE,
        watch=nobody_watches,
    )
    session._greet(NONE)
    yield session
    session.close()
    thread.join()


@pytest.mark.parametrize("extensions", [("PIPELINING",), CHUNKING], ids=["DATA", "BDAT"])
def test_each_message_is_one_write_but_for_the_first_commands(extensions):
    """A message in several small pieces waits 40 ms for the acknowledgement of the first of them."""
    writes = []

    def answer(octets):  # each is what one system call has written
        writes.append(octets)
        commands = octets.replace(SMALL.replace(b"\r\n.", b"\r\n.."), b"").replace(SMALL, b"").split(b"\r\n")[:-1]
        return [b"".join(b"354 go\r\n" if each == b"DATA" else b"250 ok\r\n" for each in commands)]

    with session_with(answer, socket.SOCK_SEQPACKET, *extensions) as session:
        assert {type(outcome) for outcome in exchange_all(session, [letter() for _ in range(5)])} == {Delivered}
    assert len(writes) == 6


class Model:
    """What a peer that keeps to RFC 3030 answers to octets in any pieces, itself in pieces, until it is cut off."""

    _COMMAND = re.compile(rb"(MAIL|RCPT|RSET|BDAT)[^\r]*\r\n")

    def __init__(self, codes, cuts, most):
        self.codes, self.cuts, self.left = iter(codes), itertools.cycle(cuts), most
        self.unread, self.accepted, self.taken = b"", False, []

    def __call__(self, octets):
        self.unread += octets
        said = b""
        while found := self._COMMAND.match(self.unread):
            end = found.end()
            if found[1] == b"BDAT":
                end += int(found[0].split()[1])
                if len(self.unread) < end:
                    break
            self.unread = self.unread[end:]
            said += self._reply(found[1], self.left - len(said))
        while said:
            size = next(self.cuts)
            piece, said = said[: min(size, self.left)], said[size:]
            self.left -= len(piece)
            yield piece
            if not self.left:
                yield None

    def _reply(self, verb, left):
        code = b"250" if verb in (b"RSET", b"MAIL") else next(self.codes)
        if verb == b"RCPT":
            self.accepted = code == b"250"
        elif verb == b"BDAT":
            code = code if self.accepted else b"503"
            self.accepted = False
        reply = code + b" 2.0.0 so\r\n" if code == b"250" else code + b" no\r\n"
        if verb == b"BDAT":
            self.taken.append(code == b"250" and len(reply) <= left)
        return reply


@settings(max_examples=60)
@given(
    codes=st.lists(st.sampled_from([b"250", b"250", b"250", b"450", b"550"]), min_size=60, max_size=60),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    most=st.one_of(st.just(1 << 20), st.integers(1, 600)),
)
def test_in_whatever_pieces_replies_come_and_wherever_they_end_only_what_was_taken_is_delivered(codes, cuts, most):
    total = 12
    model = Model(codes, cuts, most)
    with session_with(model, socket.SOCK_STREAM, *CHUNKING) as session:
        letters, delivered, untouched = [letter() for _ in range(total)], [], []
        for n in range(total):
            if not (session.alive or session.has_begun(letters[n])):
                break
            (outcome,) = session.exchange(letters[n:])
            delivered.append(isinstance(outcome, Delivered))
            untouched.append(session.untouched)
    assert not any(each and not_sent for each, not_sent in zip(delivered, untouched, strict=True))
    # A reset may take with it what the peer had said before it hung up.
    told = iter(model.taken)
    assert all(any(took for took in told) for each in delivered if each)
    if most == 1 << 20:
        assert len(delivered) == total
        assert delivered.count(True) == model.taken.count(True)
