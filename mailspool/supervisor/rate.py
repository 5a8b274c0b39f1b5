# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How many more may go now, if no minute may see more than so many: a token bucket. Time is an argument.

It holds one second's share, so that what is seldom is spread evenly, and what is much goes in batches. What it holds
when it is full is taken off what flows in, so that no sixty seconds, wherever they begin, see more than the limit.
"""

from math import floor

MINUTE = 60.0

_ROUNDING = 1e-6
"""By so much a sum of parts may miss a whole one."""


class Bucket:
    """per_minute, at each call: the limit as it is now, over 0; it may be less than one."""

    def __init__(self) -> None:
        self._level, self._at = float("inf"), 0.0  # full, however much that is

    def left(self, per_minute: float, now: float) -> int:
        """How many may go."""
        return floor(self._fill(per_minute, now) + _ROUNDING)

    def spend(self, count: int, per_minute: float, now: float) -> None:
        """So many go; a count below 0 gives back what did not. It may owe some, which then flow in first."""
        self._level = self._fill(per_minute, now) - count

    def wait(self, per_minute: float, now: float) -> float:
        """Seconds until one may go, 0 if now."""
        lack = 1 - self._fill(per_minute, now)
        return lack / _inflow(per_minute) if lack > _ROUNDING else 0.0

    def is_full(self, per_minute: float, now: float) -> bool:
        """Whether it is as good as new."""
        return self._fill(per_minute, now) >= _size(per_minute)

    def _fill(self, per_minute: float, now: float) -> float:
        self._level = min(_size(per_minute), self._level + max(0.0, now - self._at) * _inflow(per_minute))
        self._at = now
        return self._level


def _size(per_minute: float) -> int:
    return 1 + floor(per_minute / MINUTE)


def _inflow(per_minute: float) -> float:
    """What flows in each second: in a minute, the limit less what may have been held at its beginning."""
    return (per_minute - (_size(per_minute) - 1)) / MINUTE
