# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an administrator's limits, and a host's own words, leave of a destination's jobs. No I/O; time is an argument.

They count for all workers together, and for what an idle worker's session may still be open with. Which hosts take a
destination's mail only the scout and workers learn: one that comes to a host whose rule its batch was not counted for
gives the batch back, with the rule's name, before it connects; from then on the destination's batches count for it. Of
what several supervisors share each takes an equal part. A host that wants less for a while is left alone as long as it
says, or each time twice as long, until it takes something.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from mailspool.model.rules import HOSTS, Rules
from mailspool.supervisor.held import Held
from mailspool.supervisor.job import MAX_RULES, Job, Result
from mailspool.supervisor.rate import Bucket

LONGEST_PATIENCE = 3600.0
"""Seconds; longer than this nobody is left alone at his word, `model.hint.LONGEST`; then one worker asks again."""

_NO_LIMIT = 1 << 30


class _Patience(NamedTuple):
    """A host wants nothing until then. times: how often in a row."""

    until: float
    text: str
    times: int


class _Bound(NamedTuple):
    """Our part of one rule. key: the destination, or the pattern of hosts, for which it is counted."""

    key: str
    pattern: str
    concurrency: int
    per_minute: float


class Restraints:
    """rules: as configured; others may be put in their place. owners: supervisors that share them, this one too.

    held: how many connections other workers than the one in question have, by destination and by pattern of hosts.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.owners = 1
        self.held: Mapping[str, int] = {}
        self._met: dict[str, tuple[str, ...]] = {}  # patterns of the hosts that take a destination's mail
        self._patience: dict[str, _Patience] = {}
        self._buckets: defaultdict[str, Bucket] = defaultdict(Bucket)  # by key

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.rules or self._patience)

    # --- before a batch

    def room(self, destination: str, now: float) -> int:
        """How many messages one more worker may take there, 0 if none may go."""
        if not self:  # asked for each destination that waits, again and again
            return _NO_LIMIT
        if self._asked_for(destination, now):
            return 0
        return min((self._left(bound, now) for bound in self._bounds(destination)), default=_NO_LIMIT)

    def pattern_without_room(self, destination: str, now: float) -> str:
        """The pattern of its hosts that lets nothing go, "" if it is not such a one that keeps it."""
        met = self._met.get(destination, ())
        return next((pattern for pattern in met if not self.room_of(pattern, now)), "")

    def room_of(self, key: str, now: float) -> int:
        """The same as `room`, of one destination's own limit, or of a pattern of hosts."""
        bound = self._bound(key)
        return self._left(bound, now) if bound else _NO_LIMIT

    def wait_of(self, key: str, now: float) -> float:
        """The same as `wait`."""
        bound = self._bound(key)
        return self._wait(bound, now) if bound else 0.0

    def fit(self, batch: Sequence[Job], now: float) -> int:
        """How many of its jobs may go, the first ones: those of one group are one message."""
        room = self.room(batch[0].destination, now)
        if room >= len(batch):
            return len(batch)
        return sum(sum(1 for _ in group) for _, group in islice(groupby(batch, key=_group), room))

    def begin(self, batch: list[Job], now: float) -> list[Job]:
        """It goes. Returns it, with the patterns that it was counted for in its first job."""
        if met := self._met.get(batch[0].destination):
            batch[0] = batch[0]._replace(rules=met)
        if self.rules:
            self._spend(batch, _messages(batch), now)
        return batch

    # --- after it

    def ended(self, batch: Sequence[Job], results: Sequence[Result], met: Sequence[str], now: float) -> None:
        """What was not tried is not used up. met: patterns of hosts that its worker came upon."""
        destination = batch[0].destination
        if self.rules:
            tried = [job for job, result in zip(batch, results, strict=True) if result.tried]
            self._spend(batch, _messages(tried) - _messages(batch), now)
        if met:
            self.meet(destination, met)

    def meet(self, destination: str, patterns: Iterable[str]) -> None:
        """Hosts of these patterns take its mail."""
        known = dict.fromkeys((*self._met.get(destination, ()), *patterns))
        self._met[destination] = tuple(known)[-MAX_RULES:]

    def leave_alone(self, destination: str, text: str, seconds: float, now: float) -> None:
        """Its host wants less, and nothing for so long; what workers report that had set out before says no more."""
        before = self._patience.get(destination, _Patience(0.0, "", 0))
        if seconds and now >= before.until:
            until = now + min(seconds * 2.0**before.times, max(seconds, LONGEST_PATIENCE))
            self._patience[destination] = _Patience(until, text, before.times + 1)

    def took(self, destination: str) -> None:
        """Its host has taken something."""
        self._patience.pop(destination, None)

    def end_patience(self) -> None:
        """An operator wants all of it tried now."""
        self._patience.clear()

    def forget(self, known: Collection[str], now: float) -> None:
        """Keep what is known of these destinations only. What they have used up stays so."""
        self._met = {name: met for name, met in self._met.items() if name in known}
        for name in [name for name, asked in self._patience.items() if now >= asked.until + LONGEST_PATIENCE]:
            del self._patience[name]
        for key, bucket in list(self._buckets.items()):
            bound = self._bound(key)
            if not (bound and bound.per_minute) or bucket.is_full(bound.per_minute, now):
                del self._buckets[key]

    # --- telling

    def why(self, destination: str, now: float) -> Held | None:
        """What keeps one more worker from it."""
        if asked := self._asked_for(destination, now):
            return Held("patience", f"its host asks for patience: {asked.text}", asked.until - now)
        for bound in self._bounds(destination):
            grants = f"that limits.{bound.pattern} grants"
            if self._is_full(bound):
                return Held("concurrency", f"all connections {grants} are in use ({bound.concurrency}{self._part})")
            if wait := self._wait(bound, now):
                used = f"all messages {grants} for a minute are used up ({round(bound.per_minute, 2):g}{self._part})"
                return Held("messages_per_minute", used, wait)
        return None

    @property
    def _part(self) -> str:
        return f", our part among {self.owners} owners" if self.owners > 1 else ""

    def wait(self, destination: str, now: float) -> float:
        """Seconds until a message may go there for all that time alone decides."""
        if not self:
            return 0.0
        asked = self._asked_for(destination, now)
        waits = [self._wait(bound, now) for bound in self._bounds(destination)]
        return max([*waits, asked.until - now if asked else 0.0])

    def _asked_for(self, destination: str, now: float) -> _Patience | None:
        asked = self._patience.get(destination)
        return asked if asked and now < asked.until else None

    # --- each bound

    def _bounds(self, destination: str) -> Iterator[_Bound]:
        if self.rules:
            yield from self._bounds_of(destination, *self._met.get(destination, ()))

    def _bounds_of(self, *keys: str) -> Iterator[_Bound]:
        return filter(None, map(self._bound, keys))

    def _bound(self, key: str) -> _Bound | None:
        rule = self.rules.of_pattern(key) if key.lower().startswith(HOSTS) else self.rules.of_destination(key)
        if not rule:
            return None
        most, per_minute = rule.limit.concurrency, rule.limit.messages_per_minute
        return _Bound(key, rule.pattern, max(1, most // self.owners) if most else 0, per_minute / self.owners)

    def _left(self, bound: _Bound, now: float) -> int:
        if self._is_full(bound):
            return 0
        return self._buckets[bound.key].left(bound.per_minute, now) if bound.per_minute else _NO_LIMIT

    def _is_full(self, bound: _Bound) -> bool:
        return bool(bound.concurrency) and self.held.get(bound.key, 0) >= bound.concurrency

    def _wait(self, bound: _Bound, now: float) -> float:
        return self._buckets[bound.key].wait(bound.per_minute, now) if bound.per_minute else 0.0

    def _spend(self, batch: Sequence[Job], messages: int, now: float) -> None:
        """Of what the batch counts for: others may have met more hosts of its destination since it was given out."""
        for bound in self._bounds_of(batch[0].destination, *batch[0].rules):
            if bound.per_minute:
                self._buckets[bound.key].spend(messages, bound.per_minute, now)


def _messages(jobs: Sequence[Job]) -> int:
    return sum(1 for _ in groupby(jobs, key=_group))


def _group(job: Job) -> str:
    return job.group
