# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who may go next: round robin over destinations, so that none holds up another. No I/O; time is an argument.

At most `per_destination` workers, and never more than half of them all, work for one destination. Strangers, who
have taken nothing lately, get a part of the workers together, and a part of that each: those that hang, however
many, leave room for those that work. How many one destination bears, and when it cools down, stands in
`destination`. A job waits here from the look that found it until its worker reports; until then later looks that
find it again are ignored.
"""

from collections.abc import Iterable, Iterator, Sequence

from mailspool.supervisor.destination import Destination
from mailspool.supervisor.held import Held
from mailspool.supervisor.job import Job, Limits, Result, Slower
from mailspool.supervisor.restraint import Restraints

MAX_WAITING = 5000
"""Jobs of one destination kept in memory. There may be more: `hungry` tells when it is time to look again."""

MAX_ALL = 50_000
"""Jobs of all destinations kept in memory. When there are more, each keeps as many as all others may: the oldest."""

MAX_BATCH = 100
"""Jobs given to a worker at once: few enough that a new destination is not kept waiting, many enough to save asking.

The rest of the last one's group comes on top of it.
"""

FAULT_REST = 10.0
"""Seconds for which a job is left alone that met a local fault: it may be its own, as a file that cannot be read."""


class Dispatch:
    """The waiting jobs of this supervisor and the one rule by which they go."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.restraints = Restraints(limits.rules)
        self._destinations: dict[str, Destination] = {}  # in the order of the round
        self._known: set[str] = set()
        self._done: set[str] | None = None  # reported on since the present look began, which may have seen them before
        self._crowded = False  # so many destinations have jobs that there is no room to be made
        self._faulty: dict[str, float] = {}  # which of them met a fault, and until when they rest

    def __len__(self) -> int:
        """Jobs that wait here."""
        return sum(len(destination.waiting) for destination in self._destinations.values())

    @property
    def per_destination(self) -> int:
        """Workers that one destination may have: never more than half, so that there is always room for another."""
        return max(1, min(self.limits.per_destination, self.limits.workers // 2))

    @property
    def strangers(self) -> int:
        """Workers that all strangers together may have."""
        return max(1, self.limits.workers * 3 // 4)

    def offer(self, jobs: Iterable[Job]) -> None:
        """Take up what a look found."""
        for job in jobs:
            if job.key in self._known or (self._done and job.key in self._done):
                continue
            destination = self._destinations.setdefault(job.destination, Destination())
            if not self._has_room() or destination.more or len(destination.waiting) >= MAX_WAITING:
                destination.more = True  # from here on all are younger than what was left out
                continue
            destination.waiting.append(job)
            destination.most = len(destination.waiting)
            self._known.add(job.key)

    def _has_room(self) -> bool:
        """Whether one more job may be kept; if need be, each destination lets go of what is beyond its share."""
        if len(self._known) >= MAX_ALL and not self._crowded:
            waiting = [each for each in self._destinations.values() if each.waiting]
            share = max(1, MAX_ALL // 2 // max(1, len(waiting)))
            for each in waiting:
                self._known.difference_update(job.key for job in each.keep(share))
            self._crowded = len(self._known) > MAX_ALL * 3 // 4  # not worth while for each job anew
        return len(self._known) < MAX_ALL

    def hungry(self) -> bool:
        """Whether a look would find more jobs for a destination that has used up most of those it had."""
        room = len(self._known) < MAX_ALL // 2
        return any(
            d.more and (len(d.waiting) < d.most // 2 or (room and not d.waiting)) for d in self._destinations.values()
        )

    def looked(self, now: float) -> None:
        """A look begins: what is more than fits will be seen anew, and what has rested from a fault."""
        self._done, self._crowded = set(), False
        for destination in self._destinations.values():
            destination.more = False
        rested = [key for key, until in self._faulty.items() if now >= until]
        self._known.difference_update(rested)
        for key in rested:
            del self._faulty[key]

    def look_over(self) -> None:
        """Nothing more is offered of what it found."""
        self._done = None

    def ready(self, now: float) -> list[str]:
        """Destinations that have jobs and may be given one more worker, in the order of the round."""
        strangers = [each for each in self._destinations.values() if each.stranger(now)]
        room = self.strangers - sum(each.workers for each in strangers)
        most_known = self.per_destination
        most_strange = min(most_known, max(1, self.strangers // 3)) if room > 0 else 0
        return [
            name
            for name, each in self._destinations.items()
            if each.may_have_more(most_strange if each.stranger(now) else most_known, now)
            and self.restraints.room(name, now)
        ]

    def next_batch(self, now: float, last: str = "", *, spare: bool = False) -> list[Job]:
        """Jobs of one destination for one worker, [] if there are none.

        last: the destination that this worker comes from and has a session with. It stays with it if nobody
        else is waiting, or if there are spare workers for the others.
        """
        ready = self.ready(now)
        if not ready:
            return self._put_off(now)
        name = last if last in ready and (spare or len(ready) == 1) else ready[0]
        destination = self._destinations.pop(name)
        self._destinations[name] = destination  # to the end of the round
        destination.workers += 1
        return self.restraints.begin(self._cut(self._take(destination), destination, now), now)

    def _cut(self, batch: list[Job], destination: Destination, now: float) -> list[Job]:
        """As much of it as the restraints allow; the rest waits on."""
        fit = self.restraints.fit(batch, now)
        destination.waiting.extendleft(reversed(batch[fit:]))
        return batch[:fit]

    def _take(self, destination: Destination) -> list[Job]:
        """A fair share of what waits; a group is cut in two only if it is larger than a batch.

        Of what has refused sessions one job only, with its group: whether it takes that tells of the others.
        """
        waiting = destination.waiting
        share = 1 if destination.refusals else min(MAX_BATCH, -(-len(waiting) // self.per_destination))
        batch = [waiting.popleft() for _ in range(share)]
        while waiting and waiting[0].group == batch[-1].group and len(batch) < share + MAX_BATCH:
            batch.append(waiting.popleft())
        return batch

    def _put_off(self, now: float) -> list[Job]:
        """Jobs that are not to be tried, since nobody else needs the worker; the probe stays."""
        destination = next((each for each in self._destinations.values() if each.may_put_off(now)), None)
        if destination is None:
            return []
        destination.workers += 1
        waiting = destination.waiting
        count = min(MAX_BATCH, len(waiting) - destination.probe())
        return [waiting.pop()._replace(refusal=destination.refusal) for _ in range(count)]

    def idle(self, now: float) -> bool:
        """Whether there is nothing to do for one more worker."""
        return not self.ready(now) and not any(each.may_put_off(now) for each in self._destinations.values())

    def finished(
        self,
        batch: Sequence[Job],
        results: Sequence[Result],
        now: float,
        refusal: str = "",
        rules: Sequence[str] = (),
        slower: Slower | None = None,
    ) -> None:
        """A worker has reported on its batch. refusal: how a session was refused. rules, slower: as of `job.Report`."""
        destination = self._release(batch)
        if batch[0].refusal:  # it was not tried
            pass
        elif slower:
            self._slow_down(batch[0].destination, destination, slower, now)
        elif Result.DELIVERED in results:
            destination.took(now, self.per_destination)
            self.restraints.took(batch[0].destination)
        elif Result.REFUSED in results:
            destination.refused(now, self.limits.cool_down, refusal or "for reasons unknown")
        elif Result.SETTLED in results:  # it spoke with us, whatever it said
            destination.end_cool_down()
        if not batch[0].refusal:
            self.restraints.ended(batch, results, rules, now)
        returned = [job for job, result in zip(batch, results, strict=True) if result is Result.RETURNED]
        faulty = [job.key for job, result in zip(batch, results, strict=True) if result is Result.FAULT]
        destination.waiting.extendleft(job._replace(refusal="", rules=()) for job in reversed(returned))
        self._known.update(job.key for job in returned)
        self._known.update(faulty)
        self._faulty.update(dict.fromkeys(faulty, now + FAULT_REST))

    def _slow_down(self, name: str, destination: Destination, slower: Slower, now: float) -> None:
        """Who wants less, and has one worker or names a time, is left alone; its jobs wait, and none falls back."""
        seconds = slower.seconds or (0.0 if destination.slow_down() else self.limits.cool_down)
        self.restraints.leave_alone(name, slower.text, seconds, now)

    def lost(self, batch: Sequence[Job]) -> None:
        """A worker has ended without a report: a later look will find what is still there."""
        self._release(batch)

    def forget_idle(self, now: float) -> None:
        """Drop destinations of which nothing is left to remember."""
        for name in [n for n, d in self._destinations.items() if d.idle(now)]:
            del self._destinations[name]
        self.restraints.forget(self._destinations, now)

    def next_change(self, now: float) -> float:
        """Seconds until some destination with waiting jobs may be tried again; inf if none waits for that."""
        waits = (
            max(each.cool_until - now, self.restraints.wait(name, now))
            for name, each in self._destinations.items()
            if each.waiting
        )
        return min((wait for wait in waits if wait > 0), default=float("inf"))

    def forget_waiting(self) -> None:
        """What waits was found under another configuration: a look finds what is still due, and its destination."""
        for destination in self._destinations.values():
            self._known.difference_update(job.key for job in destination.waiting)
            destination.waiting.clear()

    def end_cool_downs(self) -> None:
        """An operator wants all of it tried now."""
        for destination in self._destinations.values():
            destination.end_cool_down()
        self.restraints.end_patience()
        self._faulty = dict.fromkeys(self._faulty, 0.0)

    def cooling(self, now: float) -> dict[str, float]:
        """Destinations in cool-down, with the seconds that are left."""
        return {name: d.cool_until - now for name, d in self._destinations.items() if d.cool_until > now}

    def held_back(self, now: float) -> Iterator[tuple[str, Held]]:
        """Destinations with waiting jobs that may have no more workers for now, and the rule that says so."""
        strangers = sum(each.workers for each in self._destinations.values() if each.stranger(now))
        for name, each in self._destinations.items():
            if each.waiting and (held := self._held(name, each, strangers, now)):
                yield name, held

    def _held(self, name: str, each: Destination, strangers: int, now: float) -> Held | None:
        if now < each.cool_until:
            return Held("cool_down", f"refuses sessions {each.refusal}", each.cool_until - now)
        if held := self.restraints.why(name, now):
            return held
        if each.stranger(now) and strangers >= self.strangers:
            return Held("strangers", f"the {strangers} workers for those that have taken nothing lately are busy")
        if each.workers and not each.may_have_more(self.per_destination, now):
            return Held("concurrency", f"{each.workers} of its nodes are being delivered, as many as it bears at once")
        return None

    def _release(self, batch: Sequence[Job]) -> Destination:
        keys = [job.key for job in batch]
        self._known.difference_update(keys)
        if self._done is not None:
            self._done.update(keys)
        destination = self._destinations.setdefault(batch[0].destination, Destination())
        destination.workers = max(0, destination.workers - 1)
        return destination
