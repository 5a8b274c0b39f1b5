# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The envelope: who sent a message to whom, when and with which wishes; the first line of a message file.

It never changes once the message is visible. Addresses in it were checked by `model.address`; the facts were
found by `Survey` while the message was written, so that nobody need read it again to know how to send it.
"""

from collections.abc import Iterable, Iterator

import msgspec

FORMAT_VERSION = 1

_CRLF = b"\r\n"
_LONG = 4096  # of a longer unfinished line only the ends are kept: gluing chunks to all of it is quadratic
_KEPT = 16  # octets of its beginning, which tell all that is asked about it


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recipient and its wishes (RFC 3461 §4)."""

    address: str
    notify: tuple[str, ...] = ()  # NEVER, or of SUCCESS, FAILURE, DELAY; empty: FAILURE and DELAY
    orcpt: str = ""  # "rfc822;joe+2Btag@example.org": in xtext, as it was given
    sender: str = ""  # who answers for it in the envelope's sender's place: the owner of the alias that it came through


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found out about the message while it was written."""

    size: int = 0  # octets in CRLF form, without envelope line and without dot-stuffing
    eight_bit: bool = False  # some octet is over 127
    utf8_headers: bool = False  # some header field is not ASCII (RFC 6532)
    longest_line: int = 0  # octets without CRLF
    leading_dots: int = 0  # lines that begin with a dot
    received: int = 0  # Received header fields: hops so far (RFC 5321 §6.3)


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """sender is "" for the null sender. arrival is in Unix seconds."""

    id: str
    sender: str
    recipients: tuple[Recipient, ...]
    arrival: float
    host: str = ""  # submitting host
    user: str = ""  # submitting user
    ret: str = ""  # FULL or HDRS (RFC 3461 §4.3)
    envid: str = ""  # in xtext, as it was given (RFC 3461 §4.4)
    facts: Facts = Facts()
    version: int = FORMAT_VERSION

    def sender_to(self, recipient: Recipient) -> str:
        """Who sends to one of the recipients. The null sender is nobody else: no report may be answered by another."""
        return (self.sender and recipient.sender) or self.sender


class Survey:
    """Passes the chunks of a message in CRLF form through and finds its facts on the way, in memory of a few chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._size = 0
        self._eight_bit = False
        self._longest = 0
        self._dots = 0
        self._received = 0
        self._utf8_headers = False
        self._in_headers = True

    def __iter__(self) -> Iterator[bytes]:
        rest = b""  # the line that the last chunk left unfinished: of a long one, its ends
        left_out = 0  # octets between them
        for chunk in self._chunks:
            self._size += len(chunk)
            self._eight_bit = self._eight_bit or not chunk.isascii()
            text, ended, rest = (rest + chunk).rpartition(_CRLF)
            if ended:
                self._see(text, left_out)
                left_out = 0
            if len(rest) > _LONG:
                self._utf8_headers |= self._in_headers and not rest.isascii()
                left_out += len(rest) - _KEPT - 1
                rest = rest[:_KEPT] + rest[-1:]  # the last octet may be the CR of a CRLF
            yield chunk
        if rest:
            self._see(rest, left_out)

    def _see(self, text: bytes, left_out: int) -> None:
        """Whole lines, without the last one's end. left_out: octets missing in the middle of the first."""
        lines = text.split(_CRLF)
        self._longest = max(self._longest, len(lines[0]) + left_out, *map(len, lines))
        self._dots += text.startswith(b".") + text.count(b"\r\n.")
        if self._in_headers:
            header, ended, _ = b"".join([_CRLF, text, _CRLF]).partition(_CRLF * 2)
            self._in_headers = not ended
            self._utf8_headers = self._utf8_headers or not header.isascii()
            self._received += header.lower().count(b"\r\nreceived:")

    def facts(self) -> Facts:
        """Complete once the iteration has ended."""
        return Facts(self._size, self._eight_bit, self._utf8_headers, self._longest, self._dots, self._received)
