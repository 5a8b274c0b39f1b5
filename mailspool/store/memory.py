# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A Store in memory, for tests and for callers without a disk: the whole contract, except that it does not last."""

# ruff: noqa: D102 - the contract in base.py says what each method does

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from mailspool.errors import ClaimLost, SpoolError
from mailspool.model.envelope import Envelope, Survey
from mailspool.model.outcome import Attempt
from mailspool.store import messagefile, nodename
from mailspool.store.base import Batch, Location, State, Store, Stored
from mailspool.store.recover import return_claim
from mailspool.store.waiting import Waiting


class MemoryStore(Store):
    """owner: whose claims these are. is_dead: which other owners' claims `recover` returns. clock: Unix seconds."""

    def __init__(
        self,
        owner: str = "memory",
        is_dead: Callable[[str], bool] = lambda _owner: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._owner = owner
        self._is_dead = is_dead
        self._clock = clock
        self._tiers: set[int] = set()
        self._nodes: dict[Location, bytes] = {}
        self._reasons: dict[Location, str] = {}
        self._histories: dict[str, list[Attempt]] = {}

    def create(self, tiers: int) -> None:
        self._tiers.update(range(tiers))

    def tiers(self) -> list[int]:
        return sorted(self._tiers)

    def accept(
        self, envelope: Envelope, chunks: Iterable[bytes], entered: int, state: State = State.QUEUED
    ) -> tuple[str, ...]:
        names, made = self._nodes_of(envelope, chunks, entered, state)
        self._nodes.update(made)
        return names

    def _nodes_of(
        self, envelope: Envelope, chunks: Iterable[bytes], entered: int, state: State
    ) -> tuple[tuple[str, ...], dict[Location, bytes]]:
        names = nodename.names_of(envelope, entered)
        width = len(messagefile.blank_line(envelope))
        survey = Survey(chunks)
        message = b"".join(survey)
        content = messagefile.envelope_line(envelope, survey.facts(), width) + message
        made = {Location(state, 0, name): content for name in names}
        if taken := made.keys() & self._nodes.keys():
            raise SpoolError(f"{taken.pop().name} is there already")
        return names, made

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        batch = _MemoryBatch(self._nodes_of)
        yield batch
        self._nodes.update(batch.made)

    def names(self, tier: int, state: State = State.QUEUED) -> list[str]:
        return [at.name for at in list(self._nodes) if at.tier == tier and at.state is state]

    def look(self, tier: int, waiting: Waiting) -> tuple[list[str], int]:
        names = self.names(tier)
        return list(waiting.outside(names)), len(names)

    def locations(self) -> Iterator[Location]:
        return iter(list(self._nodes))

    def find(self, message_id: str) -> list[Location]:
        return [at for at in list(self._nodes) if nodename.is_of_message(at.name, message_id)]

    def open(self, location: Location) -> Stored:
        try:
            content = self._nodes[location]
        except KeyError:
            raise ClaimLost(f"{location.name} is gone") from None
        return messagefile.read(BytesIO(content), len(content), location)

    def peek(self, location: Location, octets: int) -> bytes:
        try:
            return self._nodes[location][:octets]
        except KeyError:
            raise ClaimLost(f"{location.name} is gone") from None

    def claim(self, location: Location, attempt: str) -> Location:
        return self.move(location, Location(State.CLAIMED, location.tier, f"{location.node}~{attempt}", self._owner))

    def seal(self, claim: Location) -> Location:
        return self.move(claim, claim._replace(name=nodename.sealed(claim.name)))

    def move(self, source: Location, target: Location) -> Location:
        if source in self._nodes and target in self._nodes:
            raise SpoolError(f"{target.name} is there already")
        self._nodes[target] = self._take(source)
        return target

    def delete(self, location: Location) -> None:
        self._take(location)
        self._histories.pop(nodename.node_id_of(location.name), None)

    def quarantine(self, location: Location, reason: str) -> Location:
        names = nodename.quarantine_names(location.node or location.name)
        targets = (Location(State.QUARANTINED, 0, name) for name in names)
        target = self.move(location, next(at for at in targets if at not in self._nodes))
        self._reasons[target] = reason
        return target

    def reason(self, location: Location) -> str:
        return self._reasons.get(location, "")

    def record(self, node_id: str, attempts: Sequence[Attempt]) -> None:
        self._histories.setdefault(node_id, []).extend(attempts)

    def history(self, node_id: str) -> list[Attempt]:
        return list(self._histories.get(node_id, ()))

    def tried(self) -> Collection[str]:
        return self._histories.keys()

    def recover(self) -> list[Location]:
        owners = {at.owner for at in self._nodes if at.state is State.CLAIMED}
        dead = [at for owner in owners if self._is_dead(owner) for at in self.claims_of(owner)]
        return [return_claim(self, at, self._clock()) for at in dead]

    def claims_of(self, owner: str) -> Iterator[Location]:
        return (at for at in list(self._nodes) if at.state is State.CLAIMED and at.owner == owner)

    def claims(self, attempt_prefix: str) -> list[Location]:
        mine = self.claims_of(self._owner)
        return [at for at in mine if nodename.split_claim(at.name)[1].startswith(attempt_prefix)]

    def _take(self, location: Location) -> bytes:
        """The message file, no more there. One pop decides who gets it."""
        self._reasons.pop(location, None)
        try:
            return self._nodes.pop(location)
        except KeyError:
            raise ClaimLost(f"{location.name} is gone") from None


class _MemoryBatch(Batch):
    """nodes_of: what one message becomes."""

    def __init__(self, nodes_of: Callable[..., tuple[tuple[str, ...], dict[Location, bytes]]]) -> None:
        self._nodes_of = nodes_of
        self.made: dict[Location, bytes] = {}

    def accept(self, envelope: Envelope, chunks: Iterable[bytes], entered: int) -> tuple[str, ...]:
        names, made = self._nodes_of(envelope, chunks, entered, State.QUEUED)
        if taken := made.keys() & self.made.keys():
            raise SpoolError(f"{taken.pop().name} is there already")
        self.made.update(made)
        return names
