# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an ordinary user sees of the queue: the nodes of his own messages, told by the listener, shown by `mailq`.

Whose a message is, its envelope tells: it has whom the kernel named when it came. What cannot be read is nobody's,
and shown by `mailspool queue` only. Nothing is written.
"""

from collections.abc import Iterator

import msgspec

from mailspool.errors import SpoolError
from mailspool.model.envelope import Envelope
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store


class Seen(msgspec.Struct, frozen=True):
    """One node. trouble: what went wrong last, "" if nothing has yet."""

    state: State
    tier: int
    name: str
    envelope: Envelope
    trouble: str

    @property
    def at(self) -> Location:
        """Where it is; of a claim, not whose."""
        return Location(self.state, self.tier, self.name)


def tell(store: Store, user: str) -> str:
    """A user's nodes, a line of JSON for each; user "": everybody's. Raises SpoolError."""
    encode = msgspec.json.Encoder().encode
    return "".join(f"{encode(seen).decode()}\n" for seen in _seen(store, user))


def understand(text: str) -> list[Seen]:
    """What `tell` has told. Raises msgspec.MsgspecError."""
    return [msgspec.json.decode(line, type=Seen) for line in text.splitlines()]


def _seen(store: Store, user: str) -> Iterator[Seen]:
    known: dict[str, Envelope] = {}  # a message of many nodes is opened once
    tried = store.tried()
    with store.envelopes() as envelope_of:
        for at in store.locations():
            node_id = nodename.node_id_of(at.name)
            message = nodename.message_id_of(at.name) or at.name  # in quarantine a name may tell nothing
            try:
                envelope = known[message] = known.get(message) or envelope_of(at)
            except SpoolError:  # it may have moved on meanwhile
                continue
            if user in {"", envelope.user}:
                trouble = store.last_trouble(node_id) if node_id in tried else ""
                yield Seen(at.state, at.tier, at.name, envelope, trouble)
