# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The end: gentle (TERM), at once (INT, QUIT), and harder each time it is asked for again or takes too long.

From a delivery's final dot on only SIGKILL interrupts it, and after a gentle beginning not even that.
"""

import signal
from collections.abc import Callable

from mailspool.log import get_logger
from mailspool.supervisor.pool import Pool
from mailspool.supervisor.recovery import Recovery
from mailspool.supervisor.service import Services

AT_ONCE = 5.0
"""Seconds that INT and QUIT leave a worker past its final dot to hear the reply."""

_NEVER = float("inf")

log = get_logger()


class Shutdown:
    """False until it has begun. clock: monotonic seconds."""

    def __init__(self, pool: Pool, recovery: Recovery, services: Services, clock: Callable[[], float]) -> None:
        self._pool, self._recovery, self._services, self._clock = pool, recovery, services, clock
        self._urged = 0  # the last signal that told the workers to stop
        self._stop_by = _NEVER  # when to urge harder
        self._ending = False  # nobody is at work any more

    def __bool__(self) -> bool:
        return bool(self._urged)

    @property
    def over(self) -> bool:
        """Nothing is left to wait for."""
        return self._ending and not self._recovery

    @property
    def left(self) -> float:
        """Seconds until it gets harder by itself."""
        return self._stop_by - self._clock()

    def gently(self) -> None:
        """TERM: no new work; who is at work may finish within `shutdown`, then claims come back. Again: harder."""
        if self._urged:
            self.at_once()
            return
        log.info("stopping", workers=len(self._pool.workers))
        self._urge(signal.SIGTERM, self._clock() + self._pool.dispatch.limits.shutdown)

    def at_once(self) -> None:
        """INT, QUIT: claims come back; who is past its final dot has a moment to hear the reply. Again: killed."""
        harder = signal.SIGKILL if self._urged in (signal.SIGINT, signal.SIGKILL) else signal.SIGINT
        self._urge(harder, self._clock() + AT_ONCE)

    def harder_if_due(self) -> None:
        """After TERM: who is past its final dot is left to wait for the reply. After INT: nobody."""
        if self._urged and self.left < 0:
            log.warning("time to stop is over", workers=len(self._pool.workers))
            self._urge(signal.SIGKILL if self._urged == signal.SIGINT else signal.SIGINT, _NEVER)

    def end_if_due(self) -> None:
        """Once all others have ended: what they relied on is given up, for which there is a moment."""
        if self._urged and not (self._ending or self._pool.workers or self._recovery or self._services):
            self._ending, self._stop_by = True, self._clock() + AT_ONCE
            self._services.finish()
            self._recovery.add(self._pool.work.end)

    def _urge(self, number: signal.Signals, stop_by: float) -> None:
        self._urged, self._stop_by = number, stop_by
        self._pool.workers.tell(number)
        self._services.stop(number)
        self._recovery.stop(at_once=number != signal.SIGTERM)
