# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Nodes that surely wait, known by their names, and their tier's folders, known by theirs: a look reads neither.

Strings are compared, before any is parsed: a look costs next to nothing for nodes that wait, and nothing for those
in a folder that waits. A folder tells of its nodes what a look asks of a name, TIME and arrival, so that another
`dequeue_periods` or `max_age` counts for all of them at once. No I/O.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mailspool.store import nodename


class Waiting(NamedTuple):
    """Nodes that entered their tier from `first` to `last` and arrived at `arrived` or later: they are not due.

    Unix seconds, ends included; there are none such if `last` is before `first`.
    """

    first: int
    last: int
    arrived: int

    def outside(self, names: Sequence[str]) -> Sequence[str]:
        """The names of other nodes, and what is no node's. Some inside may be given too, never the other way round."""
        if not (texts := _texts(self)):
            return names
        low, high, since = texts
        ordinary = nodename.ordinary_matcher()
        return [name for name in names if not (low <= name < high and since <= name[11:18] and ordinary(name))]

    def covers(self, folder: str) -> bool:
        """Whether all nodes of a folder are inside."""
        if not (texts := _texts(self)):
            return False
        low, high, since = texts
        begin, end = _times_of(folder)
        return low <= begin and end < high and since <= f"{folder[8:]}000"

    def is_past(self, folder: str) -> bool:
        """Whether a folder's time is over: its nodes have waited long enough, and no others enter it."""
        texts = _texts(self)
        return texts is not None and _times_of(folder)[1] < texts[0]


def _times_of(folder: str) -> tuple[str, str]:
    return f"{folder[:7]}000", f"{folder[:7]}999"


@lru_cache(8)  # asked for with each folder
def _texts(waiting: Waiting) -> tuple[str, str, str] | None:
    """`first`, the second after `last`, and `arrived` as they stand in names; None for what no name compares to."""
    first, last, arrived = waiting
    if not 10**9 <= first <= last < 10**10 - 1 or arrived >= 36**7:
        return None
    return str(first), str(last + 1), nodename.arrival_digits(max(arrived, 0))
