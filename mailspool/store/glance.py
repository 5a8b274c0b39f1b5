# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The envelope of a message file that is as it should be, in three calls to the kernel: for who lists all of them.

Whatever is amiss is not told here, but by who reads with care: `Store.open`.
"""

import msgspec

from mailspool.model.envelope import FORMAT_VERSION, Envelope
from mailspool.store import fsops, nodename
from mailspool.store.base import Location, State

_FIRST = 4096  # octets: an envelope of few recipients, and most often all of a small message

_decode = msgspec.json.Decoder(Envelope).decode


def envelope(path: str, location: Location) -> Envelope | None:
    """None where it is to be read with care."""
    try:
        begin, size = fsops.glance(path, _FIRST)
        end = begin.index(b"\n")
        found = _decode(begin[:end])
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    is_whole = found.version == FORMAT_VERSION and end + 1 + found.facts.size == size
    is_named = location.state is State.QUARANTINED or nodename.belongs(location.name, found.id, len(found.recipients))
    return found if is_whole and is_named else None
