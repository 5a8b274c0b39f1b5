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
from collections.abc import Callable
from functools import partial

from setproctitle import setproctitle

from mailspool.errors import ConfigError, SpoolError
from mailspool.log import get_logger
from mailspool.supervisor.control import Control
from mailspool.supervisor.job import Look, Work
from mailspool.supervisor.pause import Pause
from mailspool.supervisor.pool import Pool
from mailspool.supervisor.recovery import Recovery
from mailspool.supervisor.signals import Signals, forget_in_child
from mailspool.supervisor.trigger import Trigger
from mailspool.supervisor.worker import Ended, Worker

POKE_SHARE = 4
"""After a look that took t seconds, pokes wait for t times this: a storm of submissions cannot eat the parent."""

AT_ONCE = 5.0
"""Seconds that INT and QUIT leave a worker past its final dot to hear the reply."""

LONGEST_SLEEP = 10.0
"""Seconds; longer than this the parent never sleeps, whatever it has forgotten to think of."""

_NEVER = float("inf")

log = get_logger()


class Supervisor:
    """One per host and spool. `clock` is monotonic: it neither runs while the machine sleeps nor jumps."""

    def __init__(self, work: Work, run_dir: str, clock: Callable[[], float]) -> None:
        self._work, self._run_dir, self._clock = work, run_dir, clock
        self._selector = selectors.DefaultSelector()
        self._pool = Pool(work, self._selector, clock, self._release_in_child, self._abandoned)
        self._recovery = Recovery(self._release_in_child, clock)
        self._recovery.add(work.recover)
        self._look = Pause("look into the spool", clock)
        self._next_tick, self._tick = 0.0, Look.TICK
        self._next_poke = _NEVER
        self._quiet_until = 0.0  # no look for a poke before
        self._urged = 0  # the last signal that told the workers to stop
        self._stop_by = _NEVER  # when to urge harder
        self._title = ""

    # --- the whole daemon

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Until a signal says so. ready: called once, when signals and pokes are heard."""
        with Signals() as self._signals, self._selector:
            self._control = Control(self._run_dir, self._answers())
            self._selector.register(self._signals, selectors.EVENT_READ)
            self._trigger = Trigger(self._run_dir)
            self._selector.register(self._control, selectors.EVENT_READ)
            self._selector.register(self._trigger, selectors.EVENT_READ)
            self._work.preload()
            gc.freeze()  # what is loaded by now stays shared with the children
            log.info("started", run_dir=self._run_dir)
            ready()
            try:
                while not (self._urged and not self._pool and not self._recovery):
                    self._wait()
                    self._handle_signals()
                    self._reap()
                    self._pool.kill_overdue()
                    self._recovery.begin()
                    if self._urged:
                        self._urge_harder_if_due()
                    else:
                        self._look_if_due()
                        self._pool.assign()
            finally:
                self._control.close(unlink=True)
                self._trigger.close(unlink=True)
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
            work.preload()
        except ConfigError as error:
            for problem in error.problems:
                log.warning("reload refused", problem=problem)
            return "refused\n" + str(error)
        except Exception as error:  # not even an override's bug ends the daemon
            log.exception("reload refused")
            return f"refused\n{error!r}"
        self._work = self._pool.work = work
        self._pool.dispatch.limits = work.limits()
        self._pool.tell(signal.SIGTERM)  # the old generation finishes its node and goes
        self._next_tick = self._clock()
        log.info("reloaded")
        return "reloaded"

    def _stop(self) -> None:
        """TERM: no new work; who is at work may finish within `shutdown`, then claims come back. Again: harder."""
        if self._urged:
            self._stop_at_once()
            return
        log.info("stopping", workers=len(self._pool))
        self._urge(signal.SIGTERM, self._clock() + self._pool.dispatch.limits.shutdown)

    def _stop_at_once(self) -> None:
        """INT, QUIT: claims come back; who is past its final dot has a moment to hear the reply. Again: killed."""
        harder = signal.SIGKILL if self._urged in (signal.SIGINT, signal.SIGKILL) else signal.SIGINT
        self._urge(harder, self._clock() + AT_ONCE)

    def _urge_harder_if_due(self) -> None:
        """After TERM: who is past its final dot is left to wait for the reply. After INT: nobody."""
        if self._clock() > self._stop_by:
            log.warning("time to stop is over", workers=len(self._pool))
            self._urge(signal.SIGKILL if self._urged == signal.SIGINT else signal.SIGINT, _NEVER)

    def _urge(self, number: signal.Signals, stop_by: float) -> None:
        self._urged, self._stop_by = number, stop_by
        self._pool.tell(number)
        self._recovery.stop(at_once=number != signal.SIGTERM)

    def _dump(self) -> None:
        """USR2: the scoreboard to the log."""
        for line in self._pool.scoreboard():
            log.info("scoreboard", **line)
        log.info(
            "scoreboard",
            workers=len(self._pool),
            waiting=len(self._pool.dispatch),
            delivered=self._pool.delivered,
        )

    # --- looking

    def _look_if_due(self) -> None:
        now = self._clock()
        if self._look.left:
            return
        if now >= self._next_tick:
            look = self._tick
            self._next_tick = now + self._pool.dispatch.limits.tick
        elif now >= max(self._next_poke, self._quiet_until) or self._pool.dispatch.hungry():
            look = Look.POKED
        else:
            return
        self._next_poke = _NEVER
        self._pool.dispatch.looked()
        try:
            self._pool.dispatch.offer(self._work.jobs(look))
        except Exception as error:  # noqa: BLE001 - not even an override's bug ends the daemon
            self._look.begin(str(error) if isinstance(error, SpoolError) else repr(error))
            self._next_tick = now  # as soon as the pause is over
            return
        self._look.over()
        if look is Look.ALL:
            self._tick = Look.TICK
        self._pool.dispatch.forget_idle(now)
        done = self._clock()
        self._quiet_until = done + (done - now) * POKE_SHARE

    def _poked(self) -> None:
        self._next_poke = min(self._next_poke, self._clock())

    def _look_everywhere(self) -> str:
        """An operator asks: the next tick is now, leaves no place out and spares no destination."""
        self._pool.dispatch.end_cool_downs()
        self._next_tick, self._tick = self._clock(), Look.ALL
        return "looking"

    # --- children

    def _reap(self) -> None:
        while True:
            try:
                child = Ended(*os.waitpid(-1, os.WNOHANG))
            except ChildProcessError:
                return
            if not child.pid:
                return
            if self._pool.ended(child) or self._recovery.ended(child):
                self._poked()  # what was given back may be due

    def _abandoned(self, serial: int, how: str) -> None:
        self._recovery.add(partial(self._work.recover_worker, serial, how))

    def _release_in_child(self) -> None:
        """Close what is the parent's."""
        forget_in_child()
        self._selector.close()
        self._control.close(unlink=False)
        self._trigger.close(unlink=False)
        self._pool.close_in_child()

    # --- waiting and answering

    def _wait(self) -> None:
        self._show_title()
        for key, _ in self._selector.select(self._seconds_to_sleep()):
            if isinstance(key.data, Worker):
                self._pool.hear(key.data)
            elif key.fileobj is self._control:
                self._control.serve()
            elif key.fileobj is self._trigger:
                self._trigger.clear()
                self._poked()

    def _seconds_to_sleep(self) -> float:
        """Until the next thing that happens by itself."""
        now = self._clock()
        times = [LONGEST_SLEEP, *self._pool.next_events()]
        if self._urged:
            times.append(self._stop_by - now)
        else:
            look = min(self._next_tick, max(self._next_poke, self._quiet_until)) - now
            times.append(max(look, self._look.left))
        if self._recovery.pause.left:
            times.append(self._recovery.pause.left)
        return max(0.0, min(times))

    def _show_title(self) -> None:
        title = f"mailspool: supervisor [{self._pool.active} active, {len(self._pool.dispatch)} waiting]"
        if title != self._title:
            self._title = title
            setproctitle(title)

    def _answers(self) -> dict[str, Callable[[], str]]:
        return {"look": self._look_everywhere, "status": self._status, "reload": self.reload}

    def _status(self) -> str:
        import json  # only who asks pays

        now = self._clock()
        return json.dumps(
            {
                "pid": os.getpid(),
                "stopping": bool(self._urged),
                "workers": self._pool.scoreboard(),
                "waiting": len(self._pool.dispatch),
                "delivered": self._pool.delivered,
                "cooling": {name: round(left) for name, left in self._pool.dispatch.cooling(now).items()},
                "next_look": round(max(0.0, self._next_tick - now), 1),
                **self._work.summary(),
            }
        )
