# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The workers that live: forked, let go, killed when overdue, and given up when not even that reaches them.

It never waits for a worker, and does not know what the batches are that they have in hand.
"""

import selectors
import signal
from collections.abc import Callable, Iterator

from mailspool.log import get_logger
from mailspool.model.phase import Phase
from mailspool.supervisor.job import Work
from mailspool.supervisor.pause import Pause
from mailspool.supervisor.processors import FIRST_SHARE
from mailspool.supervisor.scoreboard import Scoreboard
from mailspool.supervisor.station import KILL_GRACE
from mailspool.supervisor.worker import Worker, fork_worker

IDLE_WORKER = 10.0
"""Seconds after which a worker without jobs is let go."""

MAX_SLOTS = 1000
"""The most that `max_dequeue_processes` may be (`config.schema`); workers on their way out count too."""

DYING = 1.0
"""Seconds that a worker may take to die of SIGKILL. `station.KILL_GRACE` and these are five: then its place is free."""

SLEPT = 30.0
"""Seconds between two turns after which the machine must have stood still: three times the parent's longest sleep."""

log = get_logger()


class Workers:
    """clock: monotonic seconds. release_in_child: closes in a child what is the parent's."""

    def __init__(
        self, selector: selectors.BaseSelector, clock: Callable[[], float], release_in_child: Callable[[], None]
    ) -> None:
        self._selector, self._clock, self._release_in_child = selector, clock, release_in_child
        self._scoreboard = Scoreboard(2 * MAX_SLOTS)
        self._living: dict[int, Worker] = {}
        self._stuck: dict[int, Worker] = {}  # killed, and not dead
        self._serial = 0
        self.pause = Pause("fork", clock)
        self._last_turn = clock()
        self._spare_until = 0.0  # nobody is overdue before

    def __len__(self) -> int:
        return len(self._living)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._living.values())

    @property
    def stuck(self) -> list[Worker]:
        """Those whose places are others' by now; they may still hold what they held."""
        return list(self._stuck.values())

    @property
    def free(self) -> list[Worker]:
        """Those that may be given something."""
        return [worker for worker in self if not (worker.batch or worker.leaving)]

    # --- coming

    def fork(self, work: Work) -> Worker | None:
        """One more. None if there can be none just now: that is said, and a pause begins."""
        slot = self._scoreboard.take()
        try:
            worker = fork_worker(work, self._serial + 1, slot, self._clock, self._release_in_child)
        except OSError as error:
            self._scoreboard.give_back(slot)
            self.pause.begin(str(error))
            return None
        self._serial += 1
        worker.idle_since = self._clock()
        shares = [each.share for each in self] or [FIRST_SHARE]
        worker.share = sum(shares) / len(shares)  # it most likely does as the others
        self._living[worker.pid] = worker
        try:
            self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        except OSError as error:  # no memory, or no watch left: it cannot be heard, so it goes
            worker.retire()
            self.pause.begin(str(error))
            return None
        return worker

    def close_in_child(self) -> None:
        """Each end of a channel has one holder."""
        for worker in self:
            worker.channel.close()

    # --- going

    def retire(self, worker: Worker) -> None:
        """It ends once it has nothing to do."""
        if not worker.closed:
            self._selector.unregister(worker.channel)
            worker.retire()

    def retire_idle(self, now: float) -> None:
        """Those that have had nothing to do for long."""
        for worker in self:
            if not worker.batch and now - worker.idle_since > IDLE_WORKER:
                self.retire(worker)

    def tell(self, number: int) -> None:
        """Send a signal that ends workers, sooner or later; they get no more jobs."""
        for worker in self:
            self._dismiss(worker, number)

    def keep(self, wanted: int) -> None:
        """Those that are too many finish their node and go, the idle ones first."""
        staying = [worker for worker in self if not worker.leaving]
        for worker in sorted(staying, key=lambda worker: not worker.batch)[wanted:]:
            self._dismiss(worker, signal.SIGTERM)

    def _dismiss(self, worker: Worker, number: int) -> None:
        worker.leaving = True
        worker.signal(number)
        if not worker.batch:
            self.retire(worker)

    def pass_on(self, number: int) -> None:
        """Send a signal that ends nobody."""
        for worker in self:
            worker.signal(number)

    def reaped(self, pid: int) -> Worker | None:
        """A child was reaped: which of the workers it was, None if none. It is to be forgotten once it was heard."""
        return self._living.pop(pid, None) or self._stuck.pop(pid, None)

    def forget(self, worker: Worker) -> None:
        """Nothing is left of it."""
        self.retire(worker)
        self._scoreboard.give_back(worker.slot)

    # --- overdue

    def kill_overdue(self) -> list[Worker]:
        """The last of the three deadlines: for what SIGALRM cannot interrupt. Who was given up: its place is free.

        After a time in which we did not run, perhaps nobody ran, and every worker's own alarm comes first.
        """
        now = self._clock()
        if now - self._last_turn > SLEPT:
            self._spare_until = now + KILL_GRACE
        self._last_turn = now
        overdue = [worker for worker in self if now >= max(worker.slot.until, self._spare_until)]
        for worker in overdue:
            if worker.killed:
                self._give_up(worker)
            else:
                self._kill(worker, now)
        return [worker for worker in overdue if worker.pid in self._stuck]

    def _kill(self, worker: Worker, now: float) -> None:
        entry = worker.slot.read()
        log.error("worker overdue, killed", worker=worker.serial, phase=entry.phase.name, host=entry.host)
        worker.signal(signal.SIGKILL)
        worker.killed = True
        worker.slot.write(entry.phase, entry.host, now + DYING, entry.since)  # nobody else writes here now

    def _give_up(self, worker: Worker) -> None:
        """SIGKILL does not reach who is in a system call that does not return: another one gets its place.

        What it had claimed is recovered once it has ended: its call may still take effect.
        """
        log.error("worker cannot be killed, its place is given to another", worker=worker.serial, pid=worker.pid)
        self._stuck[worker.pid] = self._living.pop(worker.pid)
        self.retire(worker)

    def next_events(self) -> Iterator[float]:
        """Seconds until things that happen by themselves."""
        now = self._clock()
        yield from (max(worker.slot.until, self._spare_until) - now for worker in self)
        if self.pause.left:
            yield self.pause.left

    # --- telling

    def scoreboard(self) -> list[dict[str, object]]:
        """A line for each worker."""
        return [self._line(worker) for worker in self]

    def _line(self, worker: Worker) -> dict[str, object]:
        entry = worker.slot.read()
        return {
            "worker": worker.serial,
            "pid": worker.pid,
            "destination": worker.destination,
            "phase": entry.phase.name,
            "host": entry.host,
            "seconds": round(self._clock() - entry.since, 1) if entry.phase is not Phase.IDLE else 0,
            "jobs": worker.jobs_done,
        }
