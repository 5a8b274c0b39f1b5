# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Jobs that are to be tried before they are due, because whom they are for has named a time. Time is an argument.

They are kept in memory alone: nobody else tries such a job before it is due, and if we are gone by then, it waits until
it is. No I/O.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count

from mailspool.supervisor.job import Appointment, Job

MAX_APPOINTMENTS = 10_000
"""What comes on top of them waits until it is due."""


class Appointments:
    """Of one supervisor."""

    def __init__(self) -> None:
        self._jobs: list[tuple[float, int, Job]] = []  # a heap
        self._order = count()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, made: Sequence[Appointment], now: float) -> None:
        """What one report names."""
        for job, seconds in made[: MAX_APPOINTMENTS - len(self._jobs)]:
            heappush(self._jobs, (now + seconds, next(self._order), job))

    def due(self, now: float) -> Iterator[Job]:
        """Those whose time has come; once."""
        while self._jobs and self._jobs[0][0] <= now:
            yield heappop(self._jobs)[2]

    def left(self, now: float) -> float:
        """Seconds until the next one; inf if there is none."""
        return self._jobs[0][0] - now if self._jobs else float("inf")

    def times(self, now: float, about: str = "") -> Iterator[tuple[str, float]]:
        """The key of each, or of one destination's, and in how many seconds its time comes, in no order."""
        return ((job.key, at - now) for at, _, job in self._jobs if about in ("", job.destination))

    def clear(self) -> None:
        """Under another configuration they may be somebody else's."""
        self._jobs.clear()
