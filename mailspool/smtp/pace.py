# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How slow a peer may be at what it has begun: so many octets per second, after a grace. Time is an argument.

The timeouts of RFC 5321 §4.5.3.2 are for a peer that stands still; one that takes, or gives, a little now and then
would outlast any of them. No I/O.
"""

GRACE = 60.0
"""Seconds that a reply which has begun may drip at any rate: some hosts stutter at strangers on purpose, as OpenBSD's
spamd does for ten."""


class TooSlow(TimeoutError):
    """It has moved since the wait began, and not enough."""


class Pace:
    """min_rate: octets per second; 0.0: anything will do. began: when it began what it is at; None while it rests."""

    __slots__ = ("_octets", "began", "min_rate")

    def __init__(self, min_rate: float) -> None:
        self.min_rate = min_rate
        self.began: float | None = None
        self._octets = 0

    def begin(self, now: float) -> None:
        """It is at it, from now on or still."""
        if self.began is None:
            self.began, self._octets = now, 0

    def move(self, octets: int) -> None:
        """So many more were taken, or given."""
        self._octets += octets

    def rest(self) -> None:
        """What was begun has ended."""
        self.began = None

    def until(self, grace: float) -> float:
        """By when more has to move, on the same clock; infinity while nothing has begun."""
        if self.began is None or not self.min_rate:
            return float("inf")
        return self.began + grace + self._octets / self.min_rate
