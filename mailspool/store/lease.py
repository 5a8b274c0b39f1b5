# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""An owner's lease: a counter in `hosts/<owner>` that moves for as long as the owner lives, and whether it is fresh.

Other hosts believe the counter only: who has not seen it move for `lease_time` may take the owner for dead, removes
the lease, and takes its claims back. So an owner whose last beat is too old begins nothing, and one whose lease is
gone never makes it anew (no O_CREAT): it has to begin again under another name. What each beat leaves in shared
memory tells all processes of the owner how they stand, without a question to the file server.
"""

import mmap
import re
from collections.abc import Callable
from contextlib import suppress

from mailspool.errors import ClaimLost, LeaseLost, LeaseStale, SpoolError, Unreadable
from mailspool.store import fsops
from mailspool.store.claim import Owner, is_owner

LONGEST_BEAT = 5.0
"""Seconds between two beats, at most."""

BEATS = 12
"""In a `lease_time` there are so many beats at least: most of them may fail before anybody is taken for dead.
`config.schema` bounds `lease_time` below, so that a beat has time to reach a busy file server."""

LATE = 2
"""So many beats without one that was done, and the file server does not answer, or is very slow."""

MARGIN = 1 / 6
"""The part of `lease_time` at whose end a lease is not fresh any more, though nobody takes its owner for dead yet.

An observer counts from when it saw the counter, which is never before that beat was begun, so the rest is on our side
in any case. The margin is for clocks that run at different rates (0.1 % at the very most), and for a step that
was begun while the lease was fresh and takes effect somewhat later. The final dot does not rely on it alone: the
claim is sealed by a rename after this was asked.
"""

_LINE = "1 {:020d}\n"  # version and counter; always of one length, so that a beat replaces all of it
_SIZE = len(_LINE.format(0))
_read = re.compile(rb"1 ([0-9]{20})\n").fullmatch

_BEGUN, _COUNTER, _LOST = range(3)  # cells of shared memory, each one aligned eight-byte store


class Lease:
    """The lease of one owner. It must be made before whoever is to know of it is forked.

    root: the spool's directory. clock: seconds since the boot that go on while the machine sleeps
    (CLOCK_BOOTTIME): else who was frozen would think its lease fresh.
    """

    def __init__(self, root: str, owner: Owner, lease_time: float, clock: Callable[[], float]) -> None:
        self._root, self.owner = root, owner
        self._path = f"{root}/hosts/{owner}"
        self._good_for = lease_time * (1 - MARGIN)
        self._clock = clock
        self._cells = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self._cells[_BEGUN] = float("-inf")
        self.interval = beat_interval(lease_time)

    # --- its life

    def create(self) -> None:
        """Make it, durably: before the owner claims anything. Raises SpoolError; fsops.Exists if it was made before."""
        begun = self._clock()
        with fsops.new_file(self._path) as file:
            fsops.write(file, _LINE.format(0).encode())
        try:
            fsops.sync_directory(f"{self._root}/hosts")
        except SpoolError:
            with suppress(SpoolError):
                fsops.unlink(self._path)
            raise
        self._cells[_BEGUN] = begun

    def beat(self) -> None:
        """Move the counter. Raises LeaseLost if others have taken this owner for dead; else SpoolError: beat again."""
        begun = self._clock()
        counter = int(self._cells[_COUNTER]) + 1
        try:
            fsops.overwrite(self._path, _LINE.format(counter).encode())
        except ClaimLost as error:
            self._cells[_LOST] = 1
            raise LeaseLost(f"lease {self._path} is gone: owner {self.owner} was taken for dead") from error
        self._cells[_COUNTER], self._cells[_BEGUN] = counter, begun

    def end(self) -> None:
        """The owner ends, and has given its claims back: nothing of it is left in `hosts/`. Raises SpoolError."""
        end_lease(self._root, str(self.owner))

    # --- how it stands

    @property
    def left(self) -> float:
        """Seconds for which it is still fresh; negative: for so long it has not been."""
        return self._cells[_BEGUN] + self._good_for - self._clock()

    @property
    def fresh(self) -> bool:
        """Whether nobody can have taken the owner for dead yet."""
        cells = self._cells  # asked twice for each message
        return cells[_BEGUN] + self._good_for > self._clock() and not cells[_LOST]

    @property
    def lost(self) -> bool:
        """Whether somebody has: a beat found the lease gone."""
        return self._cells[_LOST] != 0

    @property
    def late(self) -> bool:
        """Whether the file server lets beats wait: who asks it for something now may hang."""
        return self._clock() - self._cells[_BEGUN] > LATE * self.interval

    def check(self) -> None:
        """Raises LeaseStale unless it is fresh: a local fault, after which the claims are given back."""
        if not self.fresh:
            raise LeaseStale(f"lease {self._path} is not fresh: others may have taken {self.owner} for dead")


def end_lease(root: str, owner: str) -> None:
    """What an owner has in `hosts/` goes: the lease first, and durably, before anything else of it. Raises SpoolError.

    Who wakes must not find it again.
    """
    hosts = f"{root}/hosts"
    for name in sorted(name for name in fsops.read_names(hosts) if name.partition("~")[0] == owner):
        with suppress(ClaimLost):
            fsops.unlink(f"{hosts}/{name}")
    fsops.sync_directory(hosts)


def beat_interval(lease_time: float) -> float:
    """Seconds between two beats of an owner that is well."""
    return min(LONGEST_BEAT, lease_time / BEATS)


# --- for those who watch others


def read_lease(root: str, owner: str) -> int | None:
    """The counter of an owner's lease, as it stands now; None if there is no lease.

    It is found out by open, since NFS answers `stat` from memory. Raises Unreadable for what is no lease of this
    version, SpoolError.
    """
    found = read_dated_lease(root, owner)
    return None if found is None else found[0]


def read_dated_lease(root: str, owner: str) -> tuple[int, float] | None:
    """The same, and when it moved last, Unix seconds of the file server: for people, nobody is judged by that."""
    try:
        line, when = fsops.read_dated(f"{root}/hosts/{owner}", _SIZE + 1)
    except ClaimLost:
        return None
    if not line:  # it is just being made
        return 0, when
    if not (found := _read(line)):
        raise Unreadable(f"{root}/hosts/{owner} is no lease of version 1: {line!r}")
    return int(found[1]), when


def leaseholders(root: str) -> list[str]:
    """All who have a lease, in no order. What is no owner's name is left out."""
    return [name for name in fsops.read_names(f"{root}/hosts") if is_owner(name)]
