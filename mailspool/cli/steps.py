# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One node at a time: what each of an operator's steps does, and what it says where it comes too late.

A node may move between the look and the step: a worker claims it, or it falls back. Then the spool is looked at
again, once for all that moved, and the step is taken where they are now. Nothing is repaired and nothing forced.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from types import TracebackType
from typing import Self

from mailspool import log
from mailspool.cli import nodes, terminal
from mailspool.cli.nodes import called
from mailspool.cli.text import shown
from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.model.outcome import Attempt, Failed
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store
from mailspool.store.claim import has_ended, this_owner
from mailspool.store.handle import Node

Step = Callable[[Spool, Location], None]
"""Raises ClaimLost if the node has moved, LeftAlone if it is not to be touched, Unreadable, SpoolError."""

_ROUNDS = 3
"""Looks at the spool for those that move: a look misses some of them, and a node seldom moves thrice in a second."""

_DELIVERING = "is being delivered at this moment"
_TOO_LATE = "is past its final dot: too late, the host may have taken it"
_MOVED_ON = "has moved on, and is none of those that were asked for any more: left alone"
_GONE = "is gone: it has just been delivered, bounced or deleted; the log of the mail system tells"


class LeftAlone(SpoolError):
    """A node that is not to be touched: its text goes on where the node's name ends."""


def take(
    spool: Spool, locations: Sequence[Location], step: Step, meant: Callable[[Location], bool]
) -> tuple[int, list[str]]:
    """Take the step with each node; how many it was taken with, and what to say of the others.

    meant: whether a node that has moved is still to be touched where it is now.
    """
    done, problems = 0, list[str]()
    for _ in range(_ROUNDS):
        moved: list[Location] = []
        for at in terminal.watched(locations, "nodes"):
            try:
                step(spool, at)
                done += 1
            except ClaimLost:
                moved.append(at)
            except LeftAlone as error:
                problems.append(f"{called(at)} {error}")
            except Unreadable as error:
                problems.append(f"{shown(str(error))}: it goes to quarantine with the next look")
        if not moved:
            return done, problems
        now = _where_now(spool, moved)
        locations = [at for at in now if meant(at)]
        problems += [f"{called(at)} {_MOVED_ON}; 'mailspool why {called(at)}' tells" for at in now if not meant(at)]
    return done, problems + [f"{called(at)} {_GONE}" for at in locations]


def _where_now(spool: Spool, moved: Sequence[Location]) -> list[Location]:
    """One that this look misses keeps its old place, where the next round does not find it either."""
    seen = {nodes.identity(at): at for at in nodes.once(spool.store.locations())}
    return [seen.get(nodes.identity(at), at) for at in moved]


# --- the steps


def hold(spool: Spool, at: Location) -> None:
    """Aside, under its own name."""
    _refuse(at, {State.QUARANTINED: "is in quarantine, where nothing tries it"})
    if at.state is not State.HELD:
        spool.store.move(at, Location(State.HELD, at.tier, at.node))
        log.record("held by an operator", id=called(at))


def release(spool: Spool, at: Location) -> None:
    """Back into its tier under TIME 0: due now."""
    if at.state is State.QUARANTINED:
        restore(spool, at)
        return
    not_held = f"is not held; 'mailspool retry {called(at)}' makes it due now"
    _refuse(at, {State.QUEUED: not_held, State.CLAIMED: f"is not held, it {_DELIVERING}"})
    spool.store.move(at, Location(State.QUEUED, at.tier, _due_now(at)))
    log.record("released by an operator", id=called(at))


def restore(spool: Spool, at: Location) -> None:
    """From quarantine into tier 0, due now, under the name that its envelope gives it; only what is whole."""
    node = _whole(spool.store, at)
    if others := [other for other in spool.store.find(node.node_id) if other.state is not State.QUARANTINED]:
        raise LeftAlone(
            f"stays in quarantine: the same node is {others[0].state.value} as {shown(others[0].name)};"
            f" {_end_it(at)}, or 'mailspool delete {node.node_id}' that one first"
        )
    spool.store.move(at, Location(State.QUEUED, 0, str(node)))
    log.record("released by an operator", id=node.node_id)


