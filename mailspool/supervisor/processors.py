# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whether those at work keep the processors busy: then one more worker makes nothing faster, it only takes turns.

Ten workers at one near host, on two processors, need half as much time again for each message as three, at no higher
rate: each finds its caches full of what the others do. Who waits for a host or a disk keeps no processor busy: there
one more is of use. It is only told whether one more is to be forked. Those that there are go on: what each wanted when
all took turns says little of what it would want with fewer others, least where many wait for a host that is far away.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PROCESSORS = len(os.sched_getaffinity(0))

FRESH = 1.0
"""Seconds for which a worker is taken to compute as it did in its last batch: by then it is done, or it waits."""

FIRST_SHARE = 0.5
"""The part in which a worker is taken to compute while no report has told of any: else all would be forked at once."""

_SCHEDSTAT = Path("/proc/self/schedstat")


def are_busy(shares: Iterable[float], processors: int) -> bool:
    """Whether so many are, by those that want one in these parts of their time."""
    return sum(shares) >= processors


def wanted() -> float:
    """Seconds for which this process had a processor, and for which it waited for one (schedstat: nanoseconds)."""
    try:
        _, waited, _ = map(int, _SCHEDSTAT.read_bytes().split())
    except (OSError, ValueError):  # the kernel does not count it
        waited = 0
    return time.process_time() + waited / 1e9


class Stopwatch:
    """In which part of some time this process wanted a processor. clock: monotonic seconds; wanted: as above."""

    def __init__(self, clock: Callable[[], float], wanted: Callable[[], float] = wanted) -> None:
        self._clock, self._wanted = clock, wanted

    def start(self) -> None:
        """The time begins."""
        self._begun, self._before = self._clock(), self._wanted()

    @property
    def share(self) -> float:
        """From 0.0 to 1.0, until now."""
        elapsed = self._clock() - self._begun
        return min(1.0, (self._wanted() - self._before) / elapsed) if elapsed > 0 else 0.0
