# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whose turn it is: names in the order in which they came; those that have none yet cost nothing until it comes.

Some wait for a moment, others behind an obstacle that they share, however many they are. Time is an argument.
"""

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import Generic, TypeVar

_NEVER = float("inf")

Obstacle = TypeVar("Obstacle", bound=Hashable)


class Round(Generic[Obstacle]):
    """To iterate over it gives those that may have a turn, who waits longest first; its length counts all.

    A name is in it if it may have a turn, or could but for an obstacle.
    """

    def __init__(self) -> None:
        self._here: dict[str, None] = {}
        self._aside: dict[str, float] = {}  # until when
        self._moments: list[tuple[float, str]] = []  # a heap of those; and of what they once were
        self._obstacles: dict[str, Obstacle] = {}  # by name
        self._behind: dict[Obstacle, dict[str, None]] = {}  # the same, by obstacle

    def __iter__(self) -> Iterator[str]:
        return iter(self._here)

    def __contains__(self, name: str) -> bool:
        return name in self._here or name in self._obstacles

    def __len__(self) -> int:
        return len(self._here) + len(self._aside) + len(self._obstacles)

    def put(self, name: str, moment: float, now: float) -> None:
        """It may have its turn from that moment on: until then it stands aside, then it is behind all others."""
        self._let_go(name)
        if moment <= now:
            self._aside.pop(name, None)
            self._here[name] = None  # where it stands already, if it does
        elif self._aside.get(name) != moment:
            self._here.pop(name, None)
            self._aside[name] = moment
            if moment < _NEVER:
                heappush(self._moments, (moment, name))

    def put_behind(self, name: str, obstacle: Obstacle) -> None:
        """It may have its turn when `let_in` comes to it: until then it stands aside with all that wait for that."""
        self.discard(name)
        self._obstacles[name] = obstacle
        self._behind.setdefault(obstacle, {})[name] = None

    def let_in(self, obstacle: Obstacle, most: int) -> None:
        """So many of those behind it, the first ones, may have a turn after all others."""
        for name in list(islice(self._behind.get(obstacle, ()), max(0, most))):
            self._let_go(name)
            self._here[name] = None

    @property
    def obstacles(self) -> list[Obstacle]:
        """Behind which there is anybody."""
        return list(self._behind)

    def behind(self, obstacle: Obstacle) -> int:
        """How many are."""
        return len(self._behind.get(obstacle, ()))

    def _let_go(self, name: str) -> None:
        if name in self._obstacles:
            obstacle = self._obstacles.pop(name)
            del self._behind[obstacle][name]
            if not self._behind[obstacle]:
                del self._behind[obstacle]

    def discard(self, name: str) -> None:
        """It wants no turn."""
        self._let_go(name)
        self._here.pop(name, None)
        self._aside.pop(name, None)

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
