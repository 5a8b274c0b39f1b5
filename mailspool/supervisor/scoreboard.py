# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One line of shared memory per worker: its phase, its host, its time limit. The worker writes, the parent reads.

There is no lock. Each number is one aligned eight-byte store, so that no half of it is ever seen; a reader may see
a new phase beside an old host, which is good enough for a status line.
"""

import mmap
from typing import NamedTuple

from mailspool.model.phase import Phase

_FOREVER = float("inf")
_HOST = 360  # octets: any name, its address and port
_SLOT = 384  # octets: until, since and phase as doubles, then the host


class Entry(NamedTuple):
    """In monotonic seconds: until, by when it has gone on or must be killed; since, when the phase began."""

    until: float
    since: float
    phase: Phase
    host: str


class Scoreboard:
    """As many slots as there may be workers. It must be made before the workers are forked."""

    def __init__(self, slots: int) -> None:
        self._map = mmap.mmap(-1, slots * _SLOT)
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
        self.number = number
        line = memoryview(memory)[number * _SLOT : (number + 1) * _SLOT]
        # Not struct.pack_into: it fills the place with zeros first, and a reader would see a worker long overdue.
        self._numbers, self._host = line[: _SLOT - _HOST].cast("d"), line[_SLOT - _HOST :]
        self._said: str | None = None  # what the last user of this line wrote is unknown

    def write(self, phase: Phase, host: str, until: float, now: float) -> None:
        """until, now: monotonic seconds. host is cut to 360 octets."""
        self._numbers[0], self._numbers[1], self._numbers[2] = until, now, phase
        if host != self._said:
            self._said = host
            self._host[:] = host.encode()[:_HOST].ljust(_HOST, b"\0")

    @property
    def until(self) -> float:
        """As in its entry: this alone is looked at often."""
        return self._numbers[0]

    @property
    def since(self) -> float:
        """As in its entry."""
        return self._numbers[1]

    @property
    def phase(self) -> int:
        """As in its entry."""
        return int(self._numbers[2])

    def read(self) -> Entry:
        """What the worker last wrote."""
        return Entry(
            self.until, self.since, Phase(self.phase), bytes(self._host).rstrip(b"\0").decode(errors="replace")
        )
