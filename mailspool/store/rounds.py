# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The service `mailspool: recover`: looks at the other owners again and again, and recovers those that are dead.

Of this boot of this host it recovers whoever runs no more, of all others whoever's sign of life has stood still for
`lease_time` (`store.observer`). It sweeps `incoming/`, and calls the roll for this owner. A rename can hang for as long
as a file server likes: nobody else waits for this process, and what it was at when it ends, the next one finds again.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from mailspool.errors import SpoolError
from mailspool.log import get_logger
from mailspool.store import recover, rollcall
from mailspool.store.claim import Owner
from mailspool.store.filesystem import BOOT_CLOCK, FileStore
from mailspool.store.lease import leaseholders, read_lease
from mailspool.store.observer import Observer, Signs
from mailspool.store.rollcall import RollCall
from mailspool.supervisor.alarms import Alarms

SPACING = 1 / 12
"""The part of `lease_time` that passes between two rounds at least, at most twice as much."""

SLOW = 1 / 3
"""The part of `lease_time` after which a look is late: by then two were due, and `lease.BEATS` / 3 beats."""

ROLL_CALL = 60.0
"""Seconds between two roll-calls, at least."""

log = get_logger()


class Rounds:
    """The rounds of one owner. clock: seconds since the boot. sleep: for so many seconds. dice: from 0 to 1.

    roll_call: what there is to say of this owner. moved: called when nodes are back in their tiers. counted: told at
    each round how many owners live, this one included.
    """

    name = "recover"
    to_the_end = False

    def __init__(
        self,
        store: FileStore,
        lease_time: float,
        roll_call: Callable[[], RollCall],
        moved: Callable[[], object],
        counted: Callable[[int], object] = lambda _: None,
        *,
        sleep: Callable[[float], object],
        dice: Callable[[], float],
        now: Callable[[], float],
        clock: Callable[[], float] = BOOT_CLOCK,
    ) -> None:
        self._store, self._root = store, store.root
        self._lease_time, self._roll_call, self._moved = lease_time, roll_call, moved
        self._counted = counted
        self._sleep, self._dice, self._now, self._clock = sleep, dice, now, clock
        self._owners = Observer(lease_time * SLOW)
        self._drafts = Observer(float("inf"))  # their writers' time runs, whoever looks
        self._alarms = Alarms(clock)
        self._called = float("-inf")

    def run(self) -> None:
        """For ever: it may be killed at any point."""
        while True:
            self.go()
            self._sleep(self._lease_time * SPACING * (1 + self._dice()))

    def close(self, *, unlink: bool) -> None:
        """Nothing is held open."""

    def go(self) -> None:
        """One round. A fault with one owner is told, and keeps no other back; what failed is tried again."""
        with self._telling("look for dead owners"):
            for owner in self._dead():
                with self._telling(f"recover {owner}"):
                    self._recover(owner)
        with self._telling("sweep incoming/"):
            self._sweep()
        with self._telling("call the roll"):
            self._call()

    # --- its parts

    def _dead(self) -> Iterator[str]:
        """Of this boot at once; others whose sign has stood still, and still does when it is their turn.

        Those of an earlier boot were recovered at start: who bears this host's name since then may be another host.
        """
        yield from sorted(filter(self._is_of_this_boot, recover.dead_of_this_host(self._root, self._store.owner)))
        began = self._clock()
        signs = dict(self._signs())
        stood = self._owners.look(signs, began, self._clock())
        self._counted(1 + sum(self._alive_here()) + sum(self._alive(signs, stood)))
        self._tell_namesakes(owner for owner in self._owners.moved if signs[owner] is not None)
        for owner in sorted(owner for owner, seconds in stood.items() if seconds >= self._lease_time):
            if (owner, signs[owner]) in self._sign(owner):
                yield owner

    def _alive(self, signs: Signs, stood: Mapping[str, float]) -> Iterator[bool]:
        """Of other hosts, or other boots."""
        return (signs[owner] is not None and seconds < self._lease_time for owner, seconds in stood.items())

    def _alive_here(self) -> Iterator[bool]:
        """Of this boot, besides ourselves; the dead ones are recovered by now."""
        others = (owner for owner in leaseholders(self._root) if owner != str(self._store.owner))
        return (self._is_of_this_boot(owner) for owner in others)

    def _signs(self) -> Iterator[tuple[str, Hashable]]:
        for owner in recover.owners(self._store, self._root):
            if not self._is_of_this_boot(owner):
                yield from self._sign(owner)

    def _is_of_this_boot(self, owner: str) -> bool:
        return Owner.parse(owner)[:2] == self._store.owner[:2]

    def _sign(self, owner: str) -> list[tuple[str, Hashable]]:
        """The counter in its lease, or that there is none; nothing if that cannot be known: then it is not judged."""
        with self._telling(f"read the lease of {owner}"):
            return [(owner, read_lease(self._root, owner))]
        return []

    def _tell_namesakes(self, living: Iterable[str]) -> None:
        """Hosts of one name take each other for an earlier boot of their own when they start."""
        for owner in living:
            if Owner.parse(owner).host == self._store.owner.host:
                text = f"{owner} lives and has this host's name: give each host one of its own"
                self._alarms.hear({f"namesake {owner}": text})

    def _recover(self, owner: str) -> None:
        moved = 0
        try:
            for _ in recover.recover_owner(self._store, self._root, owner, self._now()):
                moved += 1
        finally:
            if moved:
                log.warning("owner ended, recovered", owner=owner, nodes=moved)
                self._moved()

    def _sweep(self) -> None:
        began = self._clock()
        names = dict.fromkeys(recover.drafts(self._root))  # none is used twice: it needs no sign
        stood = self._drafts.look(names, began, self._clock())
        old = [name for name, seconds in stood.items() if seconds >= recover.ABANDONED]
        for name in recover.sweep(self._root, old):
            log.info("swept, nobody writes it any more", name=name)

    def _call(self) -> None:
        """An owner whose lease is gone says nothing more: others have swept what it said."""
        owner, now = str(self._store.owner), self._clock()
        if now - self._called >= ROLL_CALL and read_lease(self._root, owner) is not None:
            rollcall.write(self._root, owner, self._roll_call())
            self._called = now

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """A fault inside it is told, once."""
        try:
            yield
        except SpoolError as error:
            self._alarms.hear({what: f"cannot {what}: {error}"})
        else:
            self._alarms.hear({what: ""})
