# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Histories: what was tried for a node and what came back, one JSON line per attempt, appended in one write.

A history is not synced: after a power cut its last lines may be missing from a later bounce, while the node itself
is where it was. Lines that a crash tore are left out when it is read.
"""

from collections.abc import Sequence

import msgspec

from mailspool.errors import ClaimLost
from mailspool.model.outcome import Attempt
from mailspool.store import fsops

_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Attempt).decode


def append(path: str, attempts: Sequence[Attempt]) -> None:
    """Add attempts to the history at `path`. Raises SpoolError."""
    if attempts:
        fsops.append(path, b"\n" + _encode_lines(attempts))  # the blank line in front ends a line that a crash tore


def read(path: str) -> list[Attempt]:
    """All attempts in the history at `path`, oldest first; [] if there is none. Raises SpoolError."""
    try:
        lines = fsops.read(path).split(b"\n")
    except ClaimLost:
        return []
    return [attempt for line in lines if (attempt := _parse_line(line))]


def _parse_line(line: bytes) -> Attempt | None:
    """None for a torn line, and for the blank behind the last."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, ValueError):
        return None
