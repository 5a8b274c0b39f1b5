# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What becomes of the mail that a sink takes: it is handed on, or shown, counted and stored. None of it is delivered.

A stored message is NAME.eml, octet for octet as it came, without the dot-stuffing; NAME.json beside it is its envelope.
The latter is there first, so who sees an .eml may read both.
"""

import io
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec

from mailspool.cli.text import cut, octets
from mailspool.errors import MailspoolError, SpoolError
from mailspool.message.message import Message
from mailspool.store import fsops
from mailspool.store.descriptors import NewFile
from mailspool.submission.command import Transaction
from mailspool.submission.policy import C

_HEAD = 16384  # octets of a message in which its subject is looked for


class Keeper(Protocol[C]):
    """Where the messages go."""

    def open(self) -> C:
        """For the content of one message. Raises MailspoolError."""

    def take(self, transaction: Transaction, content: C, peer: str) -> None:
        """It has all come. Raises MailspoolError or OSError: it is not taken. peer: as "192.0.2.1:4711"."""


class Arrival(NamedTuple):
    """A message that was taken: its envelope, and its content without the dot-stuffing."""

    sender: str  # "" for the null sender
    recipients: tuple[str, ...]
    content: bytes


class HandOn:
    """A keeper that gives each message, in memory, to a function; what that raises refuses it."""

    def __init__(self, take: Callable[[Arrival], object]) -> None:
        self._take = take

    def open(self) -> io.BytesIO:
        """As in Keeper."""
        return io.BytesIO()

    def take(self, transaction: Transaction, content: io.BytesIO, _peer: str) -> None:
        """As in Keeper."""
        self._take(Arrival(transaction.sender, _addresses(transaction), content.getvalue()))


class Letter:
    """The content of one message: its size and its beginning; all of it in a file, if there is one."""

    def __init__(self, file: NewFile | None) -> None:
        self.file = file
        self.size = 0
        self.head = b""

    def write(self, octets: bytes) -> None:
        """As in Content."""
        self.size += len(octets)
        self.head += octets[: _HEAD - len(self.head)]
        if self.file:
            fsops.write(self.file, octets)

    def close(self) -> None:
        """As in Content: the file is no more, unless it was taken away."""
        file, self.file = self.file, None
        if file:
            with suppress(OSError):
                file.close()
            fsops.unlink(file.name)


class Keep:
    """A keeper that counts; it stores in `folder` and shows a line for each to `show`, if there are such."""

    def __init__(
        self, folder: str, show: Callable[[str], object] | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._show, self._clock = os.path.realpath(folder) if folder else "", show, clock
        self._opened = 0
        self.messages = self.recipients = self.octets = 0
        if folder:
            fsops.make_directory(self._folder)

    def open(self) -> Letter:
        """As in Keeper."""
        if not self._folder:
            return Letter(None)
        self._opened += 1
        when = time.strftime("%Y%m%dT%H%M%S", time.localtime(self._clock()))
        return Letter(fsops.create(f"{self._folder}/{when}-{os.getpid()}-{self._opened}.part"))

    def take(self, transaction: Transaction, content: Letter, peer: str) -> None:
        """As in Keeper."""
        name = self._store(transaction, content, peer)
        self.messages += 1
        self.recipients += len(transaction.recipients)
        self.octets += content.size
        if self._show:
            self._show(_line(transaction, content, peer, name, self._clock()))

    def _store(self, transaction: Transaction, content: Letter, peer: str) -> str:
        """Its name; "" if it is not stored."""
        if not content.file:
            return ""
        envelope = {**msgspec.structs.asdict(transaction), "peer": peer, "time": self._clock(), "size": content.size}
        path = content.file.name.removesuffix(".part")
        with fsops.new_file(f"{path}.json") as file:
            fsops.write(file, msgspec.json.format(msgspec.json.encode(envelope)) + b"\n")
        try:
            fsops.close(content.file)
            fsops.rename(content.file.name, f"{path}.eml")
        except SpoolError:
            fsops.unlink(f"{path}.json")
            raise
        content.file = None
        return os.path.basename(f"{path}.eml")  # noqa: PTH119  # paths are strings where fsops is


def _line(transaction: Transaction, content: Letter, peer: str, name: str, now: float) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    to = ", ".join(f"<{address}>" for address in _addresses(transaction))
    said = f"{clock} {peer} {transaction.protocol} <{transaction.sender}> -> {to}"
    return " ".join(cut(part, 500) for part in (said, octets(content.size), _subject(content.head), name) if part)


def _subject(head: bytes) -> str:
    try:
        subjects = Message([head]).get("Subject")
    except MailspoolError:
        return ""
    return f'"{cut(subjects[0], 60)}"' if subjects else ""


def _addresses(transaction: Transaction) -> tuple[str, ...]:
    return tuple(recipient.address for recipient in transaction.recipients)
