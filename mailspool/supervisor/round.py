# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whose turn it is: names in the order in which they came; those that have none yet cost nothing until it comes.

Some wait for a moment, others behind an obstacle that they share, however many they are. Time is an argument.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

_NEVER = float("inf")

Obstacle = TypeVar("Obstacle", bound=Hashable)


class Round(Generic[Obstacle]):
    """To iterate over it gives those that may have a turn, who waits longest first; its length counts all.

    A name is in it if it may have a turn, or could but for an obstacle. Who has waited behind one, and has been let in
    in vain, or has changed meanwhile, comes back to where it stood.
    """

    def __init__(self) -> None:
        self._here: dict[str, None] = {}
        self._aside: dict[str, float] = {}  # until when
        self._moments: list[tuple[float, str]] = []  # a heap of those; and of what they once were
        self._numbers = count()
        self._tickets: dict[str, int] = {}  # the number that each drew when it came
        self._obstacles: dict[str, Obstacle] = {}  # by name
        self._behind: dict[Obstacle, list[tuple[int, str]]] = {}  # heaps of tickets; and of what they once were
        self._count = Counter[Obstacle]()  # of those that are behind each

    def __iter__(self) -> Iterator[str]:
        return iter(self._here)

    def __contains__(self, name: str) -> bool:
        return name in self._here or name in self._obstacles

    def __len__(self) -> int:
        return len(self._here) + len(self._aside) + len(self._obstacles)

    def put(self, name: str, moment: float, now: float) -> None:
        """It may have its turn from that moment on: until then it stands aside, then it is behind all others."""
        if moment <= now:
            self._let_go(name)
            self._aside.pop(name, None)
            self._come(name)  # where it stands already, if it does
        elif self._aside.get(name) != moment:
            self.discard(name)
            self._aside[name] = moment
            if moment < _NEVER:
                heappush(self._moments, (moment, name))

    def put_behind(self, name: str, obstacle: Obstacle) -> None:
        """It may have its turn when `let_in` comes to it: until then it stands aside with all that wait for that."""
        ticket = self._ticket(name)
        self._let_go(name)
        self._here.pop(name, None)
        self._aside.pop(name, None)
        self._obstacles[name] = obstacle
        self._count[obstacle] += 1
        heap = self._behind.setdefault(obstacle, [])
        if len(heap) > 2 * self._count[obstacle]:  # what has gone is not kept for long
            heap[:] = sorted({each for each in heap if self._is_behind(*each, obstacle)})
        heappush(heap, (ticket, name))

    def let_in(self, obstacle: Obstacle, most: int) -> None:
        """So many of those behind it, the first ones, may have a turn after all others."""
        while most > 0 and (heap := self._behind.get(obstacle)):
            ticket, name = heappop(heap)
            if self._is_behind(ticket, name, obstacle):
                self._let_go(name)
                self._here[name] = None
                most -= 1

    @property
    def obstacles(self) -> list[Obstacle]:
        """Behind which there is anybody."""
        return list(self._count)

    def behind(self, obstacle: Obstacle) -> int:
        """How many are."""
        return self._count[obstacle]

    def _come(self, name: str) -> None:
        self._ticket(name)
        self._here[name] = None

    def _ticket(self, name: str) -> int:
        if name not in self._tickets:
            self._tickets[name] = next(self._numbers)
        return self._tickets[name]

    def _is_behind(self, ticket: int, name: str, obstacle: Obstacle) -> bool:
        return self._tickets.get(name) == ticket and self._obstacles.get(name) == obstacle

    def _let_go(self, name: str) -> None:
        if name in self._obstacles:
            obstacle = self._obstacles.pop(name)
            self._count[obstacle] -= 1
            if not self._count[obstacle]:
                del self._count[obstacle], self._behind[obstacle]

    def discard(self, name: str) -> None:
        """It wants no turn."""
        self._let_go(name)
        self._here.pop(name, None)
        self._aside.pop(name, None)
        self._tickets.pop(name, None)

    def due(self, now: float) -> Iterator[str]:
        """Those whose moment has come since they were asked for; they are to be put again."""
        while self.next_moment <= now:
            _, name = heappop(self._moments)
            del self._aside[name]
            self._come(name)
            yield name

    @property
    def next_moment(self) -> float:
        """When somebody's moment comes, inf if nobody's does by itself."""
        while self._moments and self._aside.get(self._moments[0][1]) != self._moments[0][0]:
            heappop(self._moments)
        return self._moments[0][0] if self._moments else _NEVER
