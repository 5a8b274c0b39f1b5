# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which nodes a selector means, found by names, and by envelopes where it asks for addresses.

Looking makes nothing: where there is no spool, it says so.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from mailspool.cli.select import ALL, Selector
from mailspool.cli.text import shown
from mailspool.errors import ClaimLost, SpoolError
from mailspool.model.envelope import Envelope
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store
from mailspool.store.filesystem import FileStore


class Selection(NamedTuple):
    """The nodes that were meant as far as names tell; and the words that meant none."""

    locations: Sequence[Location]
    unknown: Sequence[str]


class Entry:
    """A node and its envelope, None if that cannot be read.

    trouble: what went wrong with it, "" as long as nobody has said. node_id: its ID.N, "" where the name has none.
    message: as `message_id` gives it. number: the N.
    """

    __slots__ = ("at", "envelope", "message", "node_id", "number", "trouble")

    def __init__(self, at: Location, envelope: Envelope | None, trouble: str = "") -> None:
        self.at, self.envelope, self.trouble = at, envelope, trouble
        self.node_id = nodename.node_id_of(at.name)  # taken apart once: a list may be of a hundred thousand
        message, _, self.number = self.node_id.rpartition(".")
        self.message = message or at.name

    @property
    def recipient(self) -> str:
        """The recipient's address, "" if nobody can tell."""
        recipients = self.envelope.recipients if self.envelope else ()
        number = int(self.number) if self.number.isdecimal() else len(recipients)
        return recipients[number].address if number < len(recipients) else ""


def existing(spool: Spool) -> Store:
    """The store of a spool that is there, and that we may read. Raises SpoolError."""
    store = spool.store
    if isinstance(store, FileStore):
        store.check()
    if not os.path.lexists(spool.settings.dequeue_dir):
        raise SpoolError(
            f"there is no spool at {spool.settings.dequeue_dir}: start mailspoold, which makes it,"
            " or name the configuration of another with -c FILE"
        )
    return store


def select(store: Store, selector: Selector, now: float) -> Selection:
    """What names tell, by arrival."""
    selection = named(store.locations(), selector.words)
    return selection._replace(locations=fitting(selection.locations, selector, now))


def named(locations: Iterable[Location], words: frozenset[str] | None) -> Selection:
    """Those that some word names, as they were seen. words: None: every node is meant."""
    if words is None:
        return Selection([*locations], ())
    meant = {at: words & names_of(at) for at in locations}
    return Selection([at for at in meant if meant[at]], sorted(words.difference(*meant.values())))


def fitting(locations: Iterable[Location], selector: Selector, now: float) -> list[Location]:
    """Those whose names fit, each once, by arrival. locations: of whole messages; `words` are not looked at."""
    found = once(locations)
    return [at for at in found if selector.fits_name(at, now)] if selector.narrows else found


def read(store: Store, locations: Iterable[Location]) -> Iterator[Entry]:
    """Each node with its envelope, read once for all nodes of a message that stand together.

    A node that has moved on meanwhile is read where it is now, and left out if it is nowhere.
    """
    several: Envelope | None = None  # the last, if another node may have it too
    with store.envelopes() as envelope_of:
        for at in locations:
            if several and several.id == message_id(at):
                yield Entry(at, several)
                continue
            try:
                found: Entry | None = entry(at, envelope_of)
            except ClaimLost:
                found = _entry_elsewhere(store, at)
            if found:
                several = found.envelope if found.envelope and len(found.envelope.recipients) > 1 else None
                yield found


def meant(entries: Iterable[Entry], selector: Selector) -> Iterator[Entry]:
    """Those that the selector means by their envelopes."""
    if not selector.reads:
        return iter(entries)
    return (one for one in entries if one.envelope and selector.fits_envelope(one.envelope, one.recipient))


def once(locations: Iterable[Location]) -> list[Location]:
    """Each node where it was seen last, by arrival: one that moves meanwhile may have been seen twice."""
    latest = {identity(at): at for at in locations}
    return [latest[each] for each in sorted(latest)]


def message_id(location: Location) -> str:
    """The ID in a name, or what stands for it where there is none."""
    return nodename.node_id_of(location.name).rpartition(".")[0] or location.name


def called(at: Location) -> str:
    """How to name a node to a command, made harmless."""
    return shown(nodename.node_id_of(at.name) or at.name)


def identity(at: Location) -> str:
    """The same in every state. Sorts by arrival, then by recipient. In quarantine names may be anything, even alike."""
    message, _, number = nodename.node_id_of(at.name).rpartition(".")
    if at.state is State.QUARANTINED or not message:
        message, number = message or at.name, at.name
    return f"{message} {len(number)}{number}"  # one text: a hundred thousand of them are sorted in half the time


def unknown(word: str) -> str:
    """What to say of a word that names no node."""
    if word.upper() == ALL:
        return f"{shown(word)} names no node: all of them are {ALL}, in capitals, where that can be said"
    return (
        f"{shown(word)} names no node in this spool: if it was accepted here, it has been delivered, bounced or"
        " deleted since; look for it in the log of the mail system"
    )


def entry(at: Location, envelope_of: Callable[[Location], Envelope]) -> Entry:
    """What one message file holds. envelope_of: as a store's `envelope`. Raises ClaimLost if the node is not there."""
    try:
        return Entry(at, envelope_of(at))
    except ClaimLost:
        raise
    except SpoolError as error:
        return Entry(at, None, str(error))


def _entry_elsewhere(store: Store, at: Location) -> Entry | None:
    """Where a node has moved on to; None if it has ended."""
    node_id = nodename.node_id_of(at.name)
    for now in store.find(node_id) if node_id else ():
        with suppress(ClaimLost):
            return entry(now, store.envelope)
    return None


def names_of(at: Location) -> frozenset[str]:
    """The words that name it: its message's ID, its ID.N, its whole name."""
    return frozenset({message_id(at), nodename.node_id_of(at.name), at.name}) - {""}
