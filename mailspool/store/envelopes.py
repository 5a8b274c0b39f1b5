# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The envelopes of many nodes, each read in three calls to the kernel, in directories that are held open meanwhile.

So it is where all is as it should be; whatever is amiss is told by who reads one with care.
"""

# ruff: noqa: PTH120 - paths are strings: pathlib is slow to load, and slow for each node

import os
from collections.abc import Callable
from typing import Self

from mailspool.errors import Unreadable
from mailspool.model.envelope import Envelope
from mailspool.store import fsops, messagefile, nodename
from mailspool.store.base import Location, State
from mailspool.store.descriptors import let_go, open_directory

_FIRST = 4096  # octets: an envelope of few recipients, and most often all of a small message
_MOST = 16  # directories held open: nodes of about the same time stand in the same few

_Place = tuple[State, int, str, str]


class Envelopes:
    """A context within which any number are read. place: a node's path. careful: its envelope, or what is amiss."""

    def __init__(self, place: Callable[[Location], str], careful: Callable[[Location], Envelope]) -> None:
        self._place, self._careful = place, careful
        self._directories: dict[_Place, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for directory in self._directories.values():
            let_go(directory)
        self._directories.clear()

    def __call__(self, location: Location) -> Envelope:
        """One of them. Raises what `careful` raises."""
        state, tier, name, owner = location
        place = state, tier, owner, nodename.beginnings(name)
        try:
            if (directory := self._directories.get(place)) is None:
                directory = self._enter(place, location)
            begin, size = fsops.glance(directory, name, _FIRST)
            return messagefile.read_envelope(begin[: begin.find(b"\n") + 1], size, location)
        except (OSError, Unreadable):
            return self._careful(location)

    def _enter(self, place: _Place, location: Location) -> int:
        if len(self._directories) == _MOST:
            self.__exit__()
        directory = self._directories[place] = open_directory(os.path.dirname(self._place(location)))
        return directory
