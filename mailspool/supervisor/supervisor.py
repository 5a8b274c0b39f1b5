# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The parent: wakes, looks, assigns, hears, reaps. It opens no message, resolves no name and speaks to no host.

The whole daemon is `run`. Everything that can stop the parent is somewhere else: in a worker, whose deadline the
parent enforces, or in a service child. A fork that fails, a look that fails and a worker that dies are logged and
tried again later; only a signal ends it.
"""

import gc
import os
import selectors
import signal
import time
from collections.abc import Callable
from functools import partial

from mailspool.errors import ConfigError
from mailspool.log import get_logger, reopen
from mailspool.supervisor.anew import Anew
from mailspool.supervisor.child import Ended
from mailspool.supervisor.control import Control
from mailspool.supervisor.job import Work
from mailspool.supervisor.lookout import Lookout
from mailspool.supervisor.looks import Looks
from mailspool.supervisor.notify import Notifier
from mailspool.supervisor.pause import FIRST_PAUSE, Pause
from mailspool.supervisor.pool import Pool
from mailspool.supervisor.recovery import Recovery
from mailspool.supervisor.scout import Scout
from mailspool.supervisor.service import Services
from mailspool.supervisor.shutdown import Shutdown
from mailspool.supervisor.signals import Signals, has_terminal
from mailspool.supervisor.status import Status
from mailspool.supervisor.title import Title
from mailspool.supervisor.trigger import Trigger
from mailspool.supervisor.worker import Worker

LONGEST_SLEEP = 10.0
"""Seconds; longer than this the parent never sleeps, whatever it has forgotten to think of: see `workers.SLEPT`."""

LATE = 0.1
"""Seconds by which what happens by itself may be seen to late: not with each report, while there are many."""

log = get_logger()


class Supervisor:
    """One per host and spool. `clock` is monotonic: it neither runs while the machine sleeps nor jumps."""

    def __init__(self, work: Work, run_dir: str, clock: Callable[[], float]) -> None:
        self._run_dir, self._clock = run_dir, clock
        self._selector = selectors.DefaultSelector()
        self._pool = Pool(work, self._selector, clock, self._release_all_in_child, self._abandoned)
        self._looks = Looks(work, self._pool.dispatch, self._selector, clock, self._release_all_in_child)
        self._recovery = Recovery(self._release_all_in_child, clock)
        self._recovery.add(work.recover)
        self._services = Services(work.services(), self._release_in_child, clock)
        self._shutdown = Shutdown(self._pool, self._recovery, self._services, clock)
        self._status = Status(self._pool, self._looks, self._recovery, self._services, self._shutdown, clock)
        self._trouble = Pause("supervise", clock)
        self._anew = Anew(self._release_all_in_child, clock)
        self._notifier = Notifier(clock)
        self._title = Title(clock)
        self._due = 0.0  # when there is more to be seen to than who speaks

    # --- the whole daemon

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Until a signal says so. ready: called once, when signals and pokes are heard."""
        with Signals() as self._signals, self._selector:
            self._control = Control(self._run_dir, self._answers())
            self._trigger = Trigger(self._run_dir)
            try:
                for heard in (self._signals, self._control, self._trigger):
                    self._selector.register(heard, selectors.EVENT_READ)
                self._pool.work.preload()
                gc.freeze()  # what is loaded by now stays shared with the children
                log.info("started", run_dir=self._run_dir)
                self._show()  # what systemd tells of us is there with the word that we are ready
                ready()
                self._notifier.ready()
                while not self._shutdown.over:
                    self._turn_or_wait()
            finally:
                self._services.close(unlink=True)
                self._control.close(unlink=True)
                self._trigger.close(unlink=True)
        log.info("stopped")

    def _turn_or_wait(self) -> None:
        """No memory, no descriptor: what nobody below expected is waited out. Only bugs of our own end us."""
        try:
            self._turn()
        except (OSError, MemoryError) as error:
            self._trouble.begin(repr(error))
            self._pool.workers.tell(signal.SIGTERM)  # what was half done with one of them is found again after its end
            time.sleep(min(FIRST_PAUSE, self._trouble.left))  # a watchdog and signals do not wait for long
        else:
            self._trouble.over()

    def _turn(self) -> None:
        """Hear who speaks, and give what may go. What no report changes is seen to when it is due, all at once."""
        self._wait()
        is_due = self._clock() >= self._due
        if is_due:
            self._see_to_the_rest()
        if not self._shutdown:
            self._looks.look_if_due(self._pool.work)
            self._pool.assign()
        if is_due:
            self._show()
            self._due = self._clock() + self._seconds_to_sleep()
        else:
            self._due = min(self._due, self._clock() + LATE)

    def _see_to_the_rest(self) -> None:
        self._handle_signals()
        if self._pool.work.lease.lost:
            self._begin_anew()
        self._reap()
        self._pool.see_to_time()
        self._shutdown.end_if_due()
        self._recovery.begin()
        self._services.begin()
        self._attend_scout()
        self._notifier.ping_if_due()
        self._shutdown.harder_if_due()

    # --- signals and requests: docs/signals.md

    def _handle_signals(self) -> None:
        handlers: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGHUP: self._reload,
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop_at_once,
            signal.SIGQUIT: self._stop_at_once,
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGUSR2: self._status.log,
            signal.SIGTTIN: partial(self._resize, 1),
            signal.SIGTTOU: partial(self._resize, -1),
            signal.SIGWINCH: self._pause,
        }
        for number in self._signals.take():
            if handler := handlers.get(number):
                handler()

    def _answers(self) -> dict[str, Callable[[str], str]]:
        return {
            "look": lambda _: self._look_everywhere(),
            "status": self._status.json,
            "reload": lambda _: self._reload(),
        }

    def _stop(self) -> None:
        self._begin_to_stop()
        self._shutdown.gently()

    def _stop_at_once(self) -> None:
        self._begin_to_stop()
        self._shutdown.at_once()

    def _begin_to_stop(self) -> None:
        self._notifier.stopping()
        self._looks.end()  # now, so that it is gone when we are

    def _reload(self) -> str:
        """Read and check everything, then switch; a bad configuration is refused and the old one stays."""
        if self._shutdown:
            return "refused\nthe supervisor is stopping"
        self._notifier.reloading()
        try:
            return self._switch()
        except ConfigError as error:
            for problem in error.problems:
                log.error("reload refused", problem=problem)  # noqa: TRY400 - no fault of the code
            return f"refused\n{error}"
        except Exception as error:  # not even an override's bug ends the daemon
            log.exception("reload refused")
            return f"refused\n{error!r}"
        finally:
            self._notifier.ready()

    def _switch(self) -> str:
        """To the new configuration. Raises ConfigError, and whatever an override does."""
        work, changed, kept = self._pool.work.reload()
        work.preload()
        self._pool.renew(work)
        self._services.replace(work.services())
        self._recovery.add(self._rearrange)
        self._looks.begin_anew(work)
        log.info("reloaded", generation=self._pool.generation, changed="; ".join(changed))
        if kept:
            log.warning("unchanged until the next restart", options="; ".join(kept))
        return "\n".join(("reloaded", *changed, *(f"{change}, once mailspoold is restarted" for change in kept)))

    def _reopen_logs(self) -> None:
        reopen()
        self._pool.workers.pass_on(signal.SIGUSR1)
        self._services.pass_on(signal.SIGUSR1)
        self._looks.pass_on(signal.SIGUSR1)
        log.info("logs reopened")

    def _resize(self, by: int) -> None:
        """One worker more or less, until the next reload."""
        log.info("workers wanted", workers=self._pool.resize(by))

    def _pause(self) -> None:
        """Nothing more is begun until the next reload; workers finish their node and go."""
        if self._shutdown or has_terminal():  # to which WINCH says that its window has another size
            return
        self._pool.pause()
        log.warning("paused until the next HUP")

    def _look_everywhere(self) -> str:
        """An operator asks: the next tick is now, leaves no place out and spares no destination."""
        self._pool.dispatch.end_cool_downs()
        self._looks.everywhere()
        return "looking"

    def _begin_anew(self) -> None:
        """Others took us for dead, and do our jobs: who is at one stops at once, and we go on as somebody new."""
        self._pool.workers.tell(signal.SIGKILL)
        if self._shutdown or not (work := self._anew.successor(self._pool.work)):
            return
        self._pool.work = work
        self._pool.dispatch.forget_waiting()
        self._services.replace(work.services())
        self._recovery.add(work.recover)
        self._looks.begin_anew(work)
        log.warning("began anew, since others took this supervisor for dead")

    # --- children

    def _reap(self) -> None:
        while True:
            try:
                child = Ended(*os.waitpid(-1, os.WNOHANG))
            except ChildProcessError:
                return
            if not child.pid:
                return
            if self._services.ended(child) or self._looks.ended(child) or self._anew.ended(child):
                continue
            if self._pool.ended(child) or self._recovery.ended(child):
                self._looks.poked()  # what was given back may be due

    def _attend_scout(self) -> None:
        scout = self._services.find(Scout)
        if scout and not scout.listens(self._clock()):
            log.error("scout does not listen, killed")
            self._services.kill(scout)
        self._pool.attend(scout, runs=self._services.runs(scout))

    def _abandoned(self, serial: int, how: str) -> None:
        self._recovery.add(partial(self._pool.work.recover_worker, serial, how))

    def _rearrange(self) -> None:
        self._pool.work.rearrange()

    def _release_all_in_child(self) -> None:
        """Close what is the parent's, and what is held open for the services."""
        self._release_in_child()
        self._services.close(unlink=False)

    def _release_in_child(self) -> None:
        """Close what is the parent's."""
        self._selector.close()
        self._control.close(unlink=False)
        self._trigger.close(unlink=False)
        self._notifier.close()
        self._pool.close_in_child()
        self._looks.close_in_child()

    # --- waiting

    def _wait(self) -> None:
        for key, _ in self._selector.select(max(0.0, self._due - self._clock())):
            if isinstance(key.data, Worker):
                self._pool.hear(key.data)
            elif isinstance(key.data, Lookout):
                self._looks.hear(key.data)
            elif isinstance(key.data, Scout):
                self._pool.hear_scout()
            elif key.fileobj is self._trigger:
                self._trigger.clear()
                self._looks.poked()
            else:  # signals, which are taken later, or an administrator
                self._due = 0.0
                if key.fileobj is self._control:
                    self._control.serve()

    def _seconds_to_sleep(self) -> float:
        """Until the next thing that happens by itself."""
        times = [LONGEST_SLEEP, self._notifier.left, self._title.left, *self._pool.next_events()]
        times.append(self._shutdown.left if self._shutdown else self._looks.left)
        times.append(self._services.left)
        times += [pause.left for pause in (self._recovery.pause, self._anew.pause) if pause.left]
        return max(0.0, min(times))

    def _show(self) -> None:
        """In the title, and to systemd."""
        line = self._status.line()
        if self._title.show(line):
            self._notifier.status(line)
