# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Nodes: names that parse, whole message files that belong to them, and each node in one state only.

What has a living owner, or one of another host, is left to it. A repair takes nothing away but into quarantine, where
an operator decides.
"""

import stat
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.model.envelope import Envelope
from mailspool.store import fsops, messagefile, nodename
from mailspool.store.base import SECOND_COPY, Location, State
from mailspool.store.fsck.finding import FILE, Finding, Scene

_Envelopes = dict[tuple[int, int], tuple[Location, Envelope]]
"""By device and inode: the message file's envelope, and a node by which it was read."""

_PREFERRED = {State.CLAIMED: 0, State.HELD: 1, State.QUEUED: 2}
"""Of one node in several states that one stays which is furthest on, or which an operator has put aside."""


def nodes(scene: Scene, locations: Iterable[Location]) -> Iterator[Finding]:
    """All that is wrong with these, message by message."""
    for _, group in groupby(sorted(locations, key=_message_id), _message_id):
        of_one = list(group)
        envelopes: _Envelopes = {}
        for at in of_one:
            yield from _node(scene, at, envelopes)
        yield from _copies(scene, envelopes)
        yield from _states(scene, of_one)


def _message_id(at: Location) -> str:
    return nodename.message_id_of(at.name)


# --- one node


def _node(scene: Scene, at: Location, envelopes: _Envelopes) -> Iterator[Finding]:
    path = scene.store.path(at)
    facts = fsops.facts(path)
    if facts is None:
        return
    if stat.S_ISREG(facts.st_mode):
        yield from scene.rights(path, facts, FILE)
    if at.state is State.QUARANTINED:  # may be anything
        return
    try:
        fault = _fault(scene, at, envelopes, (facts.st_dev, facts.st_ino))
    except ClaimLost:
        return
    except SpoolError as error:
        yield Finding(path, str(error), "left alone: a fault of this host or its disk; mend it and look again")
        return
    yield from _content(scene, at, path, fault)
    if not fault and (entry := envelopes.get((facts.st_dev, facts.st_ino))):
        yield from _arrival(path, entry[1])


def _content(scene: Scene, at: Location, path: str, fault: str) -> Iterator[Finding]:
    ended = at.state is State.CLAIMED and scene.has_ended(at.owner)
    if fault and (ended or at.state is not State.CLAIMED):
        yield Finding(path, fault, "move it to quarantine", lambda: _put_aside(scene, at))
    elif fault:
        yield Finding(path, fault, "left to the worker that has claimed it")
    elif ended:
        tier = min(at.tier, scene.tiers - 1)
        fault, cure = "is claimed by an owner that has ended", f"return it to tier {tier}"
        cure += f"; {SECOND_COPY}" if at.sealed else ""
        yield Finding(path, fault, cure, lambda: _give_back(scene, at, tier))


def _fault(scene: Scene, at: Location, envelopes: _Envelopes, inode: tuple[int, int] = (0, 0)) -> str:
    """Why it cannot be delivered as it stands; "" if it can. Raises ClaimLost, SpoolError."""
    try:
        node = nodename.parse(at.node)
        nodename.arrival_of(node.id)
        if inode in envelopes:
            envelope = envelopes[inode][1]
            messagefile.check_name(at.name, envelope)
        else:
            stored = scene.store.open(at)
            stored.file.close()
            envelope = stored.envelope
            envelopes[inode] = at, envelope
    except Unreadable as error:
        return str(error)
    domain = nodename.destination_of(envelope.recipients[node.index].address)
    return "" if domain == node.destination else f"its recipient is at {domain}, not at {node.destination}"


def _arrival(path: str, envelope: Envelope) -> Iterator[Finding]:
    if abs(nodename.arrival_of(envelope.id) - envelope.arrival) > nodename.ARRIVAL_WITHIN:
        fault = (
            f"arrived at {envelope.arrival:.0f} by its envelope, at {nodename.arrival_of(envelope.id):.0f} by its id"
        )
        yield Finding(path, fault, "left alone: it is delivered, and given up by the time in its id")


def _put_aside(scene: Scene, at: Location) -> None:
    fault = _fault(scene, at, {})
    if not fault:
        raise ClaimLost(f"{at.name} can be read")
    scene.store.quarantine(at, fault)


def _give_back(scene: Scene, at: Location, tier: int) -> None:
    if not scene.has_ended(at.owner):
        raise ClaimLost(f"{at.owner} lives")
    scene.store.move(at, Location(State.QUEUED, tier, at.node))


# --- all nodes of one message


def _copies(scene: Scene, envelopes: _Envelopes) -> Iterator[Finding]:
    """A further message file of one message is a copy, where no (further) link could be made."""
    read = list(envelopes.values())
    for first, (at, envelope) in pairwise(read):
        if envelope != first[1]:
            yield Finding(
                scene.store.path(at),
                f"has the id of {scene.store.path(first[0])}, but is another message",
                "left alone: look at both; 'mailspool delete NAME' ends one",
            )


def _states(scene: Scene, of_one: Iterable[Location]) -> Iterator[Finding]:
    """Names in quarantine may be anything: they count for none."""
    by_node = sorted((at for at in of_one if at.state in _PREFERRED), key=_rank)
    for node_id, group in groupby(by_node, lambda at: nodename.node_id_of(at.name)):
        kept, *others = group
        for at in others if node_id else ():
            yield from _second(scene, kept, at)


def _rank(at: Location) -> tuple[str, int, int, str]:
    return nodename.node_id_of(at.name), _PREFERRED[at.state], -at.tier, at.name


def _second(scene: Scene, kept: Location, at: Location) -> Iterator[Finding]:
    path, other = scene.store.path(at), scene.store.path(kept)
    if path == other:  # in its folder, and directly in its tier
        other = next(each for each in (scene.store.place(at), scene.store.elsewhere(at)) if each != path)
    if not _are_both_there(path, other):
        return
    fault = f"the same node stands as {other} too"
    if at.state is State.CLAIMED:
        yield Finding(path, fault, "left to those who have claimed it")
        return

    def put_aside() -> None:
        if not _are_both_there(path, other):
            raise ClaimLost(f"{path} and {other} are not there both")
        scene.store.quarantine(at, fault)

    yield Finding(path, fault, "move this one to quarantine", put_aside)


def _are_both_there(path: str, other: str) -> bool:
    """At one moment: a node that moves from one to the other is not in the first place again."""
    return fsops.is_there(other) and fsops.is_there(path) and fsops.is_there(other)
