# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the supervisor's jobs are in a spool: which nodes are due, and who delivers them.

`SpoolWork` satisfies `supervisor.job.Work`. It decides nothing about mail: handles say what is due, the door says
what becomes of it.
"""

import mmap
import random
import time
from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial
from typing import Protocol

import msgspec
from msgspec.structs import replace

from mailspool import log
from mailspool.config.common import fingerprint
from mailspool.config.schema import Settings
from mailspool.delivery.alone import Alone
from mailspool.delivery.door import Door, preload
from mailspool.delivery.hooks import Hooks
from mailspool.delivery.lease import LeaseService, lease_of
from mailspool.delivery.order import perform_smallest_first
from mailspool.delivery.scout import Search
from mailspool.errors import ClaimLost, ConfigError, NotRunning, SpoolError
from mailspool.model.rules import Rules
from mailspool.model.tier import Tier
from mailspool.store.base import Location
from mailspool.store.claim import Owner
from mailspool.store.filesystem import FileStore
from mailspool.store.handle import Handle
from mailspool.store.recover import shorten
from mailspool.store.rollcall import RollCall
from mailspool.store.rounds import Rounds
from mailspool.submission.hand_in import answer
from mailspool.submission.listener import Listener
from mailspool.submission.listing import tell
from mailspool.submission.mailer import Mailer
from mailspool.supervisor import control, places
from mailspool.supervisor.entrance import Entrance
from mailspool.supervisor.job import UNSHARED, Job, Lease, Limits, Look, Reload, Result, Service, Station
from mailspool.supervisor.scout import Scout
from mailspool.supervisor.trigger import poke
from mailspool.version import VERSION


class Living:
    """How many owners live, in shared memory: one aligned eight-byte store. It is made before whoever counts them."""

    def __init__(self) -> None:
        self._cell = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self.set(1)

    def set(self, number: int) -> None:
        """So many, this one included."""
        self._cell[0] = number

    @property
    def number(self) -> int:
        """As was counted last."""
        return self._cell[0]


ALONE = Alone()
"""The station of whoever does the work in its own process."""


class Workplace(Hooks, Mailer, Protocol):
    """What the daemon asks of the spool above it; see the methods of the same names in `mailspool.spool.Spool`."""

    settings: Settings

    @property
    def overridden(self) -> frozenset[str]:
        """Which of `lookup_mx`, `lookup_host` and `open_smtp_connection` are a subclass's own."""

    @property
    def door(self) -> Door:
        """The door out of this process."""

    def work_at(self, station: Station) -> Door:
        """In a worker: a door of its own."""

    def configure(self) -> None:
        """Read the configuration again. Raises ConfigError."""

    def become(self, owner: Owner) -> None:
        """Claim as this owner from now on."""

    def create_dequeue_dirs(self) -> None:
        """Make what is missing of the spool's directories."""

    def list_spool_handles(self) -> list[Handle]:
        """Handles of the tiers to be looked at now: each rolls its dice."""

    def all_tiers(self) -> list[Tier]:
        """All of them, without dice."""

    def mail_spool_handle(self, tier: Tier) -> Handle:
        """The handle of one tier."""


