# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Backing off from what a local fault makes useless: a full disk, a process table without room, a bug in an override.

It is said once when it begins and once when it is over, however often it is met in between.
"""

from collections.abc import Callable

from mailspool.log import get_logger

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds; doubled while the fault lasts."""

log = get_logger()


class Pause:
    """One kind of fault. what: in the log; "": somebody else tells of it. clock: monotonic seconds.

    longest: seconds that a pause may grow to.
    """

    def __init__(self, what: str, clock: Callable[[], float], longest: float = LONGEST_PAUSE) -> None:
        self._what, self._clock, self._longest = what, clock, longest
        self._until = self._seconds = 0.0

    def begin(self, why: str) -> None:
        """It failed; wait, each time longer."""
        now = self._clock()
        if now < self._until:
            return
        if self._what and not self._seconds:
            log.error("local fault, will try again", what=self._what, error=why)
        self._seconds = min(self._longest, max(FIRST_PAUSE, self._seconds * 2))
        self._until = now + self._seconds

    def over(self) -> None:
        """It works."""
        if self._what and self._seconds:
            log.info("works again", what=self._what)
        self._until = self._seconds = 0.0

    @property
    def left(self) -> float:
        """Seconds until it may be tried again, 0 if now."""
        return max(0.0, self._until - self._clock())
