# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Recovering: a dead owner's lease goes first, then its claims go back to their tiers, one file at a time.

Never a directory at once: an owner that was only frozen must find its nodes gone when it wakes. Who of this host is
dead its process table tells; who of another, `store.observer`. What is not understood is left alone. It may be cut
short or run twice at any point: who finds something gone passes it over.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.log import get_logger
from mailspool.model.outcome import Attempt
from mailspool.model.status import LOCAL_FAULT
from mailspool.store import fsops, nodename
from mailspool.store.base import SECOND_COPY, Location, State, Store
from mailspool.store.claim import Owner, has_ended, is_owner
from mailspool.store.lease import end_lease

ABANDONED = 129600.0
"""Seconds (36 h) after which what is in `incoming/` has no writer any more, whoever that was: it has given up long
before, `filesystem.WRITING_TIME` after it began. qmail's figures."""


def recover(store: Store, root: str, me: Owner, now: float) -> list[Location]:
    """Return the nodes of all dead owners of this host to their tiers, and sweep what they were writing.

    now: Unix seconds, for histories. Returns where the nodes are now. A fault with one of them does not keep the
    others back; the first fault is raised in the end.
    """
    moved: list[Location] = []
    faults = _Faults()
    for owner in sorted(dead_of_this_host(root, me)):
        with faults:
            for location in recover_owner(store, root, owner, now):
                moved.append(location)  # noqa: PERF402 - those before a fault count too
    faults.raise_first()
    return moved


def recover_owner(store: Store, root: str, owner: str, now: float) -> Iterator[Location]:
    """End an owner that is dead: its lease and what else it said of itself, its claims, what it was writing.

    Yields where each node is now; what is no node goes to quarantine. As long as its lease cannot be removed nothing
    of it is touched: it could wake and believe in it. Faults are as with `recover`.
    """
    end_lease(root, owner)
    faults = _Faults()
    for claim in store.claims_of(owner):
        with faults:
            yield return_claim(store, claim, now)
    with faults:
        _remove_if_empty(f"{root}/claimed/{owner}")
    for name in drafts(root):
        if _writer(name) == owner:
            with faults:
                fsops.unlink(f"{root}/incoming/{name}")
    faults.raise_first()


def return_claim(store: Store, claim: Location, now: float) -> Location:
    """The claim of an owner that has ended stands in its tier again, or in quarantine if it is no node. Where it is.

    Raises ClaimLost if somebody else was first.
    """
    try:
        node = nodename.parse(claim.node)
    except Unreadable as error:
        return store.quarantine(claim, str(error))
    moved = store.move(claim, Location(State.QUEUED, claim.tier, claim.node))
    end = f"its owner {claim.owner} ended"
    if not claim.sealed:
        get_logger().info("recovered", node=moved.name, tier=moved.tier, end=end)
        return moved
    end += f"; {SECOND_COPY}"
    get_logger().warning("recovered", node=moved.name, tier=moved.tier, end=end)
    store.record(node.node_id, [Attempt(now, claim.tier, "", LOCAL_FAULT, end)])
    return moved


def dead_of_this_host(root: str, me: Owner) -> set[str]:
    """Owners of this host that run no more and have left something in the spool."""
    found = {*_in_hosts(root), *_in_claimed(root), *map(_writer, drafts(root))}
    return {owner for owner in found if has_ended(owner, me)}


def owners(store: Store, root: str) -> set[str]:
    """Owners that have a lease, a roll-call, or claims.

    One that has an empty directory only may be a program that claims now and then: it is left that.
    """
    known = _in_hosts(root)
    return known | {owner for owner in _in_claimed(root) - known if any(store.claims_of(owner))}


def drafts(root: str) -> list[str]:
    """What is being written in `incoming/`, or was; each name is used once only."""
    return [name for name in fsops.read_names(f"{root}/incoming") if is_owner(_writer(name))]


def sweep(root: str, names: Iterable[str]) -> Iterator[str]:
    """Remove these of `incoming/`, which were there for `ABANDONED`; yields each. Raises SpoolError.

    Nobody was told yes about them, or their nodes are made.
    """
    for name in names:
        with suppress(ClaimLost):  # somebody else was first
            fsops.unlink(f"{root}/incoming/{name}")
            yield name


def shorten(store: Store, last: int) -> Iterator[Location]:
    """Move the nodes of all tiers beyond `last` into it, under their names: each keeps its TIME and its history.

    Yields where each was. What somebody else has claimed or moved meanwhile is passed over, and so is what is no
    node: the next look into its tier puts that aside. A fault with one of them does not keep the others back; the
    first is raised in the end.
    """
    faults = _Faults()
    for tier in (tier for tier in store.tiers() if tier > last):
        for name in filter(nodename.node_id_of, store.names(tier)):
            with faults:
                source = Location(State.QUEUED, tier, name)
                store.move(source, Location(State.QUEUED, last, name))
                yield source
    faults.raise_first()


def sweep_histories(store: Store, root: str) -> list[str]:
    """Remove histories whose node is in no state; what bears no node's ID.N is none, and left alone.

    Every name is read twice, because a node that moves can be missed once. One missed twice loses only what its
    bounce would list.
    """
    orphans = set(filter(nodename.is_node_id, fsops.read_names(f"{root}/history")))
    for _ in range(2 if orphans else 0):
        orphans.difference_update(nodename.node_id_of(at.name) for at in store.locations())
    for node_id in orphans:
        with suppress(ClaimLost):  # its node has ended meanwhile
            fsops.unlink(f"{root}/history/{node_id}")
    return sorted(orphans)


def _writer(draft: str) -> str:
    return draft.partition("~")[2]


def _in_hosts(root: str) -> set[str]:
    return set(filter(is_owner, (name.partition("~")[0] for name in fsops.read_names(f"{root}/hosts"))))


def _in_claimed(root: str) -> set[str]:
    return set(filter(is_owner, fsops.read_names(f"{root}/claimed")))


def _remove_if_empty(directory: str) -> None:
    for tier in fsops.read_names(directory):
        fsops.remove_directory(f"{directory}/{tier}")
    fsops.remove_directory(directory)


class _Faults:
    """Lets a round go on past what somebody else did first, and past faults, which it remembers."""

    def __init__(self) -> None:
        self._first: SpoolError | None = None

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if isinstance(error, SpoolError) and not isinstance(error, ClaimLost):
            self._first = self._first or error
        return isinstance(error, SpoolError)

    def raise_first(self) -> None:
        if self._first:
            raise self._first
