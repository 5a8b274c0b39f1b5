# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Faults to order: at which stage of a session, how often, and what happens then. No I/O; dice and clock are given."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from mailspool.submission.reply import Refused, Reply


class Stage(StrEnum):
    """Where in a session a fault may strike."""

    CONNECT = "connect"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL = "final"


class Hang(BaseException):
    """Nothing more is ever said in this session. It is no Exception, so that the session lets it pass."""


class Drop(BaseException):
    """The connection is closed without a word. As Hang."""


class Fault(NamedTuple):
    """happens: the reply, or what is raised. chance: 0 to 1. where: of RCPT, an address or a domain; "": all."""

    stage: Stage
    happens: Reply | type[Hang] | type[Drop]
    chance: float = 1.0
    where: str = ""

    def __str__(self) -> str:
        if isinstance(self.happens, Reply):
            return f"{self.stage} {self.happens.code}"
        return f"{self.stage} {self.happens.__name__.lower()}"

    def concerns(self, stage: Stage, recipient: str) -> bool:
        """recipient: in lower case."""
        return self.stage is stage and self.where in {"", recipient, recipient.rpartition("@")[2]}


class Greylist:
    """Refuses each pair of sender and recipient, from its first try on.

    seconds: for so long; the first try in any case. domains: of recipients, none for all. clock: monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], domains: Collection[str] = ()) -> None:
        self._seconds, self._clock, self._domains = seconds, clock, domains
        self._met: dict[tuple[str, str], float] = {}

    def check(self, sender: str, recipient: str) -> None:
        """recipient: in lower case. Raises Refused."""
        if self._domains and recipient.rpartition("@")[2] not in self._domains:
            return
        now = self._clock()
        first = self._met.get((sender, recipient))
        if first is None or now - first < self._seconds:
            self._met.setdefault((sender, recipient), now)
            raise Refused(451, "4.7.1", "greylisted, try again later")


class Faults:
    """All that was ordered. dice: from 0 to less than 1. struck: how often each did."""

    def __init__(self, ordered: Sequence[Fault] = (), dice: Callable[[], float] = lambda: 0.0) -> None:
        self._ordered, self._dice = ordered, dice
        self.struck: Counter[str] = Counter()

    def strike(self, stage: Stage, recipient: str = "") -> None:
        """Raises Refused, Hang or Drop if one of them wants to."""
        for fault in self._ordered:
            if fault.concerns(stage, recipient) and (fault.chance >= 1 or self._dice() < fault.chance):
                self.struck[str(fault)] += 1
                raise Refused(*fault.happens[:3]) if isinstance(fault.happens, Reply) else fault.happens


_STAGES = "|".join(Stage)
_PERCENT = r"(?::(?P<percent>[0-9]{1,3}(?:\.[0-9]+)?)%)?"
_FAILURE = re.compile(rf"(?P<stage>{_STAGES}):(?P<code>[45][0-9][0-9]){_PERCENT}(?::(?P<text>.+))?")
_SILENCE = re.compile(rf"(?P<stage>{_STAGES}){_PERCENT}")
_STATUS = re.compile(r"([45]\.[0-9]{1,3}\.[0-9]{1,3}) +")


def parse_failure(text: str) -> Fault:
    """Read STAGE:CODE[:PERCENT%][:TEXT]; the text may begin with an enhanced status. Raises ValueError."""
    found = _FAILURE.fullmatch(text)
    if not found or not text.isprintable():
        raise ValueError(
            f"{text!r} is not like rcpt:451, rcpt:451:30% or final:554:100%:spam; stages: {', '.join(Stage)}"
        )
    code, words = int(found["code"]), found["text"] or "this fault was ordered"
    status = _STATUS.match(words)
    enhanced = status[1] if status else f"{code // 100}.0.0"
    bare = found["stage"] == Stage.CONNECT  # RFC 2034 §3 wants none in the greeting
    reply = Reply(code, "" if bare and not status else enhanced, words[status.end() :] if status else words)
    return Fault(Stage(found["stage"]), reply, _chance(found))


def parse_silence(text: str, happens: type[Hang] | type[Drop]) -> Fault:
    """Read STAGE[:PERCENT%]. Raises ValueError."""
    found = _SILENCE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not like data or final:30%; stages: {', '.join(Stage)}")
    return Fault(Stage(found["stage"]), happens, _chance(found))


def _chance(found: re.Match[str]) -> float:
    return min(1.0, float(found["percent"] or 100) / 100)
