# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Message content as it comes in: where it ends, what it is without its dot-stuffing, and that it is not too much.

Behind DATA it ends with CRLF . CRLF and with nothing else (RFC 5321 §4.1.1.4): a lone CR or LF is content like
any other octet, so no message can smuggle another one in. Memory holds no more than what is being received.
"""

from typing import Protocol

from mailspool.errors import MailspoolError, TooLarge

_END = b"\r\n.\r\n"
_STUFFED = b"\r\n."


class Content(Protocol):
    """A file that is being written. Closed before it was accepted, it leaves nothing behind."""

    def write(self, octets: bytes, /) -> object:
        """Append. Raises OSError or a MailspoolError."""

    def close(self) -> object:
        """Done with, in whatever way."""


class Intake:
    """Writes into a file as long as nothing is wrong, and knows what is. limit: octets, 0 for none."""

    def __init__(self, file: Content, limit: int) -> None:
        self._file, self._limit = file, limit
        self._size = 0
        self.fault: Exception | None = None

    def write(self, octets: bytes) -> None:
        """Append, or drop once something is wrong: the client must be heard out all the same."""
        self._size += len(octets)
        if self.fault:
            return
        try:
            if 0 < self._limit < self._size:
                raise TooLarge(f"the message has more than the {self._limit} octets that are taken")
            self._file.write(octets)
        except (MailspoolError, OSError) as error:
            self.fault = error


class Frame(Protocol):
    """Finds the end of content, in whatever pieces it comes."""

    def take(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """(content, None) as long as it goes on; (content, what came behind it) when the end has come."""


class Chunk:
    """So many octets, behind BDAT (RFC 3030 §2)."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """As in Frame."""
        content, rest = octets[: self._left], octets[self._left :]
        self._left -= len(content)
        return content, None if self._left else rest


class Dotted:
    """Behind DATA; takes the dot-stuffing off."""

    __slots__ = ("_begun", "_held")

    def __init__(self) -> None:
        self._held = b"\r\n"  # nobody sent it, but a dot at the very beginning begins a line too
        self._begun = False

    def take(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """As in Frame."""
        text = self._held + octets
        end = text.find(_END)
        if end >= 0:
            return self._unstuff(text[: end + 2]), text[end + len(_END) :]
        held = _overlap(text)
        self._held = text[len(text) - held :]
        return self._unstuff(text[: len(text) - held]), None

    def _unstuff(self, text: bytes) -> bytes:
        """The held octets are whole line ends with their dots, so no piece divides one."""
        if not text:
            return text
        start, self._begun = (0 if self._begun else 2), True
        return text.replace(_STUFFED, b"\r\n")[start:]


def _overlap(text: bytes) -> int:
    """How many of the last octets may be the beginning of `_END`."""
    return next(size for size in range(len(_END) - 1, -1, -1) if text.endswith(_END[:size]))
