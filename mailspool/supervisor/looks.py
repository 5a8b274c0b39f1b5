# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""When the spool is looked into: at each tick, when poked, when somebody asks; and not while looking fails.

The look itself is the lookout's: this only asks for it, and offers what it finds as it comes. A lookout that ends or
hangs is replaced; nobody waits for it.
"""

import selectors
import signal
from collections.abc import Callable
from typing import NamedTuple

from mailspool.log import get_logger
from mailspool.supervisor.child import Ended
from mailspool.supervisor.dispatch import Dispatch
from mailspool.supervisor.job import Look, Work
from mailspool.supervisor.lookout import Findings, Lookout, fork_lookout
from mailspool.supervisor.pause import FIRST_PAUSE, Pause
from mailspool.supervisor.station import LOCAL_PATIENCE

POKE_SHARE = 4
"""After a look that took t seconds, pokes wait for t times this: a storm of submissions cannot eat a processor."""

MAX_LEAVING = 1
"""Lookouts that were let go and have not ended, beside which another is forked: a dead disk shall not fill the machine
with those that SIGKILL does not reach."""

_NEVER = float("inf")

log = get_logger()


class _Asked(NamedTuple):
    look: Look
    since: float
    until: float  # when it is overdue, unless it tells something before


class Looks:
    """What they find is offered to `dispatch`. clock: monotonic seconds. release_in_child: as of `Pool`.

    summary, deferred: see `job.Work`, as of the last look.
    """

    def __init__(
        self,
        work: Work,
        dispatch: Dispatch,
        selector: selectors.BaseSelector,
        clock: Callable[[], float],
        release_in_child: Callable[[], None],
    ) -> None:
        self._dispatch, self._selector, self._clock = dispatch, selector, clock
        self._release_in_child = release_in_child
        self._pause = Pause("look into the spool", clock)
        self._late = Pause("look into the spool", clock, FIRST_PAUSE)  # to ask whether it is over costs nothing
        self._next_tick, self._tick = 0.0, Look.TICK
        self._next_poke = _NEVER
        self._quiet_until = 0.0  # no look for a poke before
        self._lookout: Lookout | None = None
        self._asked: _Asked | None = None
        self._leaving: set[int] = set()  # pids of those that were let go
        self.summary, self.deferred = work.summary(), work.deferred()

    # --- reasons to look

    def poked(self) -> None:
        """Something has come in, or back."""
        self._next_poke = min(self._next_poke, self._clock())

    def everywhere(self) -> None:
        """The next tick is now, and leaves no place out."""
        self._next_tick, self._tick = self._clock(), Look.ALL

    def begin_anew(self, work: Work) -> None:
        """There is another work: what is being found under the old one counts no more."""
        self.end()
        self.summary, self.deferred = work.summary(), work.deferred()
        self.everywhere()

    @property
    def next_tick(self) -> float:
        """Seconds until the next tick."""
        return max(0.0, self._next_tick - self._clock())

    @property
    def left(self) -> float:
        """Seconds until the next look, for whatever reason, or until the present one is overdue."""
        if self._asked:
            return self._asked.until - self._clock()
        at = min(self._next_tick, max(self._next_poke, self._quiet_until))
        return max(at - self._clock(), self._pause.left, self._late.left)

    @property
    def looking(self) -> float:
        """Seconds since the present look began, 0 if there is none."""
        return self._clock() - self._asked.since if self._asked else 0.0

    # --- looking

    def look_if_due(self, work: Work) -> None:
        """Ask for a look, if it is time to and none is under way."""
        now = self._clock()
        if self._asked:
            self._kill_if_overdue(self._asked, now)
        elif look := self._due(now):
            if work.lease.late:  # it would hang
                self._late.begin("the file server does not answer")
                return
            self._late.over()
            self._ask(work, look, now)

    def _due(self, now: float) -> Look | None:
        if self._pause.left or self._late.left or len(self._leaving) > MAX_LEAVING:
            return None
        if now >= self._next_tick:
            return self._tick
        if now >= max(self._next_poke, self._quiet_until) or self._dispatch.hungry():
            return Look.POKED
        return None

    def _ask(self, work: Work, look: Look, now: float) -> None:
        try:
            if self._lookout is None:
                self._lookout = self._fork(work)
            self._lookout.ask(look)
        except OSError as error:
            self._failed(look, str(error))
            return
        self._asked = _Asked(look, now, now + LOCAL_PATIENCE)
        self._dispatch.looked(now)
        self._next_poke = _NEVER
        if look is not Look.POKED:
            self._next_tick, self._tick = now + self._dispatch.limits.tick, Look.TICK

    def _fork(self, work: Work) -> Lookout:
        lookout = fork_lookout(work, self._release_in_child)
        try:
            self._selector.register(lookout.channel, selectors.EVENT_READ, lookout)
        except OSError:
            lookout.close()
            raise
        return lookout

    def hear(self, lookout: Lookout) -> None:
        """It has found something, or it is about to be reaped."""
        if lookout.closed:  # let go of in this very turn
            return
        piece = lookout.hear()
        if piece is None:
            self._close(lookout)
        elif self._asked:
            now = self._clock()
            self._asked = self._asked._replace(until=now + LOCAL_PATIENCE)
            self._dispatch.offer(piece.jobs)
            if piece.findings:
                self._over(self._asked.look, piece.findings, now)

    def _over(self, look: Look, findings: Findings, now: float) -> None:
        self._end_look()
        self._dispatch.forget_idle(now)
        self._quiet_until = now + findings.seconds * POKE_SHARE
        self.summary, self.deferred = findings.summary, findings.deferred
        if findings.error:
            self._failed(look, findings.error)
        else:
            self._pause.over()

    def _failed(self, look: Look, why: str) -> None:
        """There is another tick as soon as the pause is over."""
        self._pause.begin(why)
        self._next_tick = self._clock()
        self._tick = Look.ALL if Look.ALL in (look, self._tick) else Look.TICK

    # --- the lookout's end

    def ended(self, child: Ended) -> bool:
        """A child was reaped. Whether it was a lookout."""
        if child.pid in self._leaving:
            self._leaving.discard(child.pid)
            return True
        if self._lookout is None or child.pid != self._lookout.pid:
            return False
        asked = self._asked
        self.end()
        self._leaving.discard(child.pid)
        if asked:
            self._failed(asked.look, f"the lookout ended by {child.how}")
        return True

    def _kill_if_overdue(self, asked: _Asked, now: float) -> None:
        if self._lookout and now >= asked.until:
            log.error("lookout overdue, killed", pid=self._lookout.pid, look=asked.look.name)
            self._lookout.signal(signal.SIGKILL)
            self.end()
            self._failed(asked.look, "the lookout did not answer")

    def end(self) -> None:
        """Let go of the lookout: it ends when it has done what it is at, at the latest with the supervisor."""
        if self._lookout:
            self._close(self._lookout)
            self._leaving.add(self._lookout.pid)
        self._lookout = None
        self._end_look()

    def _end_look(self) -> None:
        self._asked = None
        self._dispatch.look_over()

    def _close(self, lookout: Lookout) -> None:
        if not lookout.closed:
            self._selector.unregister(lookout.channel)
            lookout.close()

    def close_in_child(self) -> None:
        """Each end of a channel has one holder."""
        if self._lookout:
            self._lookout.channel.close()

    def pass_on(self, number: int) -> None:
        """Send a signal that ends nobody."""
        if self._lookout:
            self._lookout.signal(number)

    @property
    def pids(self) -> list[int]:
        """Of the lookout, if there is one."""
        return [self._lookout.pid] if self._lookout else []
