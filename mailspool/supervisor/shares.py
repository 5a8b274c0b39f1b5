# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How the workers are shared out, where they are, and what is in the way of one more. No I/O, and no time passes.

No destination and no address has more than half of them, and strangers, who have taken nothing lately, get a part
together, and a part of that each: so those that hang, however many, leave room for those that work.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mailspool.supervisor.destination import Destination
from mailspool.supervisor.held import Held
from mailspool.supervisor.job import Limits


class Obstacle(NamedTuple):
    """What keeps many destinations back at once: rule, as in `Held`; key: the address, or the pattern of hosts."""

    rule: str
    key: str = ""


STRANGERS, PATIENT = Obstacle("strangers"), Obstacle("strangers", "with patience")


class Shares(NamedTuple):
    """Workers that one destination may have, all at one address, all strangers together, and one of these.

    As many as one stranger may have all have together that are tried with patience.
    """

    destination: int
    address: int
    strangers: int
    stranger: int


def share_out(limits: Limits) -> Shares:
    """Of none ever none at all."""
    half = limits.workers // 2
    destination = max(1, min(limits.per_destination, half))
    strangers = max(1, int(limits.workers * limits.unproven_share))
    return Shares(destination, max(1, min(limits.per_host, half)), strangers, min(destination, max(1, strangers // 3)))


class AtWork(NamedTuple):
    """The workers at each address; those with strangers, and those of them that wait long for each answer."""

    shares: Shares
    at: Mapping[str, int]
    strange: int
    patient: int

    def obstacle(self, each: Destination, *, stranger: bool) -> Obstacle | None:
        """What others of its kind, or of its host's, have used up."""
        if self.at.get(each.address, 0) >= self.shares.address:
            return Obstacle("max_per_host", each.address)
        if stranger and self.strange >= self.shares.strangers:
            return STRANGERS
        if stranger and each.waiting[0].patient and self.patient >= self.shares.stranger:
            return PATIENT
        return None

    def room_behind(self, obstacle: Obstacle) -> int:
        """How many of those that it keeps back may go; it is one that `obstacle` gives."""
        if obstacle == STRANGERS:
            return self.shares.strangers - self.strange
        if obstacle == PATIENT:
            return self.shares.stranger - self.patient
        return self.shares.address - self.at.get(obstacle.key, 0)

    def told(self, obstacle: Obstacle) -> Held:
        """The same, for people."""
        if obstacle == STRANGERS:
            text = f"the {self.strange} workers for those that have taken nothing lately are busy"
        elif obstacle == PATIENT:
            text = f"the {self.patient} workers for strangers that were tried before are busy"
        else:
            text = f"{self.at[obstacle.key]} workers speak with {obstacle.key}, as many as one address may have"
        return Held(obstacle.rule, text)
