# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The queue of dma, DragonFly Mail Agent: for each recipient `QID`, which names both ends, and `MID`, the message.

The messages of one submission are links to one file; here each becomes a message of its own, as dma delivers them.
`flush` and what is being written (`tmp_*`) are passed over.
"""

from mailspool.errors import Unreadable
from mailspool.inherit.source import Found, Source

NAME = "dma"

_MAX_QUEUE_FILE = 1 << 16  # octets
_NO_MESSAGES = ("flush", "tmp_", ".")


def is_one(source: Source) -> bool:
    """Whether a directory is dma's: `flush`, or names that come in pairs."""
    found = set(source.names())
    return "flush" in found or any(f"M{name[1:]}" in found for name in found if name.startswith("Q"))


def names(source: Source) -> list[str]:
    """The queue files, and what else lies there without one."""
    found = source.names()
    queued = {name[1:] for name in found if name.startswith("Q")}
    return [
        name
        for name in found
        if not name.startswith(_NO_MESSAGES) and not (name.startswith("M") and name[1:] in queued)
    ]


def read(source: Source, path: str) -> Found:
    """The message of a queue file. Raises Unreadable."""
    if path.startswith("M"):
        raise Unreadable(f"there is no Q{path[1:]} that says whom it is for")
    if not path.startswith("Q"):
        raise Unreadable("it is no file of dma's queue")
    with source.open(path) as (file, _):
        content = file.read(_MAX_QUEUE_FILE)
    sender, recipient = parse_queue_file(content)
    message = f"M{path[1:]}"
    try:
        with source.open(message) as (_, facts):
            return Found(message, 0, sender, (recipient,), facts.st_mtime, content)
    except Unreadable as error:
        raise Unreadable(f"its message {message} cannot be read: {error}") from error


def parse_queue_file(content: bytes) -> tuple[str, str]:
    """Sender, "" for the null sender, and recipient. Unknown fields are passed over. Raises Unreadable."""
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Unreadable("it is no UTF-8") from error
    if lines.pop():
        raise Unreadable("it is cut off, or too long: its last line has no end")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Unreadable(f"{line!r} is no field")
        fields[name] = value.lstrip()
    if missing := [name for name in ("ID", "Sender", "Recipient") if name not in fields]:
        raise Unreadable(f"it has no field {' and no '.join(missing)}")
    if not (fields["ID"] and fields["Recipient"]):
        raise Unreadable("its ID or its Recipient is empty")
    sender = fields["Sender"]
    # `-f '<>'` came out as the name of a user: dma 0.13 completed it with its own domain.
    return "" if sender.startswith("<>") else sender, fields["Recipient"]
