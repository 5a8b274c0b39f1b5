# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Message content on its way to DATA: blocks of 64 KiB, dot-stuffed where needed (RFC 5321 §4.5.2).

The message is in CRLF form already and is passed on octet for octet; only a missing last CRLF is added, as `END`
must begin a line. What the facts announce is what is sent: never an octet more, and a file that holds less is
Unreadable before anybody can have written the final dot.
"""

from collections.abc import Iterable, Iterator
from typing import IO

from mailspool.errors import SpoolError, Unreadable
from mailspool.model.envelope import Facts

BLOCK = 65536  # octets
END = b".\r\n"  # after content that ends with CRLF (RFC 5321 §4.1.1.4)


def blocks(file: IO[bytes], facts: Facts) -> Iterator[bytes]:
    """The content as it goes over the wire, without `END`, from where the file stands; one block at least.

    Raises Unreadable if the file ends too early, SpoolError if it cannot be read now.
    """
    plain = _read(file, facts.size)
    return stuff(plain) if facts.leading_dots else plain


def stuff(plain: Iterable[bytes]) -> Iterator[bytes]:
    """Double each dot that begins a line, also where line and block boundaries do not agree."""
    before = b"\r\n"  # the last two octets: too few to hold a match by themselves, enough to begin one
    for block in plain:
        joined = before + block
        yield joined.replace(b"\r\n.", b"\r\n..")[len(before) :]
        before = joined[-2:]


def _read(file: IO[bytes], size: int) -> Iterator[bytes]:
    left, end = size, b"\r\n"
    while left:
        try:
            block = file.read(min(left, BLOCK))
        except OSError as error:
            raise SpoolError(f"message file cannot be read {left} octets before its end: {error}") from error
        if not block:
            raise Unreadable(f"message file ends {left} octets before the {size} that its envelope announces")
        left -= len(block)
        end = (end + block[-2:])[-2:]
        yield block if left or end == b"\r\n" else block + b"\r\n"
    if not size:
        yield b""
