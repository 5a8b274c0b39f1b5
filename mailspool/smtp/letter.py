# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A message as a session is given it, and its content on its way out.

For DATA that is dot-stuffed where needed (RFC 5321 §4.5.2), for BDAT as it is (RFC 3030). It is in CRLF form
already and is passed on octet for octet; only a missing last CRLF is added, as `END` must begin a line. What the
facts announce is what is sent: never an octet more, and a file that holds less is Unreadable before anybody can
have written the final dot. A large message never comes into our memory: what stands in a file as it is sent goes
from there to the socket.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from mailspool.errors import SpoolError, Unreadable
from mailspool.model.envelope import Envelope, Recipient

BLOCK = 65536  # octets
END = b".\r\n"  # after content that ends with CRLF (RFC 5321 §4.1.1.4)

_PART = 16 * BLOCK


class Part(NamedTuple):
    """So many octets of an open file, from an offset on."""

    descriptor: int
    offset: int
    octets: int

    def __len__(self) -> int:
        return self.octets

    def read(self, start: int, most: int) -> bytes:
        """At most `most` octets of it, from `start` on. Raises Unreadable at the file's end, SpoolError."""
        try:
            octets = os.pread(self.descriptor, min(most, self.octets - start), self.offset + start)
        except OSError as error:
            raise SpoolError(f"message file cannot be read at octet {self.offset + start}: {error}") from error
        if not octets:
            raise Unreadable(f"message file ends at octet {self.offset + start}, before its envelope says so")
        return octets


Block = bytes | Part
"""What is written at once. The last one of a message is never a Part, so that the final dot can go out with it."""


def always() -> None:
    """The seal of a sender that need not be asked."""


class Letter(NamedTuple):
    """One message to some of its envelope's recipients. file: stands at its first octet until it is begun.

    seal: called just before the final dot, which is not said if it raises. One form of the content is asked for, once;
    each raises Unreadable if the file ends too early, SpoolError if it cannot be read now.
    """

    envelope: Envelope
    recipients: Sequence[Recipient]
    file: IO[bytes]
    seal: Callable[[], object] = always

    @property
    def small(self) -> bool:
        """Whether all of it is one block."""
        return self.envelope.facts.size <= BLOCK

    def dotted(self) -> Iterator[Block]:
        """For DATA: with dots doubled and, in the last block, `END`. Nobody looks for dots that are not there."""
        dots = self.envelope.facts.leading_dots
        if self.small and not dots:
            return iter((self._whole() + END,))
        return self._end(stuff(_read(self.file, self.envelope.facts.size)) if dots else self._blocks())

    def _end(self, blocks: Iterator[Block]) -> Iterator[Block]:
        held: Block = b""
        for block in blocks:
            if held:
                yield held
            held = block
        assert isinstance(held, bytes)
        yield held + END

    def chunk(self) -> tuple[int, Iterator[Block]]:
        """For BDAT: how many octets it has, and its blocks, one at least."""
        if self.small:
            whole = self._whole()
            return len(whole), iter((whole,))
        start = self.file.tell()
        self.file.seek(start + self.envelope.facts.size - 2)
        end = b"".join(_read(self.file, 2))
        self.file.seek(start)
        return self.envelope.facts.size - 2 + len(end), self._blocks()

    def _whole(self) -> bytes:
        """Of what is small: most often one read, and nothing to be added."""
        size, whole = self.envelope.facts.size, b""
        while left := size - len(whole):
            whole += _read_some(self.file, left, size)
        return whole if whole.endswith(b"\r\n") or not size else whole + b"\r\n"

    def _blocks(self) -> Iterator[Block]:
        """Of what is not small."""
        descriptor = _descriptor(self.file)
        rest = self.envelope.facts.size
        if descriptor >= 0:
            start = self.file.tell()
            rest = rest % BLOCK + BLOCK  # it must show whether the last CRLF is missing
            end = start + self.envelope.facts.size - rest
            for offset in range(start, end, _PART):
                yield Part(descriptor, offset, min(_PART, end - offset))
            self.file.seek(end)
        yield from _read(self.file, rest)


def stuff(plain: Iterable[bytes]) -> Iterator[bytes]:
    """Double each dot that begins a line, also where line and block boundaries do not agree."""
    before = b"\r\n"  # the last two octets: too few to hold a match by themselves, enough to begin one
    for block in plain:
        joined = before + block
        yield joined.replace(b"\r\n.", b"\r\n..")[len(before) :]
        before = joined[-2:]


def _descriptor(file: IO[bytes]) -> int:
    """-1 for what is in memory only."""
    try:
        return file.fileno()
    except OSError:
        return -1


def _read(file: IO[bytes], size: int) -> Iterator[bytes]:
    left, end = size, b"\r\n"
    while left:
        block = _read_some(file, left, size)
        left -= len(block)
        end = (end + block[-2:])[-2:]
        yield block if left or end == b"\r\n" else block + b"\r\n"
    if not size:
        yield b""


def _read_some(file: IO[bytes], left: int, size: int) -> bytes:
    """A block, if there is as much. left: octets before the end of the message; size: of all of it."""
    try:
        block = file.read(min(left, BLOCK))
    except OSError as error:
        raise SpoolError(f"message file cannot be read {left} octets before its end: {error}") from error
    if not block:
        raise Unreadable(f"message file ends {left} octets before the {size} that its envelope announces")
    return block
