# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who claims has a lease that is kept up meanwhile: by a service of the supervisor, elsewhere by a thread.

It beats and does nothing else, so that nothing but the file server itself can hold it up. A beat that fails is
followed by the next one; a lease that is gone is the end of its owner (`store.lease`).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from mailspool.config.schema import Settings
from mailspool.errors import LeaseLost, SpoolError
from mailspool.log import get_logger
from mailspool.store.base import Store
from mailspool.store.claim import Owner
from mailspool.store.filesystem import BOOT_CLOCK, FileStore
from mailspool.store.lease import Lease
from mailspool.supervisor.signals import Signals

log = get_logger()


class Tenant(Protocol):
    """Who claims: see the attributes of the same names in `mailspool.spool.Spool`."""

    settings: Settings
    lease: Lease | None

    @property
    def store(self) -> Store:
        """Where the nodes are."""

    def become(self, owner: Owner) -> None:
        """Claim as this owner from now on."""


def take_lease(tenant: Tenant) -> None:
    """Make the lease of the store's owner, before anything is claimed. Raises SpoolError."""
    if lease := lease_of(tenant):
        lease.create()
        tenant.lease = lease


def lease_of(tenant: Tenant) -> Lease | None:
    """The lease of the store's owner, not made yet. A store that is no directory is not shared, and needs none."""
    store = tenant.store
    if not isinstance(store, FileStore):
        return None
    return Lease(store.root, store.owner, tenant.settings.lease_time, BOOT_CLOCK)


@contextmanager
def leased(tenant: Tenant) -> Iterator[None]:
    """Around what a process without a supervisor claims, and settles or gives back. Raises SpoolError."""
    take_lease(tenant)
    lease, over = tenant.lease, threading.Event()
    if lease is None:
        yield
        return
    thread = threading.Thread(target=keep_up, args=(lease, over.wait), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        tenant.lease = None
        try:
            lease.end()
        except SpoolError as error:
            log.warning("lease left behind", error=str(error))
            tenant.become(lease.owner.next())  # for whom what was left is a dead one's


def keep_up(lease: Lease, wait: Callable[[float], object]) -> None:
    """Beat until it is lost, or `wait` says that it is over. wait: takes seconds."""
    failing = False
    while not wait(lease.interval):
        try:
            lease.beat()
        except LeaseLost as error:
            log.error("lease_lost", error=str(error))  # noqa: TRY400 - no fault of the code
            return
        except SpoolError as error:
            if not failing:
                left = f"{max(0.0, lease.left):.0f} s"
                log.error("lease not renewed, will try again", error=str(error), fresh_for=left)  # noqa: TRY400 - as above
            failing = True
        else:
            if failing:
                log.info("works again", what="lease")
            failing = False


class LeaseService:
    """The supervisor's child that beats: `supervisor.job.Service`. It stays to the end, since workers rely on it."""

    name = "lease"
    to_the_end = True

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def run(self) -> None:
        """Until it is killed, or the lease is lost."""
        with Signals() as signals:
            keep_up(self._lease, signals.pass_time)

    def close(self, *, unlink: bool) -> None:
        """It holds nothing open."""
