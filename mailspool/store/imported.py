# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The record of what was imported: each source once, also when an import was killed, or its mail is long delivered.

One file beside the tiers, `imported`, one JSON line per step of one source: BEGUN before its message is accepted as
held nodes, ACCEPTED once it is, RELEASED once its nodes are in tier 0; DROPPED if none were made after all, so that it
may begin again. Nothing that is held is delivered, so that after a crash it can be seen how far each source came. Only
who holds the lock writes. Lines that a crash tore are left out.
"""

import fcntl
from collections.abc import Iterable, Sequence
from enum import StrEnum
from types import TracebackType
from typing import IO, Self

import msgspec

from mailspool.errors import ClaimLost, SpoolError
from mailspool.store import fsops

FILE = "imported"


class Stage(StrEnum):
    """How far a source came."""

    BEGUN = "begun"
    ACCEPTED = "accepted"
    RELEASED = "released"
    DROPPED = "dropped"


class Record(msgspec.Struct, frozen=True):
    """source: its key. id: of the message that it became. nodes: how many that has."""

    source: str
    id: str
    nodes: int
    stage: Stage

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be done about it."""
        return self.stage in (Stage.RELEASED, Stage.DROPPED)

    @property
    def is_taken(self) -> bool:
        """Whether its message is ours, and must not be taken over again."""
        return self.stage in (Stage.ACCEPTED, Stage.RELEASED)

    def at(self, stage: Stage) -> "Record":
        """The same, further on."""
        return Record(self.source, self.id, self.nodes, stage)


_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Record).decode


def read(root: str) -> dict[str, Record]:
    """The last record of each source, by its key; {} if nothing was ever imported. Raises SpoolError."""
    try:
        return _latest(fsops.read(f"{root}/{FILE}"))
    except ClaimLost:
        return {}


class Imported:
    """The record, locked and open to be added to, in a `with` block. Raises SpoolError if another import runs.

    root: the spool's directory, which must be there.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self.records: dict[str, Record] = {}

    def __enter__(self) -> Self:
        path = f"{self._root}/{FILE}"
        self._file: IO[bytes] = fsops.open_to_append(path)
        try:
            _lock(self._file, path)
            fsops.sync_directory(self._root)
            self._file.seek(0)
            self.records = _latest(self._file.read())
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        fsops.close(self._file)

    def has(self, source: str) -> bool:
        """Whether its message was taken over."""
        return source in self.records and self.records[source].is_taken

    def add(self, records: Iterable[Record], changed: Sequence[str] = ()) -> None:
        """Durable when it returns. Raises SpoolError.

        changed: folders of the spool in which names were changed: they are made durable before it is said so.
        """
        for folder in changed:
            fsops.sync_directory(f"{self._root}/{folder}")
        added = {record.source: record for record in records}
        if added:
            # The blank line in front ends a line that a crash tore.
            fsops.write(self._file, b"\n" + _encode_lines(added.values()))
            fsops.sync(self._file)
            self.records |= added


def _lock(file: IO[bytes], path: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolError(f"another import is at work on this spool: it has locked {path}") from None
    except OSError as error:
        raise SpoolError(f"cannot lock {path}: {error.strerror}") from error


def _latest(content: bytes) -> dict[str, Record]:
    return {record.source: record for line in content.split(b"\n") if (record := _parse_line(line))}


def _parse_line(line: bytes) -> Record | None:
    try:
        return _decode(line)
    except (msgspec.DecodeError, ValueError):
        return None
