# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One message under way to one destination: who has a verdict, who has not, and all that was tried. No I/O of its own.

It lives from the claim of its nodes to their settling; `agent` takes it from host to host.
"""

from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from msgspec.structs import replace

from mailspool.errors import DeliveryError, PermanentError, TransientError
from mailspool.model import status
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt, Deferred, Delivered, Failed, Outcome
from mailspool.model.target import Host
from mailspool.smtp.letter import Letter


class Answer(NamedTuple):
    """What a session has said to a letter that was begun on it behind others."""

    host: str
    verdicts: Sequence[Outcome]


class Delivery:
    """file: stands at the message's first octet. domain: that of all the recipients.

    seal: called before each final dot, which is not said if it raises. now: Unix seconds; clock: monotonic ones.
    destination: where it goes by its route; "" if it is hopeless: why no host is to be asked.
    letter: as it was last handed to a session. answer: of that session, where it was left before this one's turn.
    """

    host = destination = ""
    answer: Answer | None = None
    hopeless: PermanentError | None = None
    _refusals: tuple[DeliveryError, ...] = ()
    _met = False  # some host has let us say MAIL

    def __init__(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        file: IO[bytes],
        domain: str,
        tier: int,
        seal: Callable[[], object],
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.envelope, self.domain = envelope, domain
        self.letter = Letter(envelope, recipients, file, seal)
        self._recipients, self._tier = recipients, tier
        self._now, self._clock = now, clock
        self._start = file.tell()
        self._began = clock()
        number = len(recipients)
        self._open: Sequence[int] = range(number)  # whose verdict may still be a better one, by index
        self._verdicts: list[Outcome | None] = [None] * number
        self._attempts: list[tuple[Attempt, ...]] = [()] * number
        self.heard: set[str] = set()  # hosts that have given their verdicts

    # --- one host

    def begin(self, host: Host | TransientError | str) -> None:
        """A host's turn."""
        self.host = "" if isinstance(host, TransientError) else str(host)
        self._began = self._clock()

    def next_letter(self) -> Letter:
        """For those whom no host has taken or refused for good. The last one is of no more use."""
        self.letter.file.seek(self._start)
        envelope, _, file, seal = self.letter
        self.letter = Letter(envelope, [self._recipients[index] for index in self._open], file, seal)
        return self.letter

    def note(self, verdicts: Sequence[Outcome]) -> None:
        """What this host said to each of the open recipients."""
        self.heard.add(self.host)
        still_open: list[int] = []
        for index, verdict in zip(self._open, verdicts, strict=True):
            self._note_attempt(index, verdict.host, verdict.status, verdict.text)
            self._verdicts[index] = verdict
            if isinstance(verdict, Deferred):
                still_open.append(index)
            if not (isinstance(verdict, Deferred) and verdict.refused):
                self._met = True
        self._open = still_open

    def note_refusal(self, error: DeliveryError) -> None:
        """The host has let us say nothing."""
        self._refusals += (error,)
        self.heard.add(self.host)
        for index in self._open:
            self._note_attempt(index, error.host or self.host, error.status, error.text)

    def seconds(self, patience: float) -> float:
        """The timeout for a host that may hang: later attempts, 0, are as patient as RFC 5321 §4.5.3.2 wants them."""
        return patience if self._tier == 0 else 0.0

    @property
    def taken(self) -> bool:
        """Whether some host has taken the message for somebody."""
        return any(isinstance(verdict, Delivered) for verdict in self._verdicts)

    @property
    def complete(self) -> bool:
        """Whether no recipient waits for a better verdict, or none may be asked for."""
        for index in self._open:
            verdict = self._verdicts[index]
            if not (isinstance(verdict, Deferred) and verdict.in_doubt):
                return False
        return True

    # --- the end

    def outcomes(self) -> list[Outcome]:
        """After the last host."""
        return list(map(self._outcome, range(len(self._recipients))))

    def failed(self, error: PermanentError) -> list[Outcome]:
        """Nobody who is still open can ever be reached."""
        return self._close(Failed(error.status, error.host, error.text))

    def deferred(self, error: TransientError) -> list[Outcome]:
        """Nobody who is still open can be reached now."""
        return self._close(Deferred(error.status, error.host, error.text, refused=True))

    def _close(self, verdict: Outcome) -> list[Outcome]:
        self.note([verdict] * len(self._open))
        return self.outcomes()

    def _outcome(self, index: int) -> Outcome:
        verdict = replace(self._verdicts[index] or self._refused(), attempts=self._attempts[index])
        return replace(verdict, refused=not self._met) if isinstance(verdict, Deferred) else verdict

    def _refused(self) -> Outcome:
        """No host has let us say anything. It is final only if each of them refused for good (RFC 5321 §4.2.1)."""
        if not self._refusals:
            return Deferred(status.NOT_ROUTED, "", "there was no host to try")
        transient = [error for error in self._refusals if isinstance(error, TransientError)]
        last = (transient or self._refusals)[-1]
        kind = Deferred if transient else Failed
        return kind(last.status, last.host, last.text)

    def _note_attempt(self, index: int, host: str, code: str, text: str) -> None:
        seconds = round(self._clock() - self._began, 3)
        self._attempts[index] += (Attempt(self._now(), self._tier, host, code, text, seconds),)
