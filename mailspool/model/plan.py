# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What periods and dice mean for one message: when each attempt comes, on average and at most with some chance.

Pure arithmetic, under three assumptions: a node becomes due at a random moment between two ticks; an attempt itself
takes no time; and no limit keeps a due node waiting. A local submission pokes, so that a first tier which waits for
nothing is looked at without dice.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from mailspool.model.tier import Tier

_CELLS = 250  # of the grid on which waits are added up
_ALL = 0.9999  # what lies beyond is left out of the grid


class Looks(NamedTuple):
    """The wait for the next look at a tier: each of `hosts` rolls one of `priority` every `timeout` seconds."""

    priority: int
    timeout: float
    hosts: int = 1

    @property
    def mean(self) -> float:
        """Seconds; for one host half a tick until the first, and a tick for each that misses."""
        missed, hosts = 1 - self._chance, float(self.hosts)
        tick: float = (1 - missed ** (hosts + 1)) / ((hosts + 1) * self._chance)
        return float(self.timeout * tick / (1 - missed**hosts))

    def within(self, chance: float) -> float:
        """Seconds within which a look happens with probability `chance` (0.95: 95 %)."""
        one = float((1 - chance) ** (1 / self.hosts))  # the chance that one host has not looked by then
        missed = 1 - self._chance
        ticks = math.floor(math.log(one) / math.log(missed)) if missed else 0
        return self.timeout * (ticks + (1 - one / missed**ticks) / self._chance)

    def beyond(self, seconds: float) -> float:
        """The chance that there is no look so long."""
        ticks, part = divmod(seconds / self.timeout, 1)
        missed = 1 - self._chance
        return float((missed**ticks * (1 - part * self._chance)) ** self.hosts)

    @property
    def _chance(self) -> float:
        return 1 / max(self.priority, 1)


class Try(NamedTuple):
    """One attempt. tier, wait: where the node waited for it, and how long. The rest: seconds since its arrival."""

    tier: int
    wait: float
    mean: float
    within_95: float
    within_99: float


class Plan(NamedTuple):
    """tries: if the last one fails, the node is given up. by_age: because of `max_age`, with tiers left."""

    tries: tuple[Try, ...]
    by_age: bool


def plan(tiers: Sequence[Tier], timeout: float, max_age: float, hosts: int = 1) -> Plan:
    """When a message that no host ever takes is tried. A node that reaches `max_age` is due then, whatever its tier."""
    tries: list[Try] = []
    waited, looks = 0.0, list[Looks]()
    for tier in tiers:
        if tries and tries[-1].mean >= max_age:
            return Plan(tuple(tries), by_age=True)
        waited += tier.wait
        if tier.number or tier.wait:
            if waited + sum(look.mean for look in looks) > max_age:
                waited, looks = max_age, []
            looks.append(Looks(tier.priority, timeout, hosts))
        mean = waited + sum(look.mean for look in looks)
        tries.append(Try(tier.number, tier.wait, mean, *(waited + sum_within(looks, at) for at in (0.95, 0.99))))
    return Plan(tuple(tries), by_age=False)


def sum_within(looks: Sequence[Looks], chance: float) -> float:
    """Seconds within which, with probability `chance`, all of these waits, one after the other, are over."""
    if len(looks) <= 1:
        return looks[0].within(chance) if looks else 0.0
    step = sum(look.within(_ALL) for look in looks) / _CELLS
    sums = [1.0] + [0.0] * (_CELLS - 1)
    for look in looks:
        sums = _convolved(sums, _cells(look, step))
    so_far = 0.0
    for cell, share in enumerate(sums):
        if so_far + share >= chance:
            # Each wait counted as the beginning of its cell, though on average it ends half a cell later.
            return step * (cell + (chance - so_far) / share + (len(looks) - 1) / 2)
        so_far += share
    return step * _CELLS


def _cells(look: Looks, step: float) -> list[float]:
    """The chance that the look comes in each of the cells."""
    beyond = [look.beyond(cell * step) for cell in range(_CELLS + 1)]
    return [before - after for before, after in pairwise(beyond)]


def _convolved(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [sum(one[at] * other[cell - at] for at in range(cell + 1)) for cell in range(_CELLS)]