def _whole(store: Store, at: Location) -> nodename.NodeName:
    """What it is called in a tier. Raises LeftAlone with the reason and what can be done, if it is no whole node."""
    try:
        stored = store.open(at)
    except Unreadable as error:
        raise LeftAlone(f"stays in quarantine: {shown(str(error))}; {_look_or_end(at)}") from error
    stored.file.close()
    try:
        return nodename.node_of(at.name, stored.envelope)
    except Unreadable as error:
        raise LeftAlone(f"stays in quarantine: {shown(str(error))}; {_look_or_end(at)}") from error


def _look_or_end(at: Location) -> str:
    return f"'mailspool quarantine show {called(at)}' tells what is left of it, {_end_it(at)}"


def _end_it(at: Location) -> str:
    return f"'mailspool quarantine delete {called(at)}' ends it"


def make_due(spool: Spool, at: Location) -> None:
    """TIME 0 is due, in whatever tier."""
    back = f"'mailspool release {called(at)}' puts it back, due now"
    reason = shown(spool.store.reason(at)) if at.state is State.QUARANTINED else ""
    _refuse(
        at,
        {
            State.CLAIMED: _DELIVERING,
            State.HELD: f"is held: {back}",
            State.QUARANTINED: f"is in quarantine ({reason}): {back}",
        },
    )
    if nodename.parse(at.name).time:
        spool.store.move(at, at._replace(name=_due_now(at)))


def delete(spool: Spool, at: Location) -> None:
    """One unlink, against which a worker's renames race: it loses the claim before its final dot, or has won it."""
    _refuse(at, {})
    spool.store.delete(at)
    log.record("deleted by an operator", id=called(at))


def _due_now(at: Location) -> str:
    return str(nodename.parse(at.name)._replace(time=0))


def _refuse(at: Location, reasons: Mapping[State, str]) -> None:
    """Raise LeftAlone with the reason for this state, if there is one; and always for what is past its final dot.

    But what a dead owner sealed, nobody sends any more until it is recovered: it may be taken.
    """
    if reason := reasons.get(at.state):
        raise LeftAlone(reason)
    if at.sealed and not has_ended(at.owner, this_owner()):
        raise LeftAlone(f"{_TOO_LATE}; 'mailspool why {called(at)}' tells")


class Bounces:
    """Nodes that are given up: first claimed, so that nobody delivers them, then settled message by message.

    verdict: what each is given up with, from what was tried. What is not settled by the end of the `with` block goes
    back to its tier. A held node is not claimed: nobody delivers it, and a crash must not release it.
    """

    def __init__(self, spool: Spool, verdict: Callable[[Sequence[Attempt]], Failed]) -> None:
        self._spool, self._verdict = spool, verdict
        self._taken: list[Node] = []
        self._lease = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lease:
            self._give_back(self._taken)

    def take(self, spool: Spool, at: Location) -> None:
        """A step: claim it, and see that it can be read."""
        _refuse(at, {State.QUARANTINED: f"is in quarantine: 'mailspool delete {called(at)}' ends it unreported"})
        node = spool.node_at(at)
        if at.state is not State.HELD:
            if not spool.lease:
                from mailspool.delivery.lease import leased  # a listing loads nothing of the door out

                self._lease.enter_context(leased(spool))
            node.claim()
        try:
            node.recipient  # noqa: B018 - opens the file, and looks for the recipient in its envelope
        except BaseException:
            self._give_back([node])
            raise
        node.close()
        self._taken.append(node)

    def settle(self) -> tuple[int, list[str]]:
        """Report and end them, the nodes of one message in one report; how many, and the faults."""
        groups = [list(group) for _, group in groupby(self._taken, key=lambda node: node.id)]
        settled, faults = 0, list[str]()
        for group in terminal.watched(groups, "reports"):
            try:
                self._spool.door.settler.bounce([(node, self._verdict(node.history())) for node in group])
                settled += len(group)
            except SpoolError as error:
                faults.append(f"{group[0].id} is not given up: {error}")
                self._give_back(group)
            self._taken = self._taken[len(group) :]
        return settled, faults

    def _give_back(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            node.close()
            if node.location.state is State.CLAIMED:
                with suppress(SpoolError):  # what cannot be given back is recovered when this process has ended
                    node.release()
