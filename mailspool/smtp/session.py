# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One SMTP session: the rules of `dialogue` spoken over a `stream`, from connect to QUIT (RFC 5321 §3.1 to §3.8).

Between two messages a session is either in order or closed: whatever cuts it short, an exception out of a signal
handler too, closes it. It never writes the final dot without having told its watch first, and asked its sender.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Self, TypeVar

from mailspool.errors import DeliveryError, InDoubt, TransientError
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Outcome
from mailspool.model.phase import Phase, Watch, nobody_watches
from mailspool.model.status import PROTOCOL_ERROR
from mailspool.model.timeouts import Timeouts
from mailspool.smtp import content
from mailspool.smtp.dialogue import Dialogue, Secure, SendContent, Step, Talk, Whisper
from mailspool.smtp.reply import Judge, Reply, judge_by_code
from mailspool.smtp.stream import HandshakeFailed, Stream, connect
from mailspool.smtp.transcript import Transcript
from mailspool.tls.context import context_for
from mailspool.tls.policy import NO_TLS, TlsLevel, TlsPolicy

Result = TypeVar("Result")

_FIELDS = [phase.name.lower() for phase in Phase]  # of Timeouts, where it has them


def always() -> None:
    """The seal of a sender that need not be asked."""


class Session:
    """host: "mx.example.org[192.0.2.1]:25". transcript: what was said. `open` makes one.

    The watch is called whenever the session begins to wait anew, with the most seconds that this may take.
    """

    def __init__(
        self, stream: Stream, dialogue: Dialogue, name: str, *, timeouts: Timeouts, tls: TlsPolicy, watch: Watch
    ) -> None:
        self.host = dialogue.host
        self.transcript = Transcript()
        self._stream = stream
        self._dialogue = dialogue
        self._name = name
        self._seconds = [float(getattr(timeouts, field, 0.0)) for field in _FIELDS]  # by phase
        self._tls = tls
        self._watch = watch

    @classmethod
    def open(
        cls,
        address: str,
        port: int,
        name: str,
        helo_name: str,
        *,
        timeouts: Timeouts,
        tls: TlsPolicy,
        watch: Watch = nobody_watches,
        judge: Judge = judge_by_code,
        credentials: Credentials | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """A session that is ready for mail: connected, greeted, in TLS as `tls` and the credentials demand, logged in.

        address: numeric, IPv4 or IPv6. name: the host's name, for logs and its certificate. helo_name: our own.
        clock: monotonic, in seconds. Where TLS may be but need not, a handshake that fails is answered by one
        more connection, in clear. Raises TransientError, of which LoginFailed is one; PermanentError where the host
        refuses for good (5yz).
        """
        host = f"{name}[{address}]:{port}"
        note = f"connected to {host}"
        if credentials:
            tls = tls.at_least(TlsLevel(credentials.tls))
        while True:
            watch(Phase.CONNECT, host, timeouts.connect)
            stream = Stream(connect(address, port, timeouts.connect, host), host, clock)
            dialogue = Dialogue(host, helo_name, judge, credentials)
            session = cls(stream, dialogue, name, timeouts=timeouts, tls=tls, watch=watch)
            session.transcript.note(note)
            try:
                session._run(session._dialogue.greet(tls))
            except HandshakeFailed as error:
                if tls.required:
                    raise
                tls, note = NO_TLS, f"connected to {host} again, in clear: {error.text}"
            else:
                return session

    @property
    def alive(self) -> bool:
        """Whether another message may be sent. False also if the peer has hung up, or spoken, in the meantime."""
        return not self._dialogue.over and not self._stream.spoke_early()

    @property
    def names(self) -> frozenset[str]:
        """What the peer called itself, in lower case: if that is our own name, mail may be in a loop."""
        return frozenset(self._dialogue.names)

    @property
    def locked_out(self) -> str:
        """What a peer said that takes no mail before a login, or TLS (530); "" if none did."""
        return self._dialogue.locked_out

    @property
    def secured(self) -> str:
        """The TLS version, as "TLSv1.3"; "" in clear."""
        return self._stream.secured

    def send(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        content_file: IO[bytes],
        seal: Callable[[], object] = always,
    ) -> list[Outcome]:
        """One message to some of the envelope's recipients: an outcome for each, in their order, without attempts.

        content_file: stands at the first octet of the message. seal: called just before the final dot, which is not
        said if it raises. Deferred.refused: the session is over.
        Raises Unreadable or SpoolError where the message is not what its envelope says or cannot be read; then,
        as after any exception, the session is closed and the peer has discarded what it had.
        """
        self._seal = seal
        blocks = content.blocks(content_file, envelope.facts)
        return self._run(self._dialogue.transaction(envelope, recipients, blocks))

    def quit(self) -> None:
        """Say goodbye and close. No error matters here: what was delivered stays delivered."""
        if self.alive:
            with suppress(DeliveryError):
                self._run(self._dialogue.quit())
        self.close()

    def close(self) -> None:
        """At once, without QUIT: the peer discards a message that is not complete."""
        self._dialogue.over = True
        self._stream.close()

    # --- one step of the dialogue after the other

    def _run(self, talk: Talk[Result]) -> Result:
        try:
            step = next(talk)
            while True:
                try:
                    reply = self._answer(step)
                except TransientError as error:
                    step = talk.throw(error)
                else:
                    step = talk.send(reply)
        except StopIteration as end:
            result: Result = end.value
        except BaseException:
            self.close()
            raise
        if self._dialogue.over:
            self.close()
        return result

    def _answer(self, step: Step) -> Reply:
        if isinstance(step, SendContent):
            return self._send_content(step.blocks)
        if isinstance(step, Secure):
            self._start_tls()
        seconds = self._begin(step.phase)
        if step.octets:
            if self._stream.spoke_early():
                return self._interruption(step.phase, (421,))
            self.transcript.say(step.shown if isinstance(step, Whisper) else step.octets)
            self._stream.write(step.octets, step.phase, seconds)
        if isinstance(step, Whisper):
            return self._read_concealed(step, seconds)
        return self._read_reply(step.phase, seconds)

    def _start_tls(self) -> None:
        seconds = self._begin(Phase.STARTTLS)
        self._stream.start_tls(context_for(self._tls), self._name, seconds)
        self.transcript.note(self.secured)

    def _send_content(self, blocks: Iterator[bytes]) -> Reply:
        """One block is always held back, so that the dot goes out with the last one, and nothing after an error."""
        held = next(blocks)
        for block in blocks:
            seconds = self._begin(Phase.CONTENT)
            self._stream.write(held, Phase.CONTENT, seconds)
            self.transcript.say_content(len(held))
            if self._stream.spoke_early():
                return self._interruption(Phase.CONTENT, range(400, 600))
            held = block
        return self._finish(held + content.END)

    def _finish(self, octets: bytes) -> Reply:
        if self._stream.spoke_early():
            return self._interruption(Phase.CONTENT, range(400, 600))
        self._watch(Phase.SEAL, self.host, 0.0)  # it is no wait for the host
        self._seal()
        seconds = self._begin(Phase.FINAL)
        self.transcript.say_content(len(octets))
        try:
            self._stream.write(octets, Phase.FINAL, seconds)
            return self._read_reply(Phase.FINAL, seconds)
        except TransientError as error:
            text = f"{error.text}; whether the message was delivered is unknown"
            raise InDoubt(error.status, error.host, text) from error

    def _interruption(self, phase: Phase, allowed: Sequence[int]) -> Reply:
        """A reply to nothing ends the session: taken for an answer, it could make a lost message a delivered one."""
        reply = self._read_reply(phase, self._seconds[phase])
        self._dialogue.over = True
        if reply.code not in allowed:
            raise TransientError(PROTOCOL_ERROR, self.host, f"out of turn: {reply}")
        return reply

    def _begin(self, phase: Phase) -> float:
        seconds = self._seconds[phase]
        self._watch(phase, self.host, seconds)
        return seconds

    def _read_concealed(self, step: Whisper, seconds: float) -> Reply:
        """Neither a reply nor an error that quotes one may repeat the secret."""
        try:
            code, lines = self._stream.read_reply(step.phase, seconds)
        except TransientError as error:
            raise TransientError(error.status, error.host, step.conceal(error.text)) from None
        reply = Reply(code, tuple(map(step.conceal, lines)))
        self.transcript.hear(reply)
        return reply

    def _read_reply(self, phase: Phase, seconds: float) -> Reply:
        reply = self._stream.read_reply(phase, seconds)
        self.transcript.hear(reply)
        return reply
