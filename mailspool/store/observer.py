# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What one host has seen of other owners: for how long each sign of life has surely stood still, by its own clock.

A sign is whatever its owner changes while it lives: the counter in its lease, or that there is none. What is told is
never longer than it was. Time in which this host did not look counts for nobody: if a look comes late or takes long
(the file server was away, this host was frozen), the others may have been held up just so, and each begins anew. No
other host's clock is ever read. No I/O.
"""

from collections.abc import Hashable, Mapping

Signs = Mapping[str, Hashable]
"""Owner, or whatever else is watched, to its sign."""


class Observer:
    """slow: seconds between the ends of two looks from which on nothing that was seen before counts."""

    def __init__(self, slow: float) -> None:
        self._slow = slow
        self._since: dict[str, tuple[Hashable, float]] = {}
        self._last = float("-inf")
        self.moved: tuple[str, ...] = ()  # those whose sign is another than at the look before

    def look(self, signs: Signs, began: float, ended: float) -> dict[str, float]:
        """Seconds for which each of `signs` has stood still; what is not among them is forgotten.

        They were read between `began` and `ended`, seconds of this host's boot-time clock: a sign was there at the
        end of the look that first saw it, and still is at the beginning of this one.
        """
        before = self._since if ended - self._last <= self._slow else {}
        self._last = ended
        self.moved = tuple(name for name, sign in signs.items() if before.get(name, (sign,))[0] != sign)
        self._since = {name: _since(before.get(name), sign, ended) for name, sign in signs.items()}
        return {name: max(0.0, began - since) for name, (_, since) in self._since.items()}


def _since(seen: tuple[Hashable, float] | None, sign: Hashable, now: float) -> tuple[Hashable, float]:
    return seen if seen and seen[0] == sign else (sign, now)
