# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A message on its way in: bytes in are bytes out. It is parsed only to find its header fields, never written anew.

What does change are line ends: a lone CR or LF becomes CRLF and a missing last one is added (RFC 5321 §2.3.8), so that
nothing can be smuggled past a peer that takes them for line ends too. The body streams through and is never held.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Self

from mailspool.errors import UsageError
from mailspool.message.headers import CRLF, field_name, field_value, make_field, read_header


class Message:
    """A header that can be changed, above a body that cannot.

    fields: the header, raw, each field with its line ends. body: chunks in CRLF form, most often readable only once.
    chunks: the message as it came, cut anywhere; read as far as the header's end. Raises InputError as `read_header`.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        lines = to_crlf(chunks)
        self.fields, start = read_header(lines)
        self.body: Iterable[bytes] = chain([start], lines)

    @property
    def head(self) -> Self:
        """The header's methods, where the original has them: `message.head.get("To")`."""
        return self

    def get(self, name: str) -> list[str]:
        """The values of all fields of this name, unfolded, from the top down."""
        return [field_value(field) for field in self._named(name)]

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        return bool(self._named(name))

    def add(self, name: str, value: str, *folded: str) -> None:
        """Put a new field below the others. Raises InputError as `make_field`."""
        self.fields.append(make_field(name, value, *folded))

    def prepend(self, name: str, value: str, *folded: str) -> None:
        """Put a new field on top, where trace fields belong (RFC 5321 §4.4). Raises InputError as `make_field`."""
        self.fields.insert(0, make_field(name, value, *folded))

    def delete(self, *names: str) -> None:
        """Remove all fields of these names."""
        unwanted = {name.lower() for name in names}
        self.fields = [field for field in self.fields if field_name(field) not in unwanted]

    def chunks(self) -> Iterator[bytes]:
        """The whole message in CRLF form. Raises UsageError when the body was read before."""
        body, self.body = self.body, _already_read()
        yield b"".join([*self.fields, CRLF])
        yield from filter(None, body)

    def print(self, file: IO[bytes]) -> None:
        """Write the whole message into a binary file."""
        file.writelines(self.chunks())

    def _named(self, name: str) -> list[bytes]:
        return [field for field in self.fields if field_name(field) == name.lower()]


def to_crlf(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text with no line end but CRLF, the last one included. No chunk that comes out ends inside a CRLF."""
    held = b""  # a CR at a chunk's end: its LF may come with the next one
    ended = True
    for chunk in chunks:
        text = held + chunk
        held = text[-1:] if text.endswith(b"\r") else b""
        text = text.removesuffix(held)
        if text:
            ended = text.endswith(b"\n")
            yield _with_crlf(text)
    if held or not ended:
        yield CRLF


def _with_crlf(text: bytes) -> bytes:
    if b"\r" not in text:
        return text.replace(b"\n", CRLF)
    return CRLF.join(text.splitlines()) + (CRLF if text.endswith((b"\r", b"\n")) else b"")


def _already_read() -> Iterator[bytes]:
    raise UsageError("this message was already read to its end: parse it again to send it again")
    yield b""
