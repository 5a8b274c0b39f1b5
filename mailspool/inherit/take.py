# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Taking over: each message of another mail system becomes one of ours, once, wherever the process was killed.

A message is accepted as held nodes, which nobody delivers, recorded as accepted, and only then released into tier 0.
So an import that was killed finds how far it came (`store.imported`): what was not accepted as a whole is taken back
and begun again, what was is released, and what was released is never looked for again. The message's bytes stay as they
are, but for line ends and one Received field on top: what it lacked when it was sent, it lacks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import IO, NamedTuple

from mailspool.errors import ClaimLost, InputError, SpoolError, Unreadable
from mailspool.inherit.kind import Kind
from mailspool.inherit.source import Found, Mark, Source, chunks, mark_of
from mailspool.message.headers import format_date
from mailspool.message.message import Message
from mailspool.model.envelope import Envelope, Recipient
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store
from mailspool.store.imported import Imported, Record, Stage
from mailspool.submission.prepare import Expand, Parse, Wishes, find_recipients, find_sender

BATCH = 64  # messages that share the syncs of the record

_TIER, _HELD = "0", "held/0"  # where accepted nodes end, and where they wait for that


class Letter(NamedTuple):
    """A message that can be taken over. name: what stands for it in the source. key: of this source file, for ever.

    mark: of the file with the message, as it was looked at. size: octets there.
    """

    name: str
    key: str
    found: Found
    mark: Mark
    size: int
    sender: str
    recipients: tuple[Recipient, ...]


class Taken(NamedTuple):
    """What became of a letter: its queue id, or "" and the reason why it is left."""

    letter: Letter
    queue_id: str
    reason: str = ""


class House(NamedTuple):
    """The spool that takes over. new_id: a queue id that tells this arrival (`nodename.new_id`)."""

    store: Store
    hostname: str
    now: Callable[[], float]
    new_id: Callable[[float], str]
    keep_age: bool = False


def examine(kind: Kind, source: Source, name: str, parse: Parse, expand: Expand) -> Letter:
    """Read one message to its end. Raises Unreadable and InputError with the reason why it cannot be taken over.

    Its key is a digest of the kind, the path within the source and all content: the same wherever that is mounted.
    """
    found = kind.read(source, name)
    digest = blake2b(f"{kind.NAME}\0{name}\0".encode(errors="surrogateescape") + found.beside, digest_size=20)
    with source.open(found.path) as (file, facts):
        digest.update(file.read(found.start))
        if facts.st_size <= found.start:
            raise Unreadable("there is no message in it")
        message = Message(_digested(file, digest.update))
        recipients = find_recipients(message, Wishes(to=found.recipients), parse, expand)
        sender = find_sender(message, found.sender, parse)
        for _ in message.chunks():
            pass
    key = digest.hexdigest()
    return Letter(name, key, found, mark_of(facts), facts.st_size - found.start, sender, recipients)


def settle_earlier(store: Store, imported: Imported) -> int:
    """Bring to its end what an import that was killed left between two steps; how many messages it released."""
    unsettled = [record for record in imported.records.values() if not record.is_settled]
    if not unsettled:
        return 0
    nodes: defaultdict[str, dict[str, Location]] = defaultdict(dict)
    for at in store.locations():
        nodes[nodename.message_id_of(at.name)][nodename.node_id_of(at.name)] = at
    accepted = [record for record in unsettled if record.is_taken or _is_whole(record, nodes[record.id])]
    dropped = [record for record in unsettled if record not in accepted]
    remains = [at for record in dropped for at in nodes[record.id].values()]
    for at in remains:
        with suppress(ClaimLost):
            store.delete(at)
    imported.add((record.at(Stage.DROPPED) for record in dropped), changed=[_HELD] if remains else ())
    held = [at for record in accepted for at in nodes[record.id].values() if at.state is State.HELD]
    _release(store, imported, accepted, held)
    return len(accepted)


def _is_whole(record: Record, nodes: dict[str, Location]) -> bool:
    """Whether all its nodes were made: if somebody has released one of them already, that was seen."""
    return len(nodes) == record.nodes or any(at.state is not State.HELD for at in nodes.values())


def take(house: House, imported: Imported, source: Source, letters: Sequence[Letter]) -> Iterator[Taken]:
    """Take over some messages; what became of each, once that is durable.

    Raises SpoolError for a local fault: then those before it are taken over, and the others are not.
    """
    begun = [
        Record(letter.key, house.new_id(_arrival(house, letter)), len(letter.recipients), Stage.BEGUN)
        for letter in letters
    ]
    imported.add(begun)
    taken: list[Taken] = []
    accepted: list[Record] = []
    nodes: list[Location] = []
    fault: SpoolError | None = None
    for letter, record in zip(letters, begun, strict=True):
        try:
            nodes += _accept(house, source, letter, record.id)
        except (Unreadable, InputError) as error:
            taken.append(Taken(letter, "", str(error)))
        except SpoolError as error:
            fault = error
            break
        else:
            accepted.append(record)
            taken.append(Taken(letter, record.id))
    imported.add(record.at(Stage.DROPPED) for record in begun if record not in accepted)
    _release(house.store, imported, accepted, nodes)
    yield from taken
    if fault:
        raise fault


def _accept(house: House, source: Source, letter: Letter, queue_id: str) -> list[Location]:
    with source.open(letter.found.path) as (file, facts):
        if mark_of(facts) != letter.mark:
            raise Unreadable("it has changed since it was looked at")
        file.seek(letter.found.start)
        message = Message(chunks(file))
        now = house.now()
        message.prepend("Received", f"by {house.hostname} (mailspool import)", f"id {queue_id}; {format_date(now)}")
        envelope = Envelope(queue_id, letter.sender, letter.recipients, _arrival(house, letter), house.hostname)
        names = house.store.accept(envelope, message.chunks(), int(now), State.HELD)
    return [Location(State.HELD, 0, name) for name in names]


def _arrival(house: House, letter: Letter) -> float:
    """A file's time may be wrong: nothing arrives in the future."""
    return min(max(0.0, letter.found.arrival), house.now()) if house.keep_age else house.now()


def _release(store: Store, imported: Imported, accepted: Sequence[Record], nodes: Sequence[Location]) -> None:
    """From here on they are delivered, so it must be known by then that they were accepted."""
    imported.add(record.at(Stage.ACCEPTED) for record in accepted)
    for at in nodes:
        with suppress(ClaimLost):  # an operator was first
            store.move(at, at._replace(state=State.QUEUED))
    imported.add((record.at(Stage.RELEASED) for record in accepted), changed=[_TIER] if accepted else ())


def _digested(file: IO[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks(file):
        update(chunk)
        yield chunk
