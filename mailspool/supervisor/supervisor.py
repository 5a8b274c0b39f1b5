# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The parent: wakes, looks, forks, hears, reaps. It opens no message, resolves no name and speaks to no host.

The whole daemon is `run`. Everything that can stop the parent is somewhere else: in a worker, whose deadline the
parent enforces, or in a service child. A fork that fails, a look that fails and a worker that dies are logged and
tried again later; only a signal ends it.
"""

import gc
import os
import selectors
import signal
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from setproctitle import setproctitle

from mailspool.errors import ConfigError, SpoolError
from mailspool.log import get_logger
from mailspool.model.phase import Phase
from mailspool.supervisor.control import Control
from mailspool.supervisor.dispatch import Dispatch
from mailspool.supervisor.job import Look, Result, Work
from mailspool.supervisor.scoreboard import Scoreboard
from mailspool.supervisor.signals import Signals, forget_in_child
from mailspool.supervisor.worker import Worker, fork_child, fork_worker

IDLE_WORKER = 10.0
"""Seconds after which a worker without jobs is let go."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds without forks (or jobs) after a local fault; doubled while it lasts."""

POKE_SHARE = 4
"""After a look that took t seconds, pokes wait for t times this: a storm of submissions cannot eat the parent."""

AT_ONCE = 5.0
"""Seconds that INT and QUIT leave a worker past its final dot to hear the reply."""

MAX_SLOTS = 1000  # the most that `max_dequeue_processes` can be raised to by a reload

_NEVER = float("inf")

Task = Callable[[], None]

log = get_logger()


class Pause:
    """Backs off from what a local fault makes useless, and says so once."""

    def __init__(self, what: str) -> None:
        self._what, self._until, self._seconds = what, 0.0, 0.0

    def begin(self, now: float, why: str) -> None:
        """It failed; wait, each time longer."""
        if now < self._until:
            return
        if not self._seconds:
            log.error("local fault, will try again", what=self._what, error=why)
        self._seconds = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._seconds * 2))
        self._until = now + self._seconds

    def over(self) -> None:
        """It works."""
        if self._seconds:
            log.info("works again", what=self._what)
        self._until = self._seconds = 0.0

    def left(self, now: float) -> float:
        """Seconds until it may be tried again, 0 or less if now."""
        return self._until - now


class Ended(NamedTuple):
    """A child that was reaped."""

    pid: int
    status: int

    @property
    def how(self) -> str:
        """In words."""
        if os.WIFSIGNALED(self.status):
            return f"signal {os.WTERMSIG(self.status)}"
        return f"exit code {os.WEXITSTATUS(self.status)}"


