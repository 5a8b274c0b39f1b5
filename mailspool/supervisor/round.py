# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whose turn it is: names in the order in which they came; those that have none yet cost nothing until it comes.

Time is an argument.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

_NEVER = float("inf")


class Round:
    """To iterate over it gives those that may have a turn, who waits longest first; its length counts all."""

    def __init__(self) -> None:
        self._here: dict[str, None] = {}
        self._aside: dict[str, float] = {}  # until when
        self._moments: list[tuple[float, str]] = []  # a heap of those; and of what they once were

    def __iter__(self) -> Iterator[str]:
        return iter(self._here)

    def __contains__(self, name: str) -> bool:
        return name in self._here

    def __len__(self) -> int:
        return len(self._here) + len(self._aside)

    def put(self, name: str, moment: float, now: float) -> None:
        """It may have its turn from that moment on: until then it stands aside, then it is behind all others."""
        if moment <= now:
            self._aside.pop(name, None)
            self._here[name] = None  # where it stands already, if it does
        elif self._aside.get(name) != moment:
            self._here.pop(name, None)
            self._aside[name] = moment
            if moment < _NEVER:
                heappush(self._moments, (moment, name))

    def discard(self, name: str) -> None:
        """It wants no turn."""
        self._here.pop(name, None)
        self._aside.pop(name, None)

    def clear(self) -> None:
        """Nobody does."""
        self._here.clear()
        self._aside.clear()
        self._moments.clear()

    def due(self, now: float) -> Iterator[str]:
        """Those whose moment has come since they were asked for; they are to be put again."""
        while self.next_moment <= now:
            _, name = heappop(self._moments)
            del self._aside[name]
            self._here[name] = None
            yield name

    @property
    def next_moment(self) -> float:
        """When somebody's moment comes, inf if nobody's does by itself."""
        while self._moments and self._aside.get(self._moments[0][1]) != self._moments[0][0]:
            heappop(self._moments)
        return self._moments[0][0] if self._moments else _NEVER
