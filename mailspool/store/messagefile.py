# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The form of a message file: the envelope as one line of JSON, padded with blanks, then the message in CRLF form.

The line is written twice: as blanks before the message, and over them once the message is known; in memory, where all
is small. So a file that was cut off anywhere either has no envelope or is shorter than its envelope says, and is never
taken for whole.
"""

from typing import IO

import msgspec

from mailspool.errors import Unreadable, UsageError
from mailspool.model.envelope import FORMAT_VERSION, Envelope, Facts
from mailspool.store import nodename
from mailspool.store.base import Location, State, Stored

MAX_ENVELOPE = 16 << 20  # octets; no more is read in search of the first line's end

_MOST = 10**15 - 1
_WIDEST = Facts(_MOST, eight_bit=True, utf8_headers=True, longest_line=_MOST, leading_dots=_MOST, received=_MOST)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Envelope).decode


def blank_line(envelope: Envelope) -> bytes:
    """A line of blanks, wide enough for the envelope whatever its facts. Raises UsageError if that is too wide."""
    width = len(_encode(msgspec.structs.replace(envelope, facts=_WIDEST)))
    if width >= MAX_ENVELOPE:
        raise UsageError(f"an envelope of {width} octets is over {MAX_ENVELOPE}: split the list of recipients")
    return b" " * width + b"\n"


def envelope_line(envelope: Envelope, facts: Facts, width: int) -> bytes:
    """The envelope with these facts, as a line of `width` octets."""
    return _encode(msgspec.structs.replace(envelope, facts=facts)).ljust(width - 1) + b"\n"


def envelope_in(octets: bytes) -> Envelope | None:
    """The envelope that the beginning of a damaged message file still holds; None if it holds none."""
    try:
        return _decode(octets.partition(b"\n")[0])
    except (msgspec.DecodeError, ValueError):
        return None


def read(file: IO[bytes], size: int, location: Location) -> Stored:
    """The envelope and, behind it, the message. size: octets of the whole file. Raises Unreadable, naming the fault."""
    return Stored(read_envelope(file.readline(MAX_ENVELOPE), size, location), file)


def read_envelope(line: bytes, size: int, location: Location) -> Envelope:
    """The same of the first line alone."""
    if not line.endswith(b"\n"):
        raise Unreadable(f"{location.name!r}: the first of its {size} octets are no envelope line")
    try:
        envelope = _decode(line)
    except (msgspec.DecodeError, ValueError) as error:
        raise Unreadable(f"{location.name!r}: its envelope cannot be read: {error}") from error
    if envelope.version != FORMAT_VERSION:
        raise Unreadable(f"{location.name!r}: format {envelope.version} is not {FORMAT_VERSION}, the one known here")
    promised = len(line) + envelope.facts.size
    if size != promised:
        longer = "longer" if size > promised else "shorter"
        raise Unreadable(f"{location.name!r} is {longer} than its envelope says: {size} of {promised} octets")
    if location.state is not State.QUARANTINED:  # whose names may be anything
        check_name(location.name, envelope)
    return envelope


def check_name(name: str, envelope: Envelope) -> None:
    """Who delivers relies on it that the name's N is one of the recipients. Raises Unreadable."""
    if not nodename.belongs(name, envelope.id, len(envelope.recipients)):
        nodename.parse(nodename.split_claim(name)[0])
        raise Unreadable(
            f"{name!r} does not belong to its message file, {envelope.id} for {len(envelope.recipients)} recipients"
        )
