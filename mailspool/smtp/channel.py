# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The transmission channel of one session (RFC 5321 §2.1): writes steps, reads their replies, each under its timeout.

Its watch is told before anything is waited for, and before a final dot is written; the letter's seal comes in between.
A reply to nothing ends the session: taken for an answer, it could make a lost message a delivered one.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from mailspool import log
from mailspool.errors import TransientError
from mailspool.model.phase import Phase, Watch
from mailspool.model.status import PROTOCOL_ERROR
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.flight import Flight
from mailspool.smtp.letter import Block
from mailspool.smtp.peer import OutOfPlace
from mailspool.smtp.reply import Reply
from mailspool.smtp.steps import Say, Secure, SendContent, Step, Whisper
from mailspool.smtp.stream import Stream
from mailspool.smtp.transcript import Transcript
from mailspool.tls.context import context_for
from mailspool.tls.policy import TlsPolicy

_FIELDS = [phase.name.lower() for phase in Phase]  # of Timeouts, where it has them
_REFUSALS = range(400, 600)


class Channel:
    """host: as the watch and errors name it; name: as its certificate does.

    due: how many replies, to all that was written. untold: messages past their final dots of which nobody was told.
    """

    def __init__(self, stream: Stream, host: str, name: str, timeouts: Timeouts, tls: TlsPolicy, watch: Watch) -> None:
        self.transcript = Transcript()
        self.due = 1  # the greeting
        self.untold = 0
        self._closed = False
        self._stream, self._host, self._name, self._tls, self._watch = stream, host, name, tls, watch
        self._seconds = [float(getattr(timeouts, field, 0.0)) for field in _FIELDS]  # by phase
        self._patience = 0.0  # seconds that the next reply may take, as the watch was told; 0.0: it was not

    @property
    def early(self) -> bool:
        """Whether the peer has said more than is due, or has hung up. Never waits."""
        return self._stream.early(self.due)

    @property
    def secured(self) -> str:
        """The TLS version, as "TLSv1.3"; "" in clear."""
        return self._stream.secured

    def close(self) -> None:
        """At once. What was said is for the log of who debugs."""
        self._stream.close()
        if self._closed:
            return
        self._closed = True
        if log.shows("debug"):
            for line in str(self.transcript).splitlines():
                log.record("session", "debug", host=self._host, line=line)

    # --- reading

    def read(self, step: Step) -> Sequence[Reply]:
        """The step's replies, as many as have come, one at least. Raises TransientError.

        Neither a reply nor an error that quotes one repeats a secret.
        """
        unread = self._stream.unread
        if not unread:
            self._await_replies(step)
        if len(unread) > len(step.phases):
            replies = [unread.popleft() for _ in step.phases]
        else:
            replies = list(unread)
            unread.clear()
        if isinstance(step, Whisper):
            replies = [Reply(reply.code, tuple(map(step.conceal, reply.lines))) for reply in replies]
        self.transcript.hear(replies)
        self._patience = 0.0
        self.due = due = max(0, self.due - len(replies))
        if self.untold and (len(unread) > due or self._stream.fault):
            self._check_beyond()
        return replies

    def _check_beyond(self) -> None:
        """Raises TransientError for what has come behind all that is due."""
        if (extra := self._stream.beyond(self.due)) and extra.code != 421:
            raise OutOfPlace(PROTOCOL_ERROR, self._host, f"out of turn: {extra}")

    def _await_replies(self, step: Step) -> None:
        phase = step.phases[0]
        if not self._patience:  # it is waited for anew
            self._begin(phase)
        try:
            self._stream.await_replies(phase, self._patience)
        except TransientError as error:
            if not isinstance(step, Whisper):
                raise
            raise TransientError(error.status, error.host, step.conceal(error.text)) from None

    def _begin(self, phase: Phase) -> float:
        """Until it is told of each message past its final dot nothing may interrupt, whatever is done for those behind.

        Nor is then any reply waited for less long than for the one to a final dot: whoever gives up sends a copy later.
        """
        if self.untold and phase < Phase.FINAL:
            phase = Phase.FINAL
        self._patience = self._seconds[phase]
        self._watch(phase, self._host, self._patience)
        return self._patience

    def _interruption(self, phase: Phase, allowed: Sequence[int]) -> Sequence[Reply]:
        """What has been said although nothing was due, which must be one of these codes. Raises TransientError."""
        if self.due or not self.early:
            return ()
        reply = self._stream.read_reply(phase, self._seconds[phase])
        self.transcript.hear([reply])
        if reply.code not in allowed:
            raise TransientError(PROTOCOL_ERROR, self._host, f"out of turn: {reply}")
        return (reply,)

    # --- writing

    def together(self) -> AbstractContextManager[None]:
        """Around what is to leave in one piece."""
        return self._stream.together()

    def write(self, flight: Flight, opening: Callable[[], Say | None]) -> Sequence[Reply]:
        """What the flight's step says. opening: gives what may go out with a final dot, in one write.

        Returns a reply only where the peer has spoken before it could be asked: that is the last one. Raises
        TransientError, what the seal raises, Unreadable, SpoolError.
        """
        step = flight.step
        if isinstance(step, SendContent):
            return self._send_content(flight, step, opening)
        if isinstance(step, Secure):
            self._start_tls()
        if step and step.octets:
            seconds = self._begin(step.phases[0])
            if replies := self._interruption(step.phases[0], (421,)):
                return replies
            self.transcript.say(step.shown if isinstance(step, Whisper) else step.octets)
            self._stream.write(step.octets, step.phases[0], seconds)
            self.due += len(step.phases)
        return ()

    def _start_tls(self) -> None:
        seconds = self._begin(Phase.STARTTLS)
        self._stream.start_tls(context_for(self._tls), self._name, seconds)
        self._patience = 0.0  # the reply has its own
        self.transcript.note(self.secured)

    def _send_content(self, flight: Flight, step: SendContent, opening: Callable[[], Say | None]) -> Sequence[Reply]:
        """One block is always held back, so that the dot goes out with the last one, and nothing after an error."""
        lead, last = step.lead, next(step.blocks)
        for block in step.blocks:
            if replies := self._send_block(flight, lead, last):
                return replies
            lead, last = b"", block
        if replies := self._interruption(Phase.CONTENT, (421,) if lead else _REFUSALS):
            return replies
        assert isinstance(last, bytes)
        assert flight.letter
        following = opening()
        self._watch(Phase.SEAL, self._host, 0.0)  # it is no wait for the host
        flight.letter.seal()
        seconds = self._begin(Phase.FINAL)
        flight.begun = flight.committed = True
        self.untold += 1
        self.due += len(step.phases) + (len(following.phases) if following else 0)
        behind = following.octets if following else b""
        self.transcript.say(lead, len(last), behind)
        self._stream.write(lead + last + behind, Phase.FINAL, seconds)
        return ()

    def _send_block(self, flight: Flight, lead: bytes, block: Block) -> Sequence[Reply]:
        seconds = self._begin(Phase.CONTENT)
        if lead:
            self.transcript.say(lead)
            self._stream.write(lead, Phase.CONTENT, seconds)
        flight.begun = True
        self._stream.write(block, Phase.CONTENT, seconds)
        self.transcript.say(b"", len(block))
        return self._interruption(Phase.CONTENT, _REFUSALS)
