# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One line of shared memory per worker: its phase, its host, its time limit. The worker writes, the parent reads.

No lock: a reader may see a phase with the old host, which is good enough for a status line, and the one time
that matters (`until`) is a single aligned eight-byte store.
"""

import mmap
import struct
from typing import NamedTuple

from mailspool.model.phase import Phase

_SLOT = struct.Struct("=ddB47s")  # until, since, phase, host
_FOREVER = float("inf")


class Entry(NamedTuple):
    """In monotonic seconds: until, by when it has gone on or must be killed; since, when the phase began."""

    until: float
    since: float
    phase: Phase
    host: str


class Scoreboard:
    """As many slots as there may be workers. It must be made before the workers are forked."""

    def __init__(self, slots: int) -> None:
        self._map = mmap.mmap(-1, slots * _SLOT.size)
        self._free = list(range(slots - 1, -1, -1))

    def take(self) -> "Slot":
        """An unused slot. Raises IndexError if all are in use."""
        slot = Slot(self._map, self._free.pop())
        slot.write(Phase.IDLE, "", _FOREVER, 0.0)
        return slot

    def give_back(self, slot: "Slot") -> None:
        """Its worker has ended."""
        self._free.append(slot.number)


class Slot:
    """One worker's line."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._map, self.number = memory, number

    def write(self, phase: Phase, host: str, until: float, now: float) -> None:
        """until, now: monotonic seconds. host is cut to 47 octets."""
        _SLOT.pack_into(self._map, self.number * _SLOT.size, until, now, phase, host.encode()[:47])

    def read(self) -> Entry:
        """What the worker last wrote."""
        until, since, phase, host = _SLOT.unpack_from(self._map, self.number * _SLOT.size)
        return Entry(until, since, Phase(phase), host.rstrip(b"\0").decode(errors="replace"))
