# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which rule holds a node back just now, of all that there are: for `mailspool why`, and for programs.

The spool tells where a node is, the running supervisor which of its destination's limits are used up.
"""

from collections.abc import Iterator

import msgspec

from mailspool.cli.running import Status
from mailspool.cli.text import shown, span
from mailspool.errors import Unreadable
from mailspool.spool import Spool
from mailspool.store.base import Location, State
from mailspool.store.handle import Node
from mailspool.supervisor.job import FAULT, LEASE


class Reason(msgspec.Struct, frozen=True):
    """rule: one word, as in docs/operating.md. seconds: until it ends by itself, null if nobody can know."""

    rule: str
    text: str
    seconds: float | None = None

    @property
    def line(self) -> str:
        """For people."""
        word = "in" if self.rule == "appointment" else "for another"  # it is what ends the wait of the tier
        return f"{self.text}{f', {word} {span(self.seconds)}' if self.seconds else ''}"


def due_at(node: Node) -> float:
    """As `Node.can_process` has it: Unix seconds."""
    spool = node.msh.spool
    return min(node.msh.tier.due_at(node.time, spool.now()), node.envelope.arrival + spool.max_age)


def reasons(spool: Spool, at: Location, status: Status | None) -> list[Reason]:
    """All that keep a node from being tried; none if it only waits for a look. Raises ClaimLost."""
    match at.state:
        case State.QUEUED:
            return list(_queued(spool, at, status))
        case State.CLAIMED:
            return [Reason("claimed", f"is being delivered by {shown(at.owner)}")]
        case State.HELD:
            return [Reason("held", "not tried until somebody returns it with mailspool release")]
        case State.QUARANTINED:
            return [Reason("quarantined", f"in quarantine: {shown(spool.store.reason(at)) or 'nobody wrote down why'}")]


def _queued(spool: Spool, at: Location, status: Status | None) -> Iterator[Reason]:
    try:
        node = spool.node_at(at)
    except Unreadable:
        return
    left = due_at(node) - spool.now()
    if left > 0:
        yield Reason("tier", f"not due in tier {at.tier}", left)
    if status is None:
        yield Reason("no supervisor", f"no supervisor answers in {spool.settings.run_dir}")
        return
    if seconds := status.get("appointments", {}).get(at.key):
        yield Reason("appointment", "its host has said when: it is tried again then, due or not", seconds)
    yield from of_supervisor(status)
    yield from of_destination(spool.door.route.destination(node.destination), status)


def of_supervisor(status: Status) -> Iterator[Reason]:
    """What holds all nodes back."""
    if status["stopping"]:
        yield Reason("stopping", "the supervisor is stopping")
    elif status["paused"]:
        yield Reason("paused", "the supervisor is paused until HUP or 'mailspool reload'")
    for alarm in status["alarms"]:
        if alarm["subject"] in (LEASE, FAULT):
            yield Reason(alarm["subject"], shown(alarm["text"]))


def of_destination(destination: str, status: Status) -> Iterator[Reason]:
    """What holds back all nodes for it."""
    if held := status.get("held", {}).get(destination):
        yield Reason(held["rule"], f"{shown(destination)}: {shown(held['text'])}", held["seconds"] or None)
    elif cooling := status["cooling"].get(destination):
        yield Reason("cool_down", f"{shown(destination)} refuses sessions: it is left alone", cooling)
