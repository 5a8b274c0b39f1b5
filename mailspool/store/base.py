# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The contract of every back end: a Store keeps nodes, each of them one message to one recipient, each in one place.

A node is at exactly one `Location`. All that ever happens to it is: `accept` makes it, `move` takes it from one
location to another, `delete` ends it. A move either happened or did not; who finds the source gone gets
ClaimLost and repairs nothing. `tests/store/test_contract.py` holds each back end to this.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec

from mailspool.model.envelope import Envelope
from mailspool.model.outcome import Attempt

if TYPE_CHECKING:
    from mailspool.store.waiting import Waiting


SECOND_COPY = "its final dot may have been said, or its bounce accepted, so that a second copy is possible"
"""What is to be said of a sealed claim that is taken back."""


class State(StrEnum):
    """Where a node can be. "queued": in a tier."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    HELD = "held"
    QUARANTINED = "quarantined"


class Location(NamedTuple):
    """Where one node is.

    tier: 0 in quarantine, which has none. name: the node name; while claimed with `~attempt` behind it, and from
    the final dot on a seal (`~`) behind that; in quarantine anything. owner: while claimed.
    """

    state: State
    tier: int
    name: str
    owner: str = ""

    @classmethod
    def queued(cls, key: str) -> "Location":
        """Where a queued node of that `key` is."""
        tier, _, name = key.partition("/")
        return cls(State.QUEUED, int(tier), name)

    @property
    def key(self) -> str:
        """TIER/NAME, by which the supervisor and those who work for it know a queued node."""
        return f"{self.tier}/{self.name}"

    @property
    def sealed(self) -> bool:
        """Whether its final dot may have been said, or its bounce accepted: who takes it away now is too late."""
        return self.state is State.CLAIMED and self.name.endswith("~")

    @property
    def node(self) -> str:
        """The name without what a claim has put behind it."""
        return self.name.partition("~")[0] if self.state is State.CLAIMED else self.name


class Stored(msgspec.Struct, frozen=True):
    """An opened message file: its envelope, and the message as a binary file positioned at its first byte.

    The message does not begin at 0: who reads it more than once remembers `file.tell()` and seeks there. Closing it is
    the caller's. Reading raises OSError on a local fault.
    """

    envelope: Envelope
    file: IO[bytes]


class Batch(ABC):
    """Messages on their way in, of which none is promised before all are; see `Store.batch`."""

    @abstractmethod
    def accept(self, envelope: Envelope, chunks: Iterable[bytes], entered: int) -> tuple[str, ...]:
        """As `Store.accept`, but for the promise. What raises is no part of the batch; the others are."""


class Store(ABC):
    """Where nodes are kept. Each method raises SpoolError on a local fault, naming the path and the reason."""

    # --- the house itself

    @abstractmethod
    def create(self, tiers: int) -> None:
        """Make what is missing for so many tiers; change nothing that is there."""

    @abstractmethod
    def tiers(self) -> list[int]:
        """The numbers of all tiers that exist, also of those beyond the configured ones, ascending."""

    # --- the way in

    @abstractmethod
    def accept(
        self, envelope: Envelope, chunks: Iterable[bytes], entered: int, state: State = State.QUEUED
    ) -> tuple[str, ...]:
        """Store one message durably and make one node in tier 0 for each recipient of the envelope.

        envelope: its facts are replaced by those found while writing. chunks: the message in CRLF form.
        entered: the TIME of the nodes, Unix seconds. state: HELD for nodes that nobody is to deliver yet. Returns the
        node names, in the recipients' order.
        When it returns, the message survives a power cut. When it raises (also an error out of `chunks`),
        nothing is left behind, but for a node that somebody has claimed in that moment. Raises UsageError for an id
        that is not letters and digits, no recipients, or too many; never ClaimLost.
        """

    @abstractmethod
    def batch(self) -> AbstractContextManager[Batch]:
        """Accept many messages for the price of few waits for the disk.

        When the block has ended, all survive a power cut. When it raises, or its end does, nothing of any is left
        behind, as with `accept`. Of a process that dies meanwhile each message is whole, or not there.
        """

    # --- looking

    @abstractmethod
    def names(self, tier: int, state: State = State.QUEUED) -> list[str]:
        """All names in a tier, in no order, whether they parse or not; [] if there is none.

        state: HELD for the tier's held part; CLAIMED for our own claims out of it; QUARANTINED (with tier 0).
        """

    @abstractmethod
    def look(self, tier: int, waiting: "Waiting") -> tuple[list[str], int]:
        """The names in a tier that may be due, for who tries them, in no order; and how many stand there in all.

        As `names`, but without the nodes that wait, of which the more are left out the less there is to read.
        """

    @abstractmethod
    def locations(self) -> Iterator[Location]:
        """Every node in every state. A node that moves meanwhile may be seen twice or not at all."""

    @abstractmethod
    def find(self, message_id: str) -> list[Location]:
        """All nodes whose ID (or ID.N) is `message_id`."""

    @abstractmethod
    def open(self, location: Location) -> Stored:
        """Raises ClaimLost if nothing is there, Unreadable if it is no whole message file of that name's message."""

    def envelope(self, location: Location) -> Envelope:
        """The envelope alone, for who only looks. Raises what `open` raises."""
        stored = self.open(location)
        stored.file.close()
        return stored.envelope

    def envelopes(self) -> AbstractContextManager[Callable[[Location], Envelope]]:
        """`envelope` for who looks at many within the block: sooner done with each."""
        return nullcontext(self.envelope)

    @abstractmethod
    def peek(self, location: Location, octets: int) -> bytes:
        """The first octets of whatever is there. Raises ClaimLost, or Unreadable for anything but a regular file."""

    # --- moving

    @abstractmethod
    def claim(self, location: Location, attempt: str) -> Location:
        """Take a node out of a tier, or away from who has claimed it: only one can.

        attempt: at most 57 letters, digits and dots, never used twice by us.
        Raises ClaimLost if somebody else was first.
        """

    @abstractmethod
    def seal(self, claim: Location) -> Location:
        """Say that the final dot comes next. Raises ClaimLost if the claim was taken away: then it must not come."""

    @abstractmethod
    def move(self, source: Location, target: Location) -> Location:
        """Move a node to a name that is new. Returns target.

        Raises ClaimLost if the source is gone; otherwise SpoolError if the target is there already.
        """

    @abstractmethod
    def delete(self, location: Location) -> None:
        """End a node, and its history with it. Raises ClaimLost if it is gone."""

    @abstractmethod
    def quarantine(self, location: Location, reason: str) -> Location:
        """Put aside what cannot be read or sent, the reason beside it. Nothing is deleted for being unknown."""

    @abstractmethod
    def reason(self, location: Location) -> str:
        """Why something is in quarantine; "" if nobody wrote it down."""

    # --- history

    @abstractmethod
    def record(self, node_id: str, attempts: Sequence[Attempt]) -> None:
        """Append to the history of the node ID.N."""

    @abstractmethod
    def history(self, node_id: str) -> list[Attempt]:
        """All recorded attempts of the node ID.N, oldest first; a torn last line is left out."""

    @abstractmethod
    def tried(self) -> Collection[str]:
        """The ID.N of every node that has a history: who looks at many nodes asks once, not for each."""

    def last_trouble(self, node_id: str) -> str:
        """What went wrong last with the node ID.N; "" if nothing has yet."""
        attempts = self.history(node_id)
        return attempts[-1].text if attempts else ""

    # --- recovering

    @abstractmethod
    def recover(self) -> list[Location]:
        """Return the claims of this host's dead owners to their tiers and sweep what was never accepted.

        A sealed one gets a line in its history: a second copy is possible. Returns where the nodes are now. A fault
        with one does not keep the others back; the first is then raised.
        """

    @abstractmethod
    def claims_of(self, owner: str) -> Iterator[Location]:
        """All claims of one owner, whether their names parse or not."""

    @abstractmethod
    def claims(self, attempt_prefix: str) -> list[Location]:
        """Our own claims whose attempt begins with `attempt_prefix`: "w12." for those of worker w12, after its end."""
