# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What one session knows of its peer, and what the peer's replies mean (RFC 5321 §4.2.1, §4.3.2). No I/O.

A reply that cannot follow what was said ends the session: from there on nobody knows what the next one answers.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter

from mailspool.errors import DeliveryError, PermanentError, TransientError
from mailspool.model.outcome import Deferred, Delivered, Failed, Outcome
from mailspool.model.phase import Phase
from mailspool.model.status import PROTOCOL_ERROR
from mailspool.smtp.extensions import Extensions
from mailspool.smtp.reply import Judge, Reply, judge_by_code
from mailspool.smtp.steps import Step, Talk

_LOGIN_REQUIRED = 530  # RFC 4954 §6, RFC 3207 §4
_GOODBYE = 421
_EXPECTED = [3 if phase is Phase.DATA else 2 for phase in Phase]  # first digits, by phase
_CODE = attrgetter("code")


@lru_cache(256)
def _all_expected(phases: tuple[Phase, ...], codes: tuple[int, ...]) -> bool:
    """Whether each is what it most often is; and what a peer answers to one message, it answers to the next."""
    return all(code // 100 == _EXPECTED[phase] for phase, code in zip(phases, codes, strict=False))


class OutOfPlace(TransientError):
    """A reply that cannot be the one to what was said."""


class Peer:
    """host: for outcomes and errors, as "mx.example.org[192.0.2.1]:25".

    extensions: as last announced. over: nothing may be said any more, not even QUIT. hung_up: because it said 421.
    locked_out: what it said that wants a login, or TLS, before it takes any mail. transaction_open: it still holds
    what was left of a mail transaction. proven: it has taken a message. judge: says what a refusal, and the last reply
    of all, means for a recipient; it cannot make a refusal a delivery.
    """

    def __init__(self, host: str, judge: Judge = judge_by_code) -> None:
        self.host = host
        self.extensions = Extensions()
        self.over = self.hung_up = self.transaction_open = self.proven = False
        self.locked_out = ""
        self._judge = judge

    def ask(self, step: Step) -> Talk[Reply]:
        """The reply to a step of one. Raises as `hear` does."""
        heard: list[Reply] = []
        self.hear(step.phases, (yield step), heard)
        return heard[0]

    def hear(self, phases: tuple[Phase, ...], replies: Sequence[Reply], heard: list[Reply]) -> bool:
        """Put those into `heard` that can be replies to these, one by one. Whether each is what it most often is.

        Raises OutOfPlace for one that cannot; TransientError for 421 (RFC 5321 §3.8).
        """
        if _all_expected(phases, tuple(map(_CODE, replies))):
            heard.extend(replies)
            return True
        for phase, reply in zip(phases, replies, strict=False):
            self._check(reply, phase)
            heard.append(reply)
        return False

    def _check(self, reply: Reply, phase: Phase) -> None:
        """Raises as `hear` does."""
        if reply.code < 400:
            if not (phase is Phase.AUTH and reply.code // 100 == 3) and reply.code // 100 != _EXPECTED[phase]:
                raise OutOfPlace(PROTOCOL_ERROR, self.host, f"out of place after {phase.name}: {reply}")
        elif reply.code == _LOGIN_REQUIRED:
            self.locked_out = str(reply)
        elif reply.code == _GOODBYE:
            self.hung_up = True
            raise reply.as_error(self.host)

    def command(self, step: Step) -> Talk[Reply]:
        """A positive reply. Raises the error that any other means."""
        reply = yield from self.ask(step)
        if error := self._verdict(reply):
            raise error
        return reply

    def outcome(self, reply: Reply) -> Outcome:
        """What the reply means for a recipient whose case it decides."""
        error = self._verdict(reply)
        if not error:
            return Delivered(reply.status, self.host, str(reply), silent=not self.extensions.dsn)
        kind = Failed if isinstance(error, PermanentError) else Deferred
        return kind(error.status, error.host, error.text)

    def _verdict(self, reply: Reply) -> DeliveryError | None:
        try:
            self._judge(reply, self.host)
        except DeliveryError as error:
            return error
        return reply.as_error(self.host) if reply.refused else None
