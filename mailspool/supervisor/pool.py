# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Gives the workers batches, as long as there are jobs that may go, and hears what became of them.

It never waits for a worker. A batch whose worker ended without a report is found again by a later look; what that
worker had claimed is handed to `abandoned`.
"""

import contextlib
import selectors
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from mailspool.log import get_logger
from mailspool.model.phase import Phase
from mailspool.supervisor.alarms import Alarms
from mailspool.supervisor.appointments import Appointments
from mailspool.supervisor.child import Ended
from mailspool.supervisor.dispatch import Dispatch
from mailspool.supervisor.inquiry import LEAST_PATIENCE
from mailspool.supervisor.job import FAULT, LEASE, Job, Order, Result, Work
from mailspool.supervisor.pause import Pause
from mailspool.supervisor.processors import FRESH, PROCESSORS, are_busy
from mailspool.supervisor.scout import Answer, Scout, Verdict
from mailspool.supervisor.worker import Worker
from mailspool.supervisor.workers import MAX_SLOTS, Workers

STALE = 1.0
"""Seconds between two looks at a lease that is not fresh: nobody tells when it is again."""

AWAITING, MOST_AWAITING = 5.0, 10
"""Seconds after its final dot from which a worker, that only waits for the reply, gives its place to another; and how
many may do so, for each of those that are wanted: the wait is not cut, but hosts that never reply hold up nobody."""

HURRY = 0.5
"""Seconds between two looks at strangers for which others wait."""

FORGOTTEN = 600.0
"""Seconds after which a job that met a local fault, and was not tried again, is somebody else's, or no more."""

_BEFORE_CONTENT = range(Phase.RESOLVE, Phase.CONTENT)

_NEVER = float("inf")

log = get_logger()


