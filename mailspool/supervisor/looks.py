# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""When the spool is looked into: at each tick, when poked, when somebody asks; and not while looking fails."""

from collections.abc import Callable

from mailspool.errors import SpoolError
from mailspool.supervisor.dispatch import Dispatch
from mailspool.supervisor.job import Look, Work
from mailspool.supervisor.pause import FIRST_PAUSE, Pause

POKE_SHARE = 4
"""After a look that took t seconds, pokes wait for t times this: a storm of submissions cannot eat the parent."""

_NEVER = float("inf")


class Looks:
    """What they find is offered to `dispatch`. clock: monotonic seconds."""

    def __init__(self, dispatch: Dispatch, clock: Callable[[], float]) -> None:
        self._dispatch, self._clock = dispatch, clock
        self._pause = Pause("look into the spool", clock)
        self._late = Pause("look into the spool", clock, FIRST_PAUSE)  # to ask whether it is over costs nothing
        self._next_tick, self._tick = 0.0, Look.TICK
        self._next_poke = _NEVER
        self._quiet_until = 0.0  # no look for a poke before

    def poked(self) -> None:
        """Something has come in, or back."""
        self._next_poke = min(self._next_poke, self._clock())

    def everywhere(self) -> None:
        """The next tick is now, and leaves no place out."""
        self._next_tick, self._tick = self._clock(), Look.ALL

    @property
    def next_tick(self) -> float:
        """Seconds until the next tick."""
        return max(0.0, self._next_tick - self._clock())

    @property
    def left(self) -> float:
        """Seconds until the next look, for whatever reason."""
        at = min(self._next_tick, max(self._next_poke, self._quiet_until))
        return max(at - self._clock(), self._pause.left, self._late.left)

    def look_if_due(self, work: Work) -> None:
        """Look, if it is time to."""
        now = self._clock()
        if look := self._due(now):
            if work.lease.late:  # a look would hang, and we with it: no worker was killed, no signal heard
                self._late.begin("the file server does not answer")
                return
            self._late.over()
            self._look(work, look, now)

    def _due(self, now: float) -> Look | None:
        if self._pause.left or self._late.left:
            return None
        if now >= self._next_tick:
            return self._tick
        if now >= max(self._next_poke, self._quiet_until) or self._dispatch.hungry():
            return Look.POKED
        return None

    def _look(self, work: Work, look: Look, now: float) -> None:
        self._next_poke = _NEVER
        self._dispatch.looked(now)
        try:
            self._dispatch.offer(work.jobs(look))
        except Exception as error:  # noqa: BLE001 - not even an override's bug ends the daemon
            self._pause.begin(str(error) if isinstance(error, SpoolError) else repr(error))
            self._next_tick = now  # as soon as the pause is over
            return
        self._pause.over()
        if look is not Look.POKED:
            self._next_tick, self._tick = now + self._dispatch.limits.tick, Look.TICK
        self._dispatch.forget_idle(now)
        done = self._clock()
        self._quiet_until = done + (done - now) * POKE_SHARE
