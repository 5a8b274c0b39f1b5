# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Recovering: the claims of this host's dead owners go back to their tiers, one file at a time.

Never a directory at once: an owner that was only frozen must find its nodes gone when it wakes. Owners of other
hosts, and whatever is not understood, are left alone. It may be cut short or run twice at any point.
"""

from collections.abc import Callable, Iterable, Iterator

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.store import fsops, nodename
from mailspool.store.base import Location, State, Store
from mailspool.store.claim import Owner, is_dead


def return_claims(store: Store, root: str, me: Owner, claims_of: Callable[[str], Iterable[Location]]) -> list[Location]:
    """Return each dead owner's nodes to their tiers; what is no node goes to quarantine. Returns where they are now.

    A fault with one of them does not keep the others back; the first is raised in the end.
    """
    moved: list[Location] = []
    faults: list[SpoolError] = []
    for owner in _of_the_dead(fsops.read_names(f"{root}/claimed"), me):
        for claim in claims_of(owner):
            try:
                moved.append(_return_one(store, claim))
            except ClaimLost:
                continue
            except SpoolError as error:
                faults.append(error)
        _remove_if_empty(f"{root}/claimed/{owner}")
    if faults:
        raise faults[0]
    return moved


def sweep_incoming(root: str, me: Owner) -> None:
    """Remove what this host's dead owners were writing: nobody was told that it is accepted, or its nodes are made."""
    for name in fsops.read_names(f"{root}/incoming"):
        for _ in _of_the_dead([name.partition("~")[2]], me):
            fsops.unlink(f"{root}/incoming/{name}")


def sweep_histories(store: Store, root: str) -> list[str]:
    """Remove histories whose node is in no state; for a full sweep, since it reads every name twice.

    Twice, because a node that moves can be missed once. One missed twice loses only what its bounce would list.
    """
    orphans = set(fsops.read_names(f"{root}/history"))
    for _ in range(2):
        orphans.difference_update(nodename.node_id_of(at.name) for at in store.locations())
    for node_id in orphans:
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
