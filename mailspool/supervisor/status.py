# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the supervisor tells of itself: one line for its title, all of it for `mailspool status`, and for the log."""

import os
from collections.abc import Callable
from itertools import islice

from mailspool.log import drops, get_logger
from mailspool.supervisor.looks import Looks
from mailspool.supervisor.pool import Pool
from mailspool.supervisor.recovery import Recovery
from mailspool.supervisor.service import Services
from mailspool.supervisor.shutdown import Shutdown

_MOST = 1000  # of what there may be any number of: an answer must be read in time

log = get_logger()


class Status:
    """It only asks those who know. clock: monotonic seconds."""

    def __init__(
        self,
        pool: Pool,
        looks: Looks,
        recovery: Recovery,
        services: Services,
        shutdown: Shutdown,
        clock: Callable[[], float],
    ) -> None:
        self._pool, self._looks, self._recovery, self._services = pool, looks, recovery, services
        self._shutdown, self._clock = shutdown, clock

    def line(self) -> str:
        """As "3 active, 12 deferred, next look 14s"."""
        words = [f"{self._pool.active} active", f"{self._looks.deferred} deferred"]
        if self._shutdown:
            words.insert(0, "stopping")
        elif self._pool.paused:
            words.insert(0, "paused")
        else:
            words.append(f"next look {self._looks.next_tick:.0f}s")
        return ", ".join(words)

    def log(self) -> None:
        """The scoreboard, a line for each worker, and the figures."""
        for line in self._pool.workers.scoreboard():
            log.info("scoreboard", **line)
        log.info("scoreboard", **self._figures())

    def json(self, about: str = "") -> str:
        """One object, as the control socket answers it. about: the only destination whose waiting is told."""
        import json  # only who asks pays

        now, pool = self._clock(), self._pool
        cooling = pool.dispatch.cooling(now)
        return json.dumps(
            {
                "pid": os.getpid(),
                "stopping": bool(self._shutdown),
                "workers": self._pool.workers.scoreboard(),
                "services": [{"role": role, "pid": pid} for role, pid in self._running()],
                **self._figures(),
                "cooling": {name: round(left) for name, left in cooling.items()},
                "held": {name: held._asdict() for name, held in islice(pool.dispatch.held_back(now, about), _MOST)},
                "appointments": dict(islice(pool.appointments.times(now, about), _MOST)),
                "alarms": self._pool.alarms.lines(),
                "looking": round(self._looks.looking, 6),  # 0 only if there is no look
                "next_look": round(self._looks.next_tick, 1),
                **self._looks.summary,
            }
        )

    def _running(self) -> list[tuple[str, int]]:
        lookout = (("lookout", pid) for pid in self._looks.pids)
        return [*self._services.pids, *lookout, *(("recover", pid) for pid in self._recovery.pids)]

    def _figures(self) -> dict[str, object]:
        return {
            "generation": self._pool.generation,
            "paused": self._pool.paused,
            "workers_wanted": self._pool.dispatch.limits.workers,
            "workers_actual": len(self._pool.workers),
            "owners": self._pool.work.owners,
            "waiting": len(self._pool.dispatch),
            "delivered": self._pool.delivered,
            "log_drops": drops(),
        }
