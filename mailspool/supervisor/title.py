# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The supervisor's title, as `ps` and `top` show it: rewritten once a second at most, however busy it is."""

from collections.abc import Callable

from setproctitle import setproctitle

PERIOD = 1.0
"""Seconds between two titles."""

_NEVER = float("inf")


class Title:
    """clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shown = self._wanted = ""
        self._next = 0.0

    def show(self, state: str) -> bool:
        """Show it now, or once it is given again after `left`. Whether it was shown now, and is new."""
        self._wanted = state
        if state == self._shown or self._clock() < self._next:
            return False
        self._shown, self._next = state, self._clock() + PERIOD
        setproctitle(f"mailspool: supervisor [{state}]")
        return True

    @property
    def left(self) -> float:
        """Seconds until what has changed may be shown."""
        return self._next - self._clock() if self._wanted != self._shown else _NEVER
