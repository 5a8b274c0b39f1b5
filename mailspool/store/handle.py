# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Handle and Node as Mail::Spool knows them, over any back end: an opened tier, and one message to one recipient.

A node's file is opened only once it is claimed, or when somebody asks for its envelope; a scan never does.
What stands in a tier and is no node goes to quarantine as soon as a handle meets it.
"""

from collections.abc import Iterator, Sequence
from typing import IO, Protocol

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.log import get_logger
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt
from mailspool.model.tier import Tier
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store, Stored
from mailspool.store.waiting import Waiting


class Keeper(Protocol):
    """What a handle and its nodes ask of the spool that they belong to."""

    @property
    def store(self) -> Store:
        """Where the nodes are."""

    @property
    def dequeue_dir(self) -> str:
        """The spool's directory, "" for a back end without one."""

    @property
    def max_age(self) -> float:
        """Seconds after which a node is due whatever its tier, to be tried once more and given up."""

    def now(self) -> float:
        """Unix seconds."""

    def next_attempt(self) -> str:
        """The name of a claim, never used twice."""

    def mail_spool_node(self, msh: "Handle", name: str) -> "Node":
        """The node of that name."""

    def quarantine(self, location: Location, reason: str) -> None:
        """Put it aside, loudly."""


class Handle:
    """An opened tier. Iterate over it, or ask for `next_node` until it is None: what is due, oldest first."""

    def __init__(self, spool: Keeper, tier: Tier) -> None:
        self.spool, self.tier = spool, tier
        self._names: Iterator[str] = iter(())
        self.depth = 0  # nodes that stood there at the last `open_spool`, due or not

    @property
    def wait(self) -> float:
        """Seconds that a node stays in this tier before it is tried."""
        return self.tier.wait

    @property
    def spool_dir(self) -> str:
        """The tier's directory."""
        return f"{self.spool.dequeue_dir}/{self.tier.number}"

    @property
    def fallback_dir(self) -> str | None:
        """The next tier's directory; None on the last: then a failure is final."""
        return None if self.tier.last else f"{self.spool.dequeue_dir}/{self.tier.number + 1}"

    def open_spool(self) -> "Handle":
        """Read the names of those that may be due, or are no nodes. Raises SpoolError."""
        names, self.depth = self.spool.store.look(self.tier.number, self.waiting())
        self._names = iter(sorted(names))
        return self

    def waiting(self) -> Waiting:
        """Which nodes are surely not due. Whose nodes are due by a rule of their own overrides this too."""
        now = self.spool.now()
        return Waiting(*self.tier.waiting(now), int(now - self.spool.max_age) + 2)

    def mail_spool_node(self, name: str) -> "Node":
        """The node of that name in this tier, as the spool makes it. Raises Unreadable."""
        return self.spool.mail_spool_node(self, name)

    def make_node(self, name: str) -> "Node":
        """A `Node`, which the spool may make another of. Raises Unreadable."""
        return Node(self, name)

    def next_node(self) -> "Node | None":
        """The next node that can be processed; None when there is no more."""
        return next(iter(self), None)

    def __iter__(self) -> "Iterator[Node]":
        for name in self._names:
            try:
                node = self.mail_spool_node(name)
                due = node.can_process()
            except Unreadable as error:
                self._put_aside(name, str(error))
                continue
            if due:
                yield node

    def _put_aside(self, name: str, reason: str) -> None:
        """A full disk, or another host that was first, must not keep the nodes behind it from being seen."""
        try:
            self.spool.quarantine(Location(State.QUEUED, self.tier.number, name), reason)
        except SpoolError as error:
            get_logger().warning("not put aside", name=name, tier=self.tier.number, reason=reason, error=str(error))