class SpoolWork:
    """One spool's work. log_stream: where a daemon's lines go; None leaves the log as it is.

    entrance: where the daemon's listener takes messages. beat: the service that keeps up the spool's lease; made anew
    for each lease, and only then. living: how many owners there are, as the rounds see it.
    """

    def __init__(
        self,
        spool: Workplace,
        log_stream: log.Stream | None = None,
        entrance: Entrance | None = None,
        beat: LeaseService | None = None,
        living: "Living | None" = None,
    ) -> None:
        self._spool, self._log_stream, self._entrance = spool, log_stream, entrance
        self._last: Owner | None = None  # whom it has tried to begin anew as
        self._beat = beat or (LeaseService(spool.lease) if spool.lease else None)
        self._living = living or Living()
        self._depths: dict[int, int] = {}
        self._station: Station = ALONE
        if log_stream:
            log.configure(stream=log_stream, **spool.settings.log_options)

    # --- in the parent

    def limits(self) -> Limits:
        """The supervisor's figures."""
        settings = self._spool.settings
        return Limits(
            workers=settings.max_dequeue_processes,
            per_destination=settings.max_per_destination,
            per_host=settings.max_per_host,
            unproven_share=settings.unproven_share,
            cool_down=settings.cool_down,
            tick=settings.dequeue_timeout,
            worker_jobs=settings.worker_nodes,
            shutdown=settings.shutdown_timeout,
            rules=Rules(settings.limits),
        )

    def services(self) -> Sequence[Service]:
        """The lease's, the same each time; new ones of the listener, at the same entrance, of the rounds, the scout."""
        look = partial(poke, self._spool.settings.run_dir)
        accept = partial(answer, self._spool, look, partial(tell, self._spool.store))
        listener = [Listener(self._entrance, accept)] if self._entrance else []
        beat = [self._beat] if self._beat else []
        return [*beat, *listener, *self._rounds(), *self._scout()]

    def _scout(self) -> list[Scout]:
        """None where an override connects in a way of its own; look-ups of others are made by one thread at a time."""
        spool, overridden = self._spool, self._spool.overridden
        if "open_smtp_connection" in overridden:
            return []
        door = spool.door
        search = Search(
            door.route,
            door.network.resolver,
            spool.settings,
            watch=door.watch,
            in_turn=bool(overridden),
            now=spool.now,
            clock=time.monotonic,
        )
        return [Scout(search)]

    def _rounds(self) -> list[Rounds]:
        """Only in a spool of directories there are other owners."""
        spool, store = self._spool, self._spool.store
        if not isinstance(store, FileStore):
            return []
        return [
            Rounds(
                store,
                spool.settings.lease_time,
                self._roll_call,
                partial(poke, spool.settings.run_dir),
                self._living.set,
                sleep=time.sleep,
                dice=random.random,
                now=spool.now,
            )
        ]

    def _roll_call(self) -> RollCall:
        settings = self._spool.settings
        try:
            workers = msgspec.json.decode(control.ask(settings.run_dir, "status"))["workers_actual"]
        except (NotRunning, msgspec.DecodeError):
            workers = None
        return RollCall(VERSION, fingerprint(settings), workers, self._spool.now())

    @property
    def owners(self) -> int:
        """Of a spool that is not shared, this one."""
        return self._living.number

    @property
    def lease(self) -> Lease:
        """What all of it rests on."""
        return self._spool.lease or UNSHARED

    def begin_anew(self) -> "SpoolWork":
        """Our owner was taken for dead: the same work as the next one, under a lease of its own."""
        fresh, lost = copy(self._spool), self._spool.lease
        assert lost is not None  # nothing else can be lost
        self._last = (self._last or lost.owner).next()  # each try under another name: it may have left its lease
        fresh.become(self._last)
        fresh.lease = lease_of(fresh)
        return SpoolWork(fresh, self._log_stream, self._entrance, living=self._living)

    def preload(self) -> None:
        """Load and build what each worker needs, before the first is forked; the store too, whose owner we are.

        Raises ConfigError.
        """
        preload()
        self._spool.credentials  # noqa: B018 - a fault of theirs is told now, and a worker reads no file
        self._spool.store  # noqa: B018 - else a worker would open one, and claim what nobody could recover

    def reload(self) -> Reload:
        """The same spool under the configuration as it now is; options that need a restart keep their values.

        Raises ConfigError.
        """
        from mailspool.config.explain import changes  # what only words need stays out of every child's memory

        fresh, old = copy(self._spool), self._spool.settings
        fresh.configure()
        if fresh.settings.log_file not in {"", old.log_file}:
            _try_log_file(fresh.settings.log_file)
        changed = changes(old, fresh.settings)
        kept = [change for change in changed if not change.counts]
        fresh.settings = replace(fresh.settings, **{change.name: change.old for change in kept})
        told = [str(change) for change in changed if change.counts], list(map(str, kept))
        return Reload(SpoolWork(fresh, self._log_stream, self._entrance, self._beat, self._living), *told)

    # --- in the lookout

    def jobs(self, look: Look) -> Iterator[Job]:
        """The nodes that are due, tier by tier, oldest first. Raises SpoolError."""
        destination = self._spool.door.route.destination
        patient = not self._spool.settings.first_attempt_timeout
        for handle in self._handles(look):
            tier = handle.tier.number
            for node in handle.open_spool():
                yield Job(node.location.key, destination(node.destination), node.id, patient=patient or tier > 0)
            self._depths[tier] = handle.depth

    def _handles(self, look: Look) -> list[Handle]:
        """A poke is about tier 0 only; only the ticks of the clock roll the dice."""
        if look is Look.TICK:
            return self._spool.list_spool_handles()
        tiers = self._spool.all_tiers() if look is Look.ALL else self._spool.settings.tiers[:1]
        return [self._spool.mail_spool_handle(tier) for tier in tiers]

    def summary(self) -> dict[str, object]:
        """The depth of each tier when it was last looked at."""
        return {"version": VERSION, "tiers": {str(tier): depth for tier, depth in sorted(self._depths.items())}}

    def deferred(self) -> int:
        """The nodes in all tiers but the first, when each was last looked at."""
        return sum(depth for tier, depth in self._depths.items() if tier)

    # --- in other children

    def perform(self, jobs: Sequence[Job], station: Station) -> list[Result]:
        """Claim, deliver and settle the nodes that `jobs` name. One result for each."""
        door = self._door(station)
        if not self._spool.settings.small_first or jobs[0].refusal:
            return door.perform(jobs)
        return perform_smallest_first(jobs, self._size_of, door.perform)

    def _size_of(self, job: Job) -> int:
        """Octets of its message; 0 where that cannot be known, so that it comes to light."""
        try:
            node = self._spool.node_at(Location.queued(job.key))
            size = node.size
        except SpoolError:
            return 0
        node.close()
        return size

    def _door(self, station: Station) -> Door:
        """A worker opens a door of its own: the parent's, which only knows routes, is not for it."""
        if station is not self._station:
            self._station = station
            return self._spool.work_at(station)
        return self._spool.door

    def idle(self) -> None:
        """No node has come for a moment: say goodbye to the host."""
        self._spool.door.idle()

    def take_lease(self) -> None:
        """Make the lease, and room for claims under it. Raises SpoolError."""
        if lease := self._spool.lease:
            lease.create()
        self.make_room()

    def make_room(self) -> None:
        """Make room for claims, as far as the disk lets us: later it may have no inode left."""
        store = self._spool.store
        if isinstance(store, FileStore):
            store.expect_claims(tier.number for tier in self._spool.settings.tiers)

    def recover(self) -> None:
        """Return what dead owners of this host have claimed, to a tier that there is. Raises SpoolError."""
        self._spool.store.recover()
        self.rearrange()

    def rearrange(self) -> None:
        """Make room for new tiers; move the nodes beyond the configured ones into the last one. Raises SpoolError."""
        self.make_room()
        last = self._spool.settings.tiers[-1].number
        for location in shorten(self._spool.store, last):
            log.get_logger().info("moved", node=location.name, tier=last, formerly=location.tier)

    def end(self) -> None:
        """Take our lease away: there is nothing that it would speak for. Raises SpoolError."""
        if self._spool.lease:
            self._spool.lease.end()

    def recover_worker(self, serial: int, end: str) -> None:
        """Settle what one of our own workers had claimed when it ended. Raises SpoolError.

        A fault with one claim does not keep the others back; all faults are raised in the end, in one group.
        """
        faults: list[Exception] = []
        for location in self._spool.store.claims(f"w{serial}."):
            try:
                self._spool.door.recover(location, end)
            except ClaimLost as error:
                log.get_logger().warning("claim_lost", node=location.name, error=str(error))
            except Exception as error:  # noqa: BLE001 - raised below
                faults.append(error)
            else:
                log.get_logger().warning("recovered", node=location.name, tier=location.tier, worker=serial, end=end)
        if faults:
            raise ExceptionGroup(f"claims of worker {serial} are not recovered", faults)


def _try_log_file(path: str) -> None:
    """Raise ConfigError if this process cannot write to it."""
    try:
        places.check_log_file(path)
    except SpoolError as error:
        raise ConfigError([str(error)]) from error
