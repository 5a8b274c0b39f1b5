# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is claimed of one message and goes to one destination in one sender's name, from its claim to its settling."""

from collections.abc import Sequence

from mailspool.delivery.delivery import Delivery
from mailspool.errors import SpoolError
from mailspool.store.handle import Node
from mailspool.supervisor.job import Job


class Lot:
    """jobs: those it was made of. nodes: what we hold of them, by their keys; once read, all that is whole.

    delivery: under way with them; None if nobody is to be asked. error: what came in the way of claiming or reading.
    """

    delivery: Delivery | None = None
    error: SpoolError | None = None

    def __init__(self, jobs: Sequence[Job], nodes: dict[str, Node]) -> None:
        self.jobs, self.nodes = jobs, nodes

    @property
    def is_open(self) -> bool:
        """Whether it may be begun ahead of its turn, or its turn passed over."""
        return self.delivery is not None or not (self.nodes or self.error)

    @property
    def first(self) -> Node:
        """Any of its nodes: they are of one message, one tier and one sender."""
        return next(iter(self.nodes.values()))

    def seal(self) -> None:
        """The final dot comes next. Raises ClaimLost if one was taken away, SpoolError."""
        for node in self.nodes.values():
            node.seal()

    def of_each_sender(self) -> "list[Lot]":
        """It, or one lot for each that sends, with an open file of its own: a list that has an owner bears his name.

        Raises SpoolError.
        """
        if len(self.nodes) < 2:  # as most often
            return [self]
        by_sender: dict[str, dict[str, Node]] = {}
        for key, node in self.nodes.items():
            by_sender.setdefault(node.from_, {})[key] = node
        _, *others = by_sender.values()
        if not others:
            return [self]
        for nodes in others:
            first = next(iter(nodes.values()))
            stored = first.msh.spool.store.open(first.location)
            for node in nodes.values():
                node.adopt(stored)
        return [Lot([job for job in self.jobs if job.key in nodes], nodes) for nodes in by_sender.values()]

    def close(self) -> None:
        """Let go of its message file."""
        for node in self.nodes.values():
            node.close()