class Pool:
    """clock: monotonic seconds. release_in_child: closes in a child what is the parent's.

    abandoned: told the serial number of a worker that died, and how.
    """

    def __init__(
        self,
        work: Work,
        selector: selectors.BaseSelector,
        clock: Callable[[], float],
        release_in_child: Callable[[], None],
        abandoned: Callable[[int, str], None],
        processors: int = PROCESSORS,
    ) -> None:
        self.work, self._processors = work, processors
        self.dispatch = Dispatch(work.limits())
        self.generation = 0  # of workers; each reload makes another
        self.delivered = 0
        self.alarms = Alarms(clock)
        self.paused = False
        self.appointments = Appointments()
        self.workers = Workers(selector, clock, release_in_child)
        self._selector, self._clock, self._abandoned = selector, clock, abandoned
        self._fault = Pause("", clock)  # `alarms` tells of it
        self._faulty: set[str] = set()  # groups that met a local fault since something last went well
        self._unwell: dict[str, float] = {}  # jobs that met one the last time they were tried, and when
        self._scout: Scout | None = None

    @property
    def active(self) -> int:
        """Workers with a batch."""
        return sum(1 for worker in self.workers if worker.batch)

    # --- giving

    def assign(self) -> None:
        """Give every idle worker a batch, and fork more while there are jobs that may go."""
        now = self._clock()
        if self.dispatch.awaiting:  # by now some may have heard what they waited for
            self._count_awaiting(now)
        if self.paused or self._fault.left or not self._may_begin():
            return
        self.dispatch.offer(self.appointments.due(now))
        self._ask_scout(now)
        for worker in self.workers.free:
            if not self._give(worker, now) and not self.dispatch.restraints:  # else others may take what it may not
                return
        while self._may_fork(now) and (forked := self.workers.fork(self.work)):
            self._give(forked, now)

    def _may_begin(self) -> bool:
        fresh = self.work.lease.fresh
        self.alarms.hear({LEASE: "" if fresh else "the lease is not renewed in time: nothing is begun until it is"})
        return fresh

    def _count_connections(self, now: float, but: Worker | None = None) -> None:
        """For the dispatch. The worker that is given something closes the connections that it has, or goes on."""
        restraints = self.dispatch.restraints
        restraints.owners = self.work.owners
        if restraints.rules:
            others = (each for each in chain(self.workers, self.workers.stuck) if each is not but)
            restraints.held = Counter(key for each in others for key in each.connections(now))

    def _measure(self, now: float) -> None:
        self.dispatch.full = are_busy((each.computes(now) for each in self.workers), self._processors)

    def _may_fork(self, now: float) -> bool:
        self._measure(now)
        self._count_connections(now)
        return self._has_room and not self.workers.pause.left and not self.dispatch.idle(now)

    @property
    def _has_room(self) -> bool:
        """Places of stuck ones are given away, but each only once: a dead file server shall not fill the machine."""
        most = self.dispatch.limits.workers
        return self._in_their_places < min(most, 2 * most - len(self.workers.stuck)) and len(self.workers) < MAX_SLOTS

    @property
    def _in_their_places(self) -> int:
        """Workers but for those that have given theirs away."""
        return len(self.workers) - min(
            sum(self.dispatch.awaiting.values()), MOST_AWAITING * self.dispatch.limits.workers
        )

    def _too_many(self, now: float) -> bool:
        """Whether one should go, but for those that have given their places away."""
        most = self.dispatch.limits.workers
        if len(self.workers) <= most:
            return False
        self._count_awaiting(now)
        return self._in_their_places > most

    def _count_awaiting(self, now: float) -> None:
        awaiting = (worker for worker in self.workers if worker.batch and self._awaits(worker, now))
        self.dispatch.awaiting = Counter(worker.destination for worker in awaiting)

    def _awaits(self, worker: Worker, now: float) -> bool:
        slot = worker.slot
        return slot.phase == Phase.FINAL and now - slot.since >= AWAITING

    def _give(self, worker: Worker, now: float) -> bool:
        """Whether there is a batch for it."""
        self._count_connections(now, worker)
        batch = self.dispatch.next_batch(now, worker.destination, spare=self._has_room)
        if batch:
            order, connection = self.dispatch.order(batch, now)
            with connection or contextlib.nullcontext():  # which is the worker's then
                self._hand_over(worker, order, connection)
        return bool(batch)

    def _hand_over(self, worker: Worker, order: Order, connection: socket.socket | None) -> None:
        try:
            worker.give(order, connection, self._clock())
        except OSError:  # it has ended and will be reaped
            self._lose(worker)

    def close_in_child(self) -> None:
        """Each end of a channel has one holder, and so has each connection that waits for a worker."""
        self.workers.close_in_child()
        self.dispatch.inquiries.close_in_child()

    # --- the scout

    def attend(self, scout: Scout | None, *, runs: bool) -> None:
        """From now on this one is asked, while it runs."""
        if scout is not self._scout:
            self._let_go_of_scout()
            if scout:
                self._selector.register(scout, selectors.EVENT_READ, scout)
            self._scout = scout
        if self.dispatch.scouted and not runs:
            self.dispatch.inquiries.unanswered(self._clock())
        self.dispatch.scouted = runs

    def _let_go_of_scout(self) -> None:
        if self._scout:
            self._selector.unregister(self._scout)
            self._scout.close(unlink=False)
            self.dispatch.inquiries.forget()

    def _ask_scout(self, now: float) -> None:
        for question in self.dispatch.questions(now):
            if not (self._scout and self._scout.ask(question)):
                self.dispatch.answered(Answer(question.number, Verdict.BUSY), None, now)
                break

    def hear_scout(self) -> None:
        """It has answers."""
        now = self._clock()
        for answer, connection in self._scout.answers() if self._scout else ():
            self.dispatch.answered(answer, connection, now)

    # --- hearing

    def hear(self, worker: Worker) -> None:
        """A worker reports, or its channel has ended."""
        report = worker.report()
        if report is None:
            self.workers.retire(worker)  # it is about to be reaped
            return
        results = report.results
        batch, worker.batch = worker.batch, []
        worker.idle_since = self._clock()
        worker.jobs_done += len(results)
        worker.reported(worker.idle_since, report.share)
        self.dispatch.finished(batch, report, worker.idle_since)
        self.appointments.add(report.appointments, worker.idle_since)
        self.delivered += results.count(Result.DELIVERED)
        if not worker.leaving:  # else it may not know what a reload has mended
            self.alarms.hear(report.alarms)
        self.workers.pause.over()
        self._judge_faults(batch, results)
        if worker.leaving or self._too_many(worker.idle_since) or worker.jobs_done >= self.dispatch.limits.worker_jobs:
            self.workers.retire(worker)

    def _judge_faults(self, batch: Sequence[Job], results: Sequence[Result]) -> None:
        """One message's fault is its own; those of two in a row are the machine's: then nobody tries for a while.

        It is over once all that met one have gone well, or are gone.
        """
        now = self._clock()
        for job, result in zip(batch, results, strict=True):
            if result is Result.FAULT:
                self._unwell[job.key] = now
            elif result is not Result.RETURNED:
                self._unwell.pop(job.key, None)
        faulty = {job.group for job, result in zip(batch, results, strict=True) if result is Result.FAULT}
        self._faulty |= faulty
        if faulty and len(self._faulty) > 1:
            self._fault.begin("")
        elif not faulty and any(result is not Result.RETURNED for result in results):
            self._faulty.clear()
            self._fault.over()
            if all(now - met > FORGOTTEN for met in self._unwell.values()):
                self._unwell.clear()
                self.alarms.hear({FAULT: ""})

    # --- ending

    def renew(self, work: Work) -> None:
        """Go on with this work, under its limits. The old generation of workers finishes its node and goes."""
        self.work, self.paused = work, False
        self.generation += 1
        self.dispatch.limits = work.limits()
        self.dispatch.restraints.rules = self.dispatch.limits.rules
        self.dispatch.forget_waiting()
        self.appointments.clear()
        self.workers.tell(signal.SIGTERM)
        self.alarms.forget()  # it may have been what the reload is to mend; if not, the new generation meets it
        self.dispatch.end_cool_downs()  # as above

    def pause(self) -> None:
        """Nothing is given until `renew`; workers finish their node and go."""
        self.paused = True
        self.workers.tell(signal.SIGTERM)

    def resize(self, by: int) -> int:
        """So many workers more or less, until the limits are set anew; never less than one. How many there may be.

        Those that are too many finish their node and go, the idle ones first.
        """
        limits = self.dispatch.limits
        wanted = max(1, min(MAX_SLOTS, limits.workers + by))
        self.dispatch.limits = limits._replace(workers=wanted)
        self.workers.keep(wanted)
        return wanted

    def see_to_time(self) -> None:
        """What it brings by itself: who has waited, or been waited for, long enough."""
        now = self._clock()
        self.kill_overdue()
        self._measure(now)
        self._count_awaiting(now)
        self.hurry_strangers()
        self.dispatch.inquiries.release_held(now)
        self.workers.retire_idle(now)

    def kill_overdue(self) -> None:
        """What those have in hand that must be given up is found again."""
        for worker in self.workers.kill_overdue():
            self._lose(worker)

    def hurry_strangers(self) -> None:
        """While others wait for their workers, strangers have less time for each answer before the content."""
        now = self._clock()
        slow = [
            worker
            for worker in self.workers
            if worker.slot.phase in _BEFORE_CONTENT and now - worker.slot.since >= LEAST_PATIENCE
        ]
        seconds = self.dispatch.hurry(now) if slow else _NEVER
        for worker in slow:
            if now - worker.slot.since >= seconds and self.dispatch.may_hurry(worker.batch, now):
                worker.signal(signal.SIGALRM)

    def ended(self, child: Ended) -> bool:
        """A child was reaped. Whether it was one of the workers."""
        worker = self.workers.reaped(child.pid)
        if worker is None:
            return False
        if not worker.closed and worker.batch:  # its last report may still be on the way
            worker.channel.setblocking(False)
            self.hear(worker)
        self.workers.forget(worker)
        self._lose(worker)
        if child.status:
            log.error("worker ended", worker=worker.serial, pid=child.pid, how=child.how)
            self._abandoned(worker.serial, child.how)
            if not (worker.jobs_done or worker.leaving):
                self.workers.pause.begin(f"worker ended by {child.how} before its first job was done")
        return True

    def _lose(self, worker: Worker) -> None:
        if worker.batch:
            self.dispatch.lost(worker.batch)
            worker.batch = []

    # --- telling

    def next_events(self) -> Iterator[float]:
        """Seconds until things that happen by themselves."""
        now = self._clock()
        yield from self.workers.next_events()
        yield self.dispatch.next_change(now)
        if self.dispatch.in_hurry(now):
            yield HURRY
        yield self.appointments.left(now)
        if self.dispatch.full:
            yield FRESH
        if self.dispatch.restraints.rules:  # a connection that is let go makes room for another
            yield from (left for worker in self.workers for left in worker.connections(now).values())
        if self._fault.left:
            yield self._fault.left
        if not self.work.lease.fresh:
            yield STALE
