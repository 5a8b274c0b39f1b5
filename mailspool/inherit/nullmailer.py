# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""nullmailer's queue: `queue/TIME.PID`, lines with the sender and the recipients, an empty line, the message.

It writes in `tmp/` and links, so what is in `queue/` is whole. What is in `failed/` it has given up, with a report:
that is left, and so is whatever begins with a dot, which nullmailer-send passes over too.
"""

import re
from typing import IO

from mailspool.errors import Unreadable
from mailspool.inherit.source import Found, Source

NAME = "nullmailer"

_FOLDER = "queue"
_MAX_LINE = 4096  # octets; an address has at most 256 (RFC 5321 §4.5.3.1.3)
_TIME = re.compile(r"([0-9]{1,12})\.[0-9.]+")


def is_one(source: Source) -> bool:
    """Whether a directory is one of nullmailer's."""
    return source.has_folder(_FOLDER) and source.has_folder("tmp")


def names(source: Source) -> list[str]:
    """The paths of its messages."""
    return [f"{_FOLDER}/{name}" for name in source.names(_FOLDER) if not name.startswith(".")]


def read(source: Source, path: str) -> Found:
    """The message at a path. Raises Unreadable."""
    with source.open(path) as (file, facts):
        sender, recipients = read_envelope(file)
        made = _TIME.fullmatch(path.rpartition("/")[2])
        arrival = float(made[1]) if made else facts.st_mtime
        return Found(path, file.tell(), sender, recipients, arrival)


def read_envelope(file: IO[bytes]) -> tuple[str, tuple[str, ...]]:
    """Sender and recipients; the file then stands at the message's first octet. Raises Unreadable."""
    sender = _line(file)
    recipients: list[str] = []
    while recipient := _line(file):
        recipients.append(recipient)
    if not recipients:
        raise Unreadable("its envelope names no recipient")
    return sender, tuple(recipients)


def _line(file: IO[bytes]) -> str:
    line = file.readline(_MAX_LINE)
    if not line.endswith(b"\n"):
        raise Unreadable("it ends within its envelope" if len(line) < _MAX_LINE else "its envelope has a line too long")
    try:
        return line[:-1].decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"its envelope is no UTF-8: {line[:-1]!r}") from error
