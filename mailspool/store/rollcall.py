# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The roll-call: what each owner says of itself in `hosts/<owner>~rollcall`, for people; nothing relies on it.

It is exchanged by a rename, seldom, and goes with its owner's lease. The file's own time is the file server's, which is
one clock for all hosts: beside it the owner's shows how far that is off.
"""

import msgspec

from mailspool.errors import ClaimLost, Unreadable
from mailspool.store import fsops

SUFFIX = "~rollcall"

_MOST = 1 << 16  # octets


class RollCall(msgspec.Struct, frozen=True):
    """version: of mailspool. configuration: the fingerprint of `config.common`. clock: Unix seconds of its host.

    workers: how many lived, None if the supervisor was too busy to tell.
    """

    version: str
    configuration: str
    workers: int | None
    clock: float


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RollCall).decode


def write(root: str, owner: str, call: RollCall) -> None:
    """Say it, in the place of what was said before. Raises SpoolError."""
    path = _path(root, owner)
    fsops.replace(path, _encode(call), f"{path}.new")


def read(root: str, owner: str) -> tuple[RollCall, float] | None:
    """What an owner said last, and when, Unix seconds of the file server; None if it never did. Raises SpoolError."""
    try:
        text, when = fsops.read_dated(_path(root, owner), _MOST)
        return _decode(text), when
    except ClaimLost:
        return None
    except (msgspec.DecodeError, ValueError) as error:
        raise Unreadable(f"{_path(root, owner)} is no roll-call: {error}") from error


def _path(root: str, owner: str) -> str:
    return f"{root}/hosts/{owner}{SUFFIX}"
