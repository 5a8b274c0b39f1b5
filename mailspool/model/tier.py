# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One waiting period and its dice: when a node is due, and when somebody may be expected to look.

Every `timeout` seconds each tier is looked at with one chance in `priority`, so that many hosts share the
reading of one spool without talking to each other. The times between looks are geometric: mean and
percentiles follow from that.
"""

import math
from collections.abc import Callable

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

    def mean_look(self, timeout: float) -> float:
        """Mean seconds until the next look at this tier, with a tick every `timeout` seconds."""
        return timeout * (max(self.priority, 1) - 0.5)

    def look_within(self, chance: float, timeout: float) -> float:
        """Seconds within which a look happens with probability `chance` (0.95: 95 %)."""
        if self.priority <= 1:
            return timeout
        return timeout * math.ceil(math.log(1 - chance) / math.log(1 - 1 / self.priority))


def make_tiers(periods: tuple[float, ...], priorities: tuple[int, ...]) -> tuple[Tier, ...]:
    """The tiers that `dequeue_periods` and `dequeue_priority` describe; both must have the same length."""
    last = len(periods) - 1
    return tuple(
        Tier(n, wait, priority, n == last) for n, (wait, priority) in enumerate(zip(periods, priorities, strict=True))
    )
