# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is claimed for one message to one destination: its nodes, and how far each of them has come."""

from collections.abc import Sequence

from mailspool.delivery.delivery import Delivery
from mailspool.errors import SpoolError
from mailspool.store.handle import Node
from mailspool.supervisor.job import Job


class Lot:
    """jobs: those it was made of.

    nodes: those that we have claimed, by their jobs' keys; whole: those of them that can be read, and to which the same
    one sends; later: those to which another one does. error: what has kept us from that.
    is_open: whether it may be begun ahead of its turn, or its turn passed over.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.nodes: dict[str, Node] = {}
        self.whole: dict[str, Node] = {}
        self.later: dict[str, Node] = {}
        self.delivery: Delivery | None = None
        self.error: SpoolError | None = None
        self.is_open = False

    @property
    def others(self) -> list[Job]:
        """Those that another one sends to."""
        return [job for job in self.jobs if job.key in self.later]

    def close(self) -> None:
        """Let go of its message file."""
        for node in self.nodes.values():
            node.close()


def of_one_sender(nodes: dict[str, Node]) -> tuple[dict[str, Node], dict[str, Node]]:
    """Those that the same sends to as to the first, and the others: they came through a list that has an owner."""
    if len(nodes) < 2:  # as most often
        return nodes, {}
    senders = {key: node.from_ for key, node in nodes.items()}
    first = next(iter(senders.values()), "")
    others = {key: nodes[key] for key, sender in senders.items() if sender != first}
    return {key: node for key, node in nodes.items() if key not in others}, others