class Supervisor:
    """One per host and spool. `clock` is monotonic: it neither runs while the machine sleeps nor jumps."""

    def __init__(self, work: Work, run_dir: str, clock: Callable[[], float]) -> None:
        self._work, self._run_dir, self._clock = work, run_dir, clock
        self._dispatch = Dispatch(work.limits())
        self._scoreboard = Scoreboard(MAX_SLOTS)
        self._workers: dict[int, Worker] = {}
        self._to_recover: list[Task] = [work.recover]  # what dead owners held, then what dead workers held
        self._recovering: dict[int, list[Task]] = {}  # by the child that is at it
        self._serial = 0
        self._next_tick, self._tick = 0.0, Look.TICK
        self._next_poke = _NEVER
        self._quiet_until = 0.0  # no look for a poke before
        self._stop_by = _NEVER  # when to urge harder
        self._urged = 0  # the last signal that told the workers to stop
        self._fork = Pause("fork")
        self._look = Pause("look into the spool")
        self._recovery = Pause("recover claims")
        self._fault = Pause("delivery (local fault)")
        self._delivered = 0
        self._title = ""

    # --- the whole daemon

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Until a signal says so. ready: called once, when signals and pokes are heard."""
        with Signals() as self._signals, selectors.DefaultSelector() as self._selector:
            self._control = Control(self._run_dir, self._answers())
            self._selector.register(self._signals, selectors.EVENT_READ)
            self._selector.register(self._control, selectors.EVENT_READ)
            self._work.preload()
            gc.freeze()  # what is loaded by now stays shared with the children
            log.info("started", run_dir=self._run_dir)
            ready()
            try:
                while not (self._stopping and not (self._workers or self._to_recover or self._recovering)):
                    self._handle_signals()
                    self._reap()
                    self._kill_overdue()
                    self._recover()
                    self._look_if_due()
                    self._assign()
                    self._wait()
            finally:
                self._control.close(unlink=True)
        log.info("stopped")

    # --- signals

    def _handle_signals(self) -> None:
        for number in self._signals.take():
            handler = {
                signal.SIGHUP: self.reload,
                signal.SIGTERM: self._stop,
                signal.SIGINT: self._stop_at_once,
                signal.SIGQUIT: self._stop_at_once,
                signal.SIGUSR2: self._dump,
            }.get(signal.Signals(number))
            if handler:
                handler()

    def reload(self) -> str:
        """HUP: read and check everything, then switch; a bad configuration is refused and the old one stays."""
        try:
            work = self._work.reload()
        except ConfigError as error:
            for problem in error.problems:
                log.warning("reload refused", problem=problem)
            return "refused\n" + str(error)
        self._work, self._dispatch.limits = work, work.limits()
        self._work.preload()
        self._tell_workers(signal.SIGTERM)  # the old generation finishes its node and goes
        self._next_tick = self._clock()
        log.info("reloaded")
        return "reloaded"

    @property
    def _stopping(self) -> bool:
        return self._urged != 0

    def _stop(self) -> None:
        """TERM: no new work; who is at work may finish within `shutdown`, then claims come back. Again: harder."""
        if self._urged:
            self._stop_at_once()
            return
        log.info("stopping", workers=len(self._workers))
        self._urge(signal.SIGTERM, self._clock() + self._dispatch.limits.shutdown)

    def _stop_at_once(self) -> None:
        """INT, QUIT: claims come back; who is past its final dot has a moment to hear the reply. Again: killed."""
        harder = signal.SIGKILL if self._urged in (signal.SIGINT, signal.SIGKILL) else signal.SIGINT
        self._urge(harder, self._clock() + AT_ONCE)

    def _out_of_time(self) -> None:
        """After TERM: who is past its final dot is left to wait for the reply. After INT: nobody."""
        log.warning("time to stop is over", workers=len(self._workers))
        self._urge(signal.SIGKILL if self._urged == signal.SIGINT else signal.SIGINT, _NEVER)

    def _urge(self, number: signal.Signals, stop_by: float) -> None:
        self._urged, self._stop_by = number, stop_by
        self._tell_workers(number)
        if number != signal.SIGTERM:
            for pid in self._recovering:
                os.kill(pid, signal.SIGKILL)  # the next supervisor begins it anew

    def _tell_workers(self, number: int) -> None:
        for worker in self._workers.values():
            worker.leaving = True
            worker.signal(number)

    def _dump(self) -> None:
        """USR2: the scoreboard to the log."""
        now = self._clock()
        for worker in self._workers.values():
            entry = worker.slot.read()
            log.info(
                "scoreboard",
                worker=worker.serial,
                pid=worker.pid,
                destination=worker.destination,
                phase=entry.phase.name,
                host=entry.host,
                seconds=round(now - entry.since),
                jobs=worker.jobs_done,
            )
        log.info("scoreboard", workers=len(self._workers), waiting=len(self._dispatch), delivered=self._delivered)

    # --- looking

    def _look_if_due(self) -> None:
        now = self._clock()
        if self._stopping or self._look.left(now) > 0:
            return
        if now >= self._next_tick:
            look = self._tick
            self._next_tick = now + self._dispatch.limits.tick
        elif now >= max(self._next_poke, self._quiet_until) or self._dispatch.hungry():
            look = Look.POKED
        else:
            return
        self._next_poke = _NEVER
        self._dispatch.looked()
        try:
            self._dispatch.offer(self._work.jobs(look))
        except Exception as error:  # noqa: BLE001 - not even an override's bug ends the daemon
            self._look.begin(now, str(error) if isinstance(error, SpoolError) else repr(error))
            self._next_tick = now  # as soon as the pause is over
            return
        self._look.over()
        if look is Look.ALL:
            self._tick = Look.TICK
        self._dispatch.forget_idle(now)
        done = self._clock()
        self._quiet_until = done + (done - now) * POKE_SHARE

    def _poked(self) -> str:
        self._next_poke = min(self._next_poke, self._clock())
        return ""

    def _look_everywhere(self) -> str:
        """The next tick is now, and leaves no place out."""
        self._next_tick, self._tick = self._clock(), Look.ALL
        return "looking"

    # --- work

    def _show_title(self) -> None:
        active = sum(1 for worker in self._workers.values() if worker.batch)
        title = f"mailspool: supervisor [{active} active, {len(self._dispatch)} waiting]"
        if title != self._title:
            self._title = title
            setproctitle(title)

    def _assign(self) -> None:
        """Give every idle worker a batch, and fork more while there are jobs that may go."""
        now = self._clock()
        if self._stopping or self._fault.left(now) > 0:
            return
        for worker in list(self._workers.values()):
            if not (worker.batch or worker.leaving):
                self._give(worker, now)
        while len(self._workers) < self._dispatch.limits.workers and self._fork.left(now) <= 0:
            if not self._dispatch.ready(now) or not (forked := self._fork_worker()):
                break
            self._give(forked, now)

    def _give(self, worker: Worker, now: float) -> None:
        spare = len(self._workers) < self._dispatch.limits.workers
        batch = self._dispatch.next_batch(now, worker.destination, spare=spare)
        if batch:
            try:
                worker.give(batch)
            except OSError:  # it has ended and will be reaped
                self._dispatch.lost(batch)
                worker.batch = []
        elif now - worker.idle_since > IDLE_WORKER:
            self._retire(worker)

    def _fork_worker(self) -> Worker | None:
        slot = self._scoreboard.take()
        try:
            worker = fork_worker(self._work, self._serial + 1, slot, self._clock, self._release_in_child)
        except OSError as error:
            self._scoreboard.give_back(slot)
            self._fork.begin(self._clock(), str(error))
            return None
        self._serial += 1
        worker.idle_since = self._clock()
        self._workers[worker.pid] = worker
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        return worker

    def _release_in_child(self) -> None:
        """In a child: close what is the parent's, so that each end of a channel has one holder."""
        forget_in_child()
        self._selector.close()
        self._control.close(unlink=False)
        for worker in self._workers.values():
            worker.channel.close()

    def _hear(self, worker: Worker) -> None:
        """A worker reports, or its channel has ended."""
        results = worker.report()
        if results is None:
            self._retire(worker)  # it is about to be reaped
            return
        batch, worker.batch = worker.batch, []
        now = self._clock()
        self._dispatch.finished(batch, results, now)
        worker.jobs_done += len(results)
        worker.idle_since = now
        self._delivered += results.count(Result.DELIVERED)
        self._fork.over()
        if Result.FAULT in results:
            self._fault.begin(now, "see the worker's own message")
        else:
            self._fault.over()
        if worker.jobs_done >= self._dispatch.limits.worker_jobs:
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        if not worker.closed:
            self._selector.unregister(worker.channel)
            worker.retire()

    # --- children that end

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            ended = Ended(pid, status)
            if worker := self._workers.pop(pid, None):
                self._bury(worker, ended)
            elif tasks := self._recovering.pop(pid, None):
                self._recovered(tasks, ended)

    def _bury(self, worker: Worker, ended: Ended) -> None:
        self._drain(worker)
        self._retire(worker)
        self._scoreboard.give_back(worker.slot)
        if worker.batch:
            self._dispatch.lost(worker.batch)
            self._poked()
        if ended.status:
            log.error("worker ended", worker=worker.serial, pid=ended.pid, how=ended.how)
            self._to_recover.append(partial(self._work.recover_worker, worker.serial, ended.how))
            if not worker.jobs_done:
                self._fork.begin(self._clock(), f"worker ended by {ended.how} before its first job was done")

    def _drain(self, worker: Worker) -> None:
        """Its last report may still be on the way."""
        if not worker.closed and worker.batch:
            worker.channel.setblocking(False)
            self._hear(worker)

    def _kill_overdue(self) -> None:
        """The last of the three deadlines: for what SIGALRM cannot interrupt."""
        now = self._clock()
        for worker in self._workers.values():
            entry = worker.slot.read()
            if now > entry.until:
                log.error("worker overdue, killed", worker=worker.serial, phase=entry.phase.name, host=entry.host)
                worker.signal(signal.SIGKILL)
                worker.slot.write(entry.phase, entry.host, _NEVER, entry.since)  # it may hang in the kernel for long
                # Once is enough: one that hangs in a system call dies when that returns, and nobody else writes here.
                worker.slot.write(entry.phase, entry.host, _NEVER, entry.since)
        if now > self._stop_by:
            self._out_of_time()

    def _recover(self) -> None:
        """In a child: a rename can hang on a file server."""
        if not self._to_recover or (self._recovery.left(self._clock()) > 0 and not self._stopping):
            return
        tasks, self._to_recover = self._to_recover, []

        def in_child() -> None:
            self._release_in_child()
            for task in tasks:
                task()

        try:
            pid = fork_child("mailspool: recover", in_child)
        except OSError as error:
            self._recover_later(tasks, str(error))
        else:
            self._recovering[pid] = tasks

    def _recovered(self, tasks: list[Task], ended: Ended) -> None:
        if ended.status:
            self._recover_later(tasks, f"ended by {ended.how}")
        else:
            self._recovery.over()
            self._poked()  # what was recovered may be due

    def _recover_later(self, tasks: list[Task], why: str) -> None:
        """If we are stopping, the next supervisor will."""
        self._recovery.begin(self._clock(), why)
        if not self._stopping:
            self._to_recover = tasks + self._to_recover

    # --- waiting and answering

    def _wait(self) -> None:
        self._show_title()
        for key, _ in self._selector.select(self._seconds_to_sleep()):
            if isinstance(key.data, Worker):
                self._hear(key.data)
            elif key.fileobj is self._control:
                self._control.serve()

    def _seconds_to_sleep(self) -> float:
        """Until the next thing that happens by itself."""
        now = self._clock()
        if self._stopping and not self._workers:
            return 0.05
        times = [self._stop_by - now, *(worker.slot.read().until - now for worker in self._workers.values())]
        if not self._stopping:
            look = min(self._next_tick, max(self._next_poke, self._quiet_until)) - now
            times += [max(look, self._look.left(now)), self._dispatch.next_change(now)]
            times += [left for pause in (self._fork, self._fault, self._recovery) if (left := pause.left(now)) > 0]
        return max(0.0, min(IDLE_WORKER, *times))

    def _answers(self) -> dict[str, Callable[[], str]]:
        return {"poke": self._poked, "look": self._look_everywhere, "status": self._status, "reload": self.reload}

    def _status(self) -> str:
        import json  # only who asks pays

        now = self._clock()
        workers = []
        for worker in self._workers.values():
            entry = worker.slot.read()
            seconds = round(now - entry.since, 1) if entry.phase is not Phase.IDLE else 0
            workers.append(
                {
                    "worker": worker.serial,
                    "pid": worker.pid,
                    "destination": worker.destination,
                    "phase": entry.phase.name,
                    "host": entry.host,
                    "seconds": seconds,
                    "jobs": worker.jobs_done,
                }
            )
        return json.dumps(
            {
                "pid": os.getpid(),
                "stopping": self._stopping,
                "workers": workers,
                "waiting": len(self._dispatch),
                "delivered": self._delivered,
                "cooling": {name: round(left) for name, left in self._dispatch.cooling(now).items()},
                "next_look": round(max(0.0, self._next_tick - now), 1),
                **self._work.summary(),
            }
        )
