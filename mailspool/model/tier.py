# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One waiting period and its dice: when a node is due, and whether somebody looks.

Every `timeout` seconds each tier is looked at with one chance in `priority`, so that many hosts share the
reading of one spool without talking to each other. What follows for the times between looks: `model.plan`.
"""

from collections.abc import Callable
from functools import lru_cache

import msgspec

Dice = Callable[[int], int]
"""random.randrange: for n, one of 0 … n-1, each with the same chance."""

AHEAD = 3600.0
"""Seconds by which another host's clock may be ahead. A time further ahead is that of a clock that was wrong then."""


class Tier(msgspec.Struct, frozen=True):
    """number: which one; wait: seconds a node stays here before it is tried; priority: one chance in so many."""

    number: int
    wait: float
    priority: int
    last: bool

    def roll(self, dice: Dice) -> bool:
        """Whether this tier is looked at now."""
        return self.priority <= 1 or dice(self.priority) == 0

    def due_at(self, entered: float, now: float) -> float:
        """When a node that entered at `entered` has waited long enough (all in Unix seconds).

        That is now if it entered in the future: else a clock that once went a year ahead would hold it for that year.
        """
        return now if entered > now + AHEAD else entered + self.wait

    def is_due(self, entered: float, now: float) -> bool:
        """Whether it has waited long enough."""
        return self.due_at(entered, now) <= now

    def waiting(self, now: float) -> tuple[int, int]:
        """The first and the last TIME of which `is_due` surely says no, but for a second that rounding may need."""
        return int(now - self.wait) + 2, int(now + AHEAD) - 1


@lru_cache(8)  # they are asked for with each node
def make_tiers(periods: tuple[float, ...], priorities: tuple[int, ...]) -> tuple[Tier, ...]:
    """The tiers that `dequeue_periods` and `dequeue_priority` describe; both must have the same length."""
    last = len(periods) - 1
    return tuple(
        Tier(n, wait, priority, n == last) for n, (wait, priority) in enumerate(zip(periods, priorities, strict=True))
    )
