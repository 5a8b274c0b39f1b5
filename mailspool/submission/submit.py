# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The last step in: a prepared message becomes nodes. When `submit` returns, the message survives a power cut.

When it raises, nothing is left behind. Whether somebody is there to deliver it now makes no difference to the answer.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import msgspec

from mailspool.errors import TooLarge
from mailspool.message.message import Message
from mailspool.model.envelope import Envelope
from mailspool.store.base import Batch, Store
from mailspool.store.nodename import new_id

MAX_GIVEN_ID = 40  # characters of a caller's id that a queue id keeps; with our own 20 it fits into a node name

_NOT_OF_AN_ID = r"[^0-9A-Za-z]+"


class Accepted(msgspec.Struct, frozen=True):
    """names: of the nodes, in the recipients' order. size: octets of the message in CRLF form."""

    names: tuple[str, ...]
    size: int


def new_message_id(now: float, random: Callable[[int], bytes] = os.urandom, given: str = "") -> str:
    """A queue id, unique over hosts, processes and forks. now: Unix seconds.

    given: a caller's id; its letters and digits are put behind ours, so that it need not be unique.
    """
    return new_id(now, random) + (given and re.sub(_NOT_OF_AN_ID, "", given)[:MAX_GIVEN_ID])


def submit(
    store: Store | Batch,
    message: Message,
    envelope: Envelope,
    *,
    max_size: int = 0,
    poke: Callable[[], object] | None = None,
) -> Accepted:
    """Store the message durably, as one node for each recipient; into a batch, once that ends.

    They enter tier 0 at the envelope's arrival. max_size: octets in CRLF form, 0 for no limit. poke: wakes this host's
    supervisor; what it raises is ignored, for it will find the nodes by itself. Raises TooLarge, and SpoolError for a
    local fault.
    """
    measured = _Measured(message.chunks(), max_size)
    names = store.accept(envelope, measured, int(envelope.arrival))
    if poke:
        with suppress(Exception):  # the message is accepted: nothing may make that sound like a failure
            poke()
    return Accepted(names, measured.size)


class _Measured:
    """Passes chunks through as long as they keep to a limit, and knows their size."""

    def __init__(self, chunks: Iterable[bytes], max_size: int) -> None:
        self._chunks, self._max_size = chunks, max_size
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            if 0 < self._max_size < self.size:
                raise TooLarge(f"message larger than {self._max_size} octets: make it smaller or raise the limit")
            yield chunk
