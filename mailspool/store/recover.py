# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Recovering: the claims of this host's dead owners go back to their tiers, one file at a time.

Never a directory at once: an owner that was only frozen must find its nodes gone when it wakes. Owners of other
hosts, and whatever is not understood, are left alone. It may be cut short or run twice at any point.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.store import fsops, nodename
from mailspool.store.base import Location, State, Store
from mailspool.store.claim import Owner, is_dead


def recover(store: Store, root: str, me: Owner, claims_of: Callable[[str], Iterable[Location]]) -> list[Location]:
    """Return each dead owner's nodes to their tiers; what is no node goes to quarantine. Then sweep `incoming/`.

    Nobody was told yes about what is there, or its nodes are made. Returns where the nodes are now. A fault with one
    of them does not keep the others back; the first fault is raised in the end.
    """
    moved: list[Location] = []
    faults = _Faults()
    for owner in _of_the_dead(fsops.read_names(f"{root}/claimed"), me):
        for claim in claims_of(owner):
            with faults:
                moved.append(_return_one(store, claim))
        with faults:
            _remove_if_empty(f"{root}/claimed/{owner}")
    drafts = {name: name.partition("~")[2] for name in fsops.read_names(f"{root}/incoming")}
    dead = set(_of_the_dead(set(drafts.values()), me))
    for name in (name for name, owner in drafts.items() if owner in dead):
        with faults:
            fsops.unlink(f"{root}/incoming/{name}")
    faults.raise_first()
    return moved


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


def _return_one(store: Store, claim: Location) -> Location:
    node, _ = nodename.split_claim(claim.name)
    try:
        nodename.parse(node)
    except Unreadable as error:
        return store.quarantine(claim, str(error))
    return store.move(claim, Location(State.QUEUED, claim.tier, node))


def _of_the_dead(owners: Iterable[str], me: Owner) -> Iterator[str]:
    """Those owners of this host that run no more. A text that is no owner is nobody's we could judge."""
    for text in owners:
        try:
            owner = Owner.parse(text)
        except Unreadable:
            continue
        if is_dead(owner, me):
            yield text


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
