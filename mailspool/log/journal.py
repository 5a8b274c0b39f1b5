# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""systemd's journal in its native protocol: each field of an event is a field there, to be asked for by name.

`journalctl RECIPIENT=joe@example.org STATUS=deferred` finds what a text search only guesses. The protocol is that
of https://systemd.io/JOURNAL_NATIVE_PROTOCOL/; a value may hold any octet, so none can forge another field.
"""

import os
import re
from collections.abc import Iterator, Mapping

from mailspool.log.entry import MAX_CHARACTERS, Entry
from mailspool.log.writer import FACILITY_MAIL, SEVERITIES, Datagrams, Writer

SOCKET = "/run/systemd/journal/socket"

_NAMES = {"id": "QUEUE_ID", "to": "RECIPIENT", "text": "REPLY"}
"""The fields whose own names would say too little there; the others are in upper case."""

_RESERVED = frozenset({"MESSAGE", "PRIORITY", "MESSAGE_ID", "ERRNO", "TID", "UNIT", "USER_UNIT"})
_MAX_NAME = 64  # octets


class Journal(Datagrams):
    """To journald."""

    def __init__(self, otherwise: Writer, path: str = "") -> None:
        super().__init__(path or SOCKET, "journal", "line", otherwise)

    def _octets(self, entry: Entry) -> bytes:
        return encode(entry)


def encode(entry: Entry) -> bytes:
    """One entry as a datagram."""
    return b"".join(_field(name, str(value)[:MAX_CHARACTERS]) for name, value in _fields(entry))


def _fields(entry: Entry) -> Iterator[tuple[str, object]]:
    yield "MESSAGE", entry.text
    yield "PRIORITY", SEVERITIES[entry.level]
    yield "SYSLOG_FACILITY", FACILITY_MAIL >> 3
    yield "SYSLOG_IDENTIFIER", entry.ident
    yield "SYSLOG_PID", os.getpid()
    for name, value in entry.fields.items():
        yield _name(name), value


def _name(name: str) -> str:
    """Letters, digits and underscores, a letter in front; what journald itself knows is left to it."""
    given = _NAMES.get(name) or re.sub("[^A-Z0-9_]", "_", name.upper()).lstrip("_0123456789")[:_MAX_NAME]
    taken = not given or given in _RESERVED or given.startswith(("SYSLOG_", "CODE_"))
    return f"MAILSPOOL_{given}"[:_MAX_NAME] if taken else given


def _field(name: str, value: str) -> bytes:
    octets = value.encode(errors="backslashreplace")
    if b"\n" in octets:
        return name.encode() + b"\n" + len(octets).to_bytes(8, "little") + octets + b"\n"
    return f"{name}=".encode() + octets + b"\n"


def is_standard_error(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether standard error leads to the journal: it is the very stream that $JOURNAL_STREAM names."""
    try:
        facts = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{facts.st_dev}:{facts.st_ino}"
