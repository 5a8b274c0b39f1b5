# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who may go next: round robin over destinations, so that none holds up another. No I/O; time is an argument.

How many workers each may have stands in `shares`, what a destination bears, and when it cools down, in `destination`. A
stranger gets none, if a scout runs, until it has spoken. A job waits here from the look that found it until its worker
reports; until then later looks that find it again are ignored.
"""

import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mailspool.supervisor.destination import Destination
from mailspool.supervisor.held import Held
from mailspool.supervisor.inquiry import Inquiries, patience
from mailspool.supervisor.job import Job, Limits, Order, Report, Result, Slower
from mailspool.supervisor.restraint import Restraints
from mailspool.supervisor.round import Round
from mailspool.supervisor.scout import Answer, Question
from mailspool.supervisor.shares import STRANGERS, AtWork, Obstacle, Shares, share_out

MAX_WAITING = 5000
"""Jobs of one destination kept in memory. There may be more: `hungry` tells when it is time to look again."""

MAX_ALL = 50_000
"""Jobs of all destinations kept in memory. When there are more, each keeps as many as all others may: the oldest."""

MAX_BATCH = 100
"""Jobs given to a worker at once: few enough that a new destination is not kept waiting, many enough to save asking.

The rest of the last one's group comes on top of it.
"""

SMALL_BATCH = 2
"""Jobs given at once for a destination in its slow start: with each batch that it takes it may have one more worker."""

FAULT_REST = 10.0
"""Seconds for which a job is left alone that met a local fault: it may be its own, as a file that cannot be read."""

PROCESSORS_BUSY = Held("processors", "the workers keep the processors busy: one more would make nothing faster")

_LIMITS = "limits"  # the obstacle of those that a pattern of hosts keeps back

_NEVER = float("inf")


class Dispatch:
    """The waiting jobs of this supervisor and the one rule by which they go.

    awaiting: how many workers only wait for the reply to a final dot, by destination: they take no place.
    full: those at work keep the processors busy, so that a worker more than there are is of no use.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.restraints = Restraints(limits.rules)
        self._scouted = False
        self.awaiting: Mapping[str, int] = {}
        self.full = False
        self._destinations: dict[str, Destination] = {}
        self._round = Round[Obstacle]()  # those with waiting jobs: for workers
        self._unheard = Round[Obstacle]()  # the same: for the scout
        self._changed: dict[str, None] = {}  # those whose place in both may be another one now
        self._kept_back: dict[str, Obstacle | float] = {}  # from the next turn: by what, or until when
        self._busy: dict[str, Destination] = {}  # those with workers
        self.inquiries = Inquiries(self._destinations, self._note_change)
        self._left_out: dict[str, Destination] = {}  # those of which there is more than is kept
        self._known: set[str] = set()
        self._done: set[str] | None = None  # reported on since the present look began, which may have seen them before
        self._crowded = False  # so many destinations have jobs that there is no room to be made
        self._faulty: dict[str, float] = {}  # which of them met a fault, and until when they rest

    @property
    def shares(self) -> Shares:
        """How many workers each may have under the present limits."""
        return share_out(self.limits)

    def __len__(self) -> int:
        """Jobs that wait here."""
        return sum(len(destination.waiting) for destination in self._destinations.values())

    @property
    def scouted(self) -> bool:
        """Whether a scout runs."""
        return self._scouted

    @scouted.setter
    def scouted(self, runs: bool) -> None:
        if runs != self._scouted:
            self._scouted = runs
            self._changed |= dict.fromkeys(self._destinations)

    def offer(self, jobs: Iterable[Job]) -> None:
        """Take up what a look found."""
        for job in jobs:
            if job.key in self._known or (self._done and job.key in self._done):
                continue
            if (destination := self._destinations.get(job.destination)) is None:
                destination = self._destinations[job.destination] = Destination()
            if not self._has_room() or destination.more or len(destination.waiting) >= MAX_WAITING:
                self._leave_out(job.destination)  # from here on all are younger than this one
                continue
            if not destination.waiting:
                self._changed.pop(job.destination, None)  # its turn comes after all that have jobs already
            if not destination.waiting or destination.cool_until:  # else it stands where it stood
                self._note_change(job.destination)
            destination.waiting.append(job)
            destination.most = len(destination.waiting)
            self._known.add(job.key)

    def _note_change(self, name: str) -> None:
        self._changed[name] = None

    def _place(self, now: float) -> None:
        """Each destination of which something has changed where it belongs: for what stands aside nobody looks."""
        for name, what in self._kept_back.items():
            if name not in self._round:
                continue
            if isinstance(what, Obstacle):
                self._round.put_behind(name, what)
            else:
                self._round.put(name, what, now)
        self._kept_back.clear()
        for name in (*self._round.due(now), *self._unheard.due(now), *self._changed):
            each = self._destinations.get(name)
            if each and each.waiting:
                self._round.put(name, each.free_from(now, scouted=self._scouted), now)
                self._unheard.put(name, each.unheard_from(now) if self._scouted else _NEVER, now)
            else:
                self._round.discard(name)
                self._unheard.discard(name)
        self._changed.clear()

    def _has_room(self) -> bool:
        """Whether one more job may be kept; if need be, each destination lets go of what is beyond its share."""
        if len(self._known) >= MAX_ALL and not self._crowded:
            waiting = [name for name, each in self._destinations.items() if each.waiting]
            share = max(1, MAX_ALL // 2 // max(1, len(waiting)))
            for name in waiting:
                if gone := self._destinations[name].keep(share):
                    self._known.difference_update(job.key for job in gone)
                    self._leave_out(name)
            self._crowded = len(self._known) > MAX_ALL * 3 // 4  # not worth while for each job anew
        return len(self._known) < MAX_ALL

    def _leave_out(self, name: str) -> None:
        """There is more of it than fits."""
        self._left_out[name] = destination = self._destinations[name]
        destination.more = True

    def hungry(self) -> bool:
        """Whether a look would find more jobs for a destination that has used up most of those it had."""
        room = len(self._known) < MAX_ALL // 2
        return any(len(d.waiting) < d.most // 2 or (room and not d.waiting) for d in self._left_out.values())

    def looked(self, now: float) -> None:
        """A look begins: what is more than fits will be seen anew, and what has rested from a fault."""
        self._done, self._crowded = set(), False
        for destination in self._left_out.values():
            destination.more = False
        self._left_out.clear()
        rested = [key for key, until in self._faulty.items() if now >= until]
        self._known.difference_update(rested)
        for key in rested:
            del self._faulty[key]

    def look_over(self) -> None:
        """Nothing more is offered of what it found."""
        self._done = None

    # --- workers

    def ready(self, now: float) -> Iterator[str]:
        """Destinations that have jobs and may be given one more worker, in the order of the round."""
        return filter(self._rule(now), self._round)

    def _rule(self, now: float) -> Callable[[str], bool]:
        """Whether a destination of the round, which is set up for it, may be given one more worker as things stand."""
        self._place(now)
        at_work = self._at_work(now)
        for obstacle in self._round.obstacles:
            self._round.let_in(obstacle, self._room_behind(obstacle, at_work, now))
        most_known, most_strange = at_work.shares.destination, at_work.shares.stranger

        def may_go(name: str) -> bool:
            each = self._destinations[name]
            stranger = each.stranger(now)
            if stranger and self._scouted and not each.spoken(now):
                self._note_change(name)  # what it said is too long ago
                return False
            if not each.may_have_more(most_strange if stranger else most_known, now):
                return False
            if obstacle := at_work.obstacle(each, stranger=stranger):
                self._kept_back[name] = obstacle
                return False
            return self._unrestrained(name, now)

        return may_go

    def _unrestrained(self, name: str, now: float) -> bool:
        if self.restraints.room(name, now):
            return True
        if pattern := self.restraints.pattern_without_room(name, now):
            self._kept_back[name] = Obstacle(_LIMITS, pattern)
        elif wait := self.restraints.wait(name, now):
            self._kept_back[name] = now + wait
        return False

    def _room_behind(self, obstacle: Obstacle, at_work: AtWork, now: float) -> int:
        """How many of those that it keeps back may go."""
        return self.restraints.room_of(obstacle.key, now) if obstacle.rule == _LIMITS else at_work.room_behind(obstacle)

    def _at_work(self, now: float) -> AtWork:
        at: defaultdict[str, int] = defaultdict(int)
        strange = patient = 0
        for name, each in self._busy.items():
            if each.address:
                at[each.address] += each.workers
            if each.stranger(now):
                strange += each.workers - self.awaiting.get(name, 0)
                patient += each.workers if each.patient else 0
        return AtWork(self.shares, at, strange, patient)

    def next_batch(self, now: float, last: str = "", *, spare: bool = False) -> list[Job]:
        """Jobs of one destination for one worker, [] if there are none.

        last: the destination that this worker comes from and has a session with. It stays with it if nobody
        else is waiting, or if there are spare workers for the others.
        """
        may_go = self._rule(now)
        stays = spare and last in self._round and may_go(last)
        name = last if stays else next(filter(may_go, self._round), "")
        if not name:
            return self._put_off(now)
        destination = self._destinations[name]
        self._round.discard(name)
        self._note_change(name)  # if more waits, it is at the end of the round
        batch = self.restraints.begin(self._cut(self._take(destination), destination, now), now)
        self._employ(destination, batch)
        return batch

    def _employ(self, destination: Destination, batch: Sequence[Job]) -> None:
        destination.workers += 1
        destination.patient = batch[0].patient
        self._busy[batch[0].destination] = destination

    def _cut(self, batch: list[Job], destination: Destination, now: float) -> list[Job]:
        """As much of it as the restraints allow; the rest waits on."""
        fit = self.restraints.fit(batch, now)
        destination.waiting.extendleft(reversed(batch[fit:]))
        return batch[:fit]

    def _take(self, destination: Destination) -> list[Job]:
        """A fair share of what waits; a group is cut in two only if it is larger than a batch.

        It is meant for as many workers as each in the round could have: among many that is one, and one session. Where
        not all jobs fit into memory it is a small one, so that those do not run out one by one, each with a look. Of
        what has refused sessions it is one job only, with its group: whether it takes that tells of the others.
        """
        waiting = destination.waiting
        each = self.limits.workers if destination.more else self.limits.workers // (len(self._round) + 1)
        workers = max(1, min(self.shares.destination, each))
        most = 1 if destination.refusals else SMALL_BATCH if destination.in_slow_start(workers) else MAX_BATCH
        share = min(most, -(-len(waiting) // workers))
        batch = [waiting.popleft() for _ in range(share)]
        while waiting and waiting[0].group == batch[-1].group and len(batch) < share + MAX_BATCH:
            batch.append(waiting.popleft())
        return batch

    def _put_off(self, now: float) -> list[Job]:
        """Jobs that are not to be tried, since nobody else needs the worker."""
        for name in self._round:
            destination = self._destinations[name]
            if batch := destination.put_off(now, MAX_BATCH):
                self._note_change(name)
                self._employ(destination, batch)
                return batch
        return []

    def idle(self, now: float) -> bool:
        """Whether there is nothing to do for a worker more than there are."""
        if self.full:
            return True
        return not next(self.ready(now), "") and not any(
            self._destinations[name].may_put_off(now) for name in self._round
        )

    def finished(self, batch: Sequence[Job], report: Report, now: float) -> None:
        """A worker has reported on its batch."""
        destination, results = self._release(batch), report.results
        if not batch[0].refusal:  # it was tried
            destination.address = report.address or destination.address
            self._learn(batch[0].destination, destination, report, now)
            self.restraints.ended(batch, results, report.rules, now)
        returned = [job for job, result in zip(batch, results, strict=True) if result is Result.RETURNED]
        faulty = [job.key for job, result in zip(batch, results, strict=True) if result is Result.FAULT]
        destination.waiting.extendleft(job._replace(refusal="", rules=()) for job in reversed(returned))
        self._known.update(job.key for job in returned)
        self._known.update(faulty)
        self._faulty.update(dict.fromkeys(faulty, now + FAULT_REST))

    def _learn(self, name: str, destination: Destination, report: Report, now: float) -> None:
        results = report.results
        if report.lost:
            destination.lost(now)
        if report.slower:
            self._slow_down(name, destination, report.slower, now)
        elif Result.DELIVERED in results:
            destination.took(now, self.shares.destination)
            self.restraints.took(name)
        elif Result.REFUSED in results:
            destination.refused(now, self.limits.cool_down, report.refusal or "for reasons unknown")
        elif Result.SETTLED in results:  # it spoke with us, whatever it said
            destination.end_cool_down()

    def _slow_down(self, name: str, destination: Destination, slower: Slower, now: float) -> None:
        """Who wants less, and has one worker or names a time, is left alone; its jobs wait, and none falls back."""
        seconds = slower.seconds or (0.0 if destination.slow_down() else self.limits.cool_down)
        self.restraints.leave_alone(name, slower.text, seconds, now)

    def lost(self, batch: Sequence[Job]) -> None:
        """A worker has ended without a report: a later look will find what is still there."""
        self._release(batch)

    def _release(self, batch: Sequence[Job]) -> Destination:
        keys = [job.key for job in batch]
        self._known.difference_update(keys)
        if self._done is not None:
            self._done.update(keys)
        name = batch[0].destination
        destination = self._destinations.setdefault(name, Destination())
        destination.workers = max(0, destination.workers - 1)
        if not destination.workers:
            self._busy.pop(name, None)
        self._note_change(name)
        return destination

    # --- with a scout

    def order(self, batch: list[Job], now: float) -> tuple[Order, socket.socket | None]:
        """A batch with what the scout found at its destination, and the connection, if nobody has it yet."""
        name = batch[0].destination
        destination = self._destinations[name]
        if batch[0].refusal:
            return Order(batch, found=destination.found()), None
        host, connection = self.inquiries.contact(name, now)
        return Order(batch, host, careful=destination.careful(now)), connection

    def questions(self, now: float) -> Iterator[Question]:
        """What the scout is to be asked, each question once it is taken; none where one connection were too many."""
        self._place(now)
        names = (name for name in self._unheard if self.restraints.room(name, now))
        return self.inquiries.put(names, len(self._round))

    def answered(self, answer: Answer, connection: socket.socket | None, now: float) -> None:
        """What the scout found. The connection is ours now."""
        name = self.inquiries.answered(answer, connection, self.limits.cool_down, now)
        if name and answer.rule:
            self.restraints.meet(name, (answer.rule,))

    def hurry(self, now: float) -> float:
        """Seconds that strangers have for each answer at a first attempt, because others wait for their workers."""
        return patience(self.shares.strangers, self._strangers_in_need(now))

    def in_hurry(self, now: float) -> bool:
        """Whether they have not for ever."""
        return bool(self._strangers_in_need(now))

    def may_hurry(self, batch: Sequence[Job], now: float) -> bool:
        """Whether `hurry` is about the worker of this batch."""
        return bool(batch) and not batch[0].patient and self._destinations[batch[0].destination].stranger(now)

    def _strangers_in_need(self, now: float) -> int:
        """How many have no worker, since others of their kind have all that they may have."""
        if self._at_work(now).strange < self.shares.strangers:
            return 0
        self._place(now)
        here = sum(1 for name in self._round if self._lacks_worker(self._destinations[name], now))
        return here + self._round.behind(STRANGERS)

    def _lacks_worker(self, each: Destination, now: float) -> bool:
        spoken = each.spoken(now) or not self._scouted
        return spoken and each.stranger(now) and not each.workers and now >= each.cool_until

    # --- time passes

    def forget_idle(self, now: float) -> None:
        """Drop destinations of which nothing is left to remember."""
        for name in [n for n, d in self._destinations.items() if d.idle(now)]:
            del self._destinations[name]
        self.restraints.forget(self._destinations, now)

    def next_change(self, now: float) -> float:
        """Seconds until some destination with waiting jobs may be tried again, or a connection has waited too long."""
        self._place(now)
        moments = (self._round.next_moment - now, self._unheard.next_moment - now, self.inquiries.left(now))
        waits = (self.restraints.wait(name, now) for name in self._round) if self.restraints else ()
        patterns = (self.restraints.wait_of(obstacle.key, now) for obstacle in self._limits_in_the_way)
        return min((time for time in (*moments, *waits, *patterns) if time > 0), default=_NEVER)

    @property
    def _limits_in_the_way(self) -> Iterator[Obstacle]:
        return (each for each in self._round.obstacles if each.rule == _LIMITS)

    def forget_waiting(self) -> None:
        """What waits was found under another configuration: a look finds what is still due, and its destination."""
        for destination in self._destinations.values():
            self._known.difference_update(job.key for job in destination.waiting)
            destination.waiting.clear()
        self._changed |= dict.fromkeys(self._destinations)
        self.inquiries.forget()

    def end_cool_downs(self) -> None:
        """An operator wants all of it tried now."""
        for destination in self._destinations.values():
            destination.end_cool_down()
        self._changed |= dict.fromkeys(self._destinations)
        self.restraints.end_patience()
        self.inquiries.begin_era()
        self._faulty = dict.fromkeys(self._faulty, 0.0)

    def cooling(self, now: float) -> dict[str, float]:
        """Destinations in cool-down, with the seconds that are left."""
        return {name: d.cool_until - now for name, d in self._destinations.items() if d.cool_until > now}

    def held_back(self, now: float, about: str = "") -> Iterator[tuple[str, Held]]:
        """Destinations, or that one, with waiting jobs that may have no more workers for now; the rule that says so."""
        at_work = self._at_work(now)
        for name in [about] if about else self._destinations:
            each = self._destinations.get(name)
            if each and each.waiting and (held := self._why(name, each, at_work, now)):
                yield name, held

    def _why(self, name: str, each: Destination, at_work: AtWork, now: float) -> Held | None:
        if now < each.cool_until:
            return Held("cool_down", f"refuses sessions {each.refusal}", each.cool_until - now)
        if held := self.restraints.why(name, now):
            return held
        if each.asked or now < each.rest_until:
            return Held("scout", "whether its hosts speak is being found out")
        return self._why_no_worker(each, at_work, now)

    def _why_no_worker(self, each: Destination, at_work: AtWork, now: float) -> Held | None:
        stranger = each.stranger(now)
        most = at_work.shares.stranger if stranger else at_work.shares.destination
        if each.workers and not each.may_have_more(most, now):
            return Held("concurrency", f"{each.workers} of its nodes are being delivered, as many as it bears at once")
        if obstacle := at_work.obstacle(each, stranger=stranger):
            return at_work.told(obstacle)
        return PROCESSORS_BUSY if self.full else None
