# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Everything in a spool, looked at while it is in use: what two looks find is so, what one finds was only moving."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mailspool.errors import ClaimLost, SpoolError
from mailspool.store import fsops, nodename
from mailspool.store.filesystem import FileStore
from mailspool.store.fsck.directories import beyond, directories
from mailspool.store.fsck.finding import Finding, Scene
from mailspool.store.fsck.leftovers import drafts, histories, hosts, reasons, record
from mailspool.store.fsck.nodes import nodes


class Repair(NamedTuple):
    """What became of a finding. trouble: why it is as it was; "" if it is repaired, or gone by itself (`moved`)."""

    finding: Finding
    trouble: str = ""
    moved: bool = False


def examine(store: FileStore, tiers: int, pause: Callable[[], None]) -> list[Finding]:
    """All findings, in the order in which they are to be repaired. Writes nothing. Raises SpoolError.

    tiers: how many are configured. pause: called between two looks, to let whatever was moving arrive; a spool
    without a finding is looked at once.
    """
    first = {finding.key for finding in _look(store, tiers)}
    if not first:
        return []
    pause()
    return [finding for finding in _look(store, tiers) if finding.key in first]


def repair(findings: Iterable[Finding]) -> Iterator[Repair]:
    """Mend what can be mended, one after the other; each is looked at again just before."""
    for finding in findings:
        try:
            if finding.mend:
                finding.mend()
        except ClaimLost:
            yield Repair(finding, moved=True)
        except SpoolError as error:
            yield Repair(finding, str(error))
        else:
            yield Repair(finding, "" if finding.mend else finding.cure)


def _look(store: FileStore, tiers: int) -> Iterator[Finding]:
    """Histories and reasons are read before what they belong to, so that what is new meanwhile is not missed."""
    root = fsops.facts(store.root)
    if root is None:
        raise SpoolError(f"there is no spool at {store.root}")
    scene = Scene(store, root.st_uid, tiers)
    found = fsops.read_names(scene.place("history"))
    put_aside = fsops.read_names(scene.place("quarantine"))
    locations = list(store.locations())
    yield from directories(scene)
    yield from nodes(scene, locations)
    yield from beyond(scene)
    yield from histories(scene, found, frozenset(nodename.node_id_of(at.name) for at in locations))
    yield from reasons(scene, put_aside)
    yield from drafts(scene)
    yield from hosts(scene)
    yield from record(scene)