class Node:
    """One message to one recipient. Raises Unreadable for a name that is none."""

    __slots__ = ("_stored", "location", "lock_error", "msh", "name", "parsed")

    def __init__(self, msh: Handle, name: str) -> None:
        self.msh, self.name = msh, name
        self.parsed = nodename.parse(name)
        self.location = Location(State.QUEUED, msh.tier.number, name)
        self.lock_error = ""
        self._stored: Stored | None = None

    # --- what its name tells

    @property
    def id(self) -> str:
        """The message's id."""
        return self.parsed.id

    @property
    def node_id(self) -> str:
        """ID.N, which stays the same from tier to tier."""
        return self.parsed.node_id

    @property
    def destination(self) -> str:
        """The recipient's domain, or a hash of a very long one."""
        return self.parsed.destination

    @property
    def time(self) -> int:
        """When it entered its tier, Unix seconds; 0: now, please."""
        return self.parsed.time

    @property
    def age(self) -> float:
        """Seconds since the message arrived. Raises Unreadable if its id does not tell."""
        return self.msh.spool.now() - nodename.arrival_of(self.parsed.id)

    def can_process(self) -> bool:
        """Whether it has waited long enough in its tier, or is too old to wait on. Raises Unreadable as `age` does.

        `Handle.waiting` leaves out most of those for which this is False, and none for which it is not.
        """
        return self.age >= self.msh.spool.max_age or self.msh.tier.is_due(self.time, self.msh.spool.now())

    # --- claiming

    def lock_node(self) -> bool:
        """Claim it; never waits. False if somebody else has it: `lock_error` says so."""
        try:
            self.claim()
        except ClaimLost as error:
            self.lock_error = str(error)
            return False
        return True

    def claim(self) -> None:
        """Take it: only one can. Raises ClaimLost."""
        self.location = self.msh.spool.store.claim(self.location, self.msh.spool.next_attempt())

    def seal(self) -> None:
        """The final dot comes next: from now on nobody takes it away. Raises ClaimLost if somebody has."""
        self.location = self.msh.spool.store.seal(self.location)

    def release(self) -> None:
        """Give the claim back: the node stands in its tier as before. Raises ClaimLost."""
        self._move(Location(State.QUEUED, self.msh.tier.number, self.name))

    def due_again(self) -> None:
        """Give the claim back, due at once whatever its tier: TIME 0. Raises ClaimLost."""
        self._move(Location(State.QUEUED, self.msh.tier.number, str(self.parsed._replace(time=0))))

    # --- reading

    def open(self) -> Stored:
        """Its envelope and its message. Raises ClaimLost, Unreadable."""
        if self._stored is None:
            self._stored = self.msh.spool.store.open(self.location)
        return self._stored

    def adopt(self, stored: Stored) -> None:
        """Take what a sibling has opened: nodes of one message are links to one message file."""
        self._stored = stored

    def reopen(self) -> Stored:
        """The same, with the message at its first byte again."""
        self.close()
        return self.open()

    def close(self) -> None:
        """Close the message file, if it was opened."""
        if self._stored is not None:
            self._stored.file.close()
            self._stored = None

    @property
    def envelope(self) -> Envelope:
        """The message's envelope."""
        return (self._stored or self.open()).envelope

    @property
    def recipient(self) -> Recipient:
        """Which of the envelope's recipients it is for. Raises Unreadable if there is none of that number."""
        recipients = (self._stored or self.open()).envelope.recipients
        try:
            return recipients[self.parsed.index]
        except IndexError:
            raise Unreadable(f"{self.name}: its envelope has only {len(recipients)} recipients") from None

    @property
    def to(self) -> str:
        """The recipient's address."""
        return self.recipient.address

    @property
    def from_(self) -> str:
        """The sender's address, "" for the null sender."""
        return self.envelope.sender_to(self.recipient)

    @property
    def size(self) -> int:
        """Octets of the message in CRLF form."""
        return self.envelope.facts.size

    def filehandle(self) -> IO[bytes]:
        """The message, from its first byte."""
        return (self._stored or self.open()).file

    @property
    def filename(self) -> str:
        """Where it stands in its tier, unless somebody moved it there by hand."""
        return f"{self.msh.spool_dir}/{nodename.place(self.msh.tier.number, self.name)}"

    @property
    def fallback_filename(self) -> str | None:
        """Where it would stand in the next tier; None on the last."""
        directory = self.msh.fallback_dir
        place = nodename.place(self.msh.tier.number + 1, self._name_entering_now())
        return None if directory is None else f"{directory}/{place}"

    # --- settling

    def fallback(self) -> None:
        """Go to the next tier (from the last one: wait there once more). Raises ClaimLost."""
        number = self.msh.tier.number + (not self.msh.tier.last)
        self._move(Location(State.QUEUED, number, self._name_entering_now()))

    def delete_node(self) -> None:
        """It is settled: end it. Raises ClaimLost."""
        self.msh.spool.store.delete(self.location)
        self.close()

    def record(self, attempts: Sequence[Attempt]) -> None:
        """Append to its history."""
        self.msh.spool.store.record(self.node_id, attempts)

    def history(self) -> list[Attempt]:
        """What was tried so far."""
        return self.msh.spool.store.history(self.node_id)

    def _name_entering_now(self) -> str:
        return str(self.parsed._replace(time=int(self.msh.spool.now())))

    def _move(self, target: Location) -> None:
        self.msh.spool.store.move(self.location, target)
        self.location, self.name = target, target.name
        self.close()
