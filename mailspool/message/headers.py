# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Header fields as raw bytes (RFC 5322 §2.2): where a header ends, what a field is called, how a new one is made.

A field is kept as it came, folded, its last CRLF included; nothing here ever writes an existing field anew.
A field made here holds no CR, LF or NUL but its own line ends, so no value can become a second field.
"""

import re
import time
from collections.abc import Iterator
from functools import lru_cache

from mailspool.errors import InputError
from mailspool.model.address import control_character

CRLF = b"\r\n"
MAX_HEADER_OCTETS = 1 << 20
MAX_LINE_OCTETS = 998  # RFC 5322 §2.1.1

_BREAKS = re.compile(r"[\r\n\0]")
_NAME = re.compile(r"[!-9;-~]+")
# White space before the colon is obsolete (RFC 5322 §4.5.8), yet it is a field.
_HEADER_LINES = re.compile(rb"(?:(?:[!-9;-~]+[ \t]*:|(?<=\n)[ \t])[^\r]*\r\n)*")
_FIELD = re.compile(rb"[^ \t][^\r]*\r\n(?:[ \t][^\r]*\r\n)*")
# The line an mbox puts above each message. It has a time in it, or nothing but a sender: a text may begin with "From".
_MBOX_LINE = re.compile(rb"(?:>*From (?>\S* *(?=\r)|[^\r]*\d:\d\d[^\r]*)\r\n)+")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def read_header(lines: Iterator[bytes]) -> tuple[list[bytes], bytes]:
    """The fields, and what was read beyond them: the first piece of the body.

    lines: chunks in CRLF form, of which no more are taken than needed. The header ends at the first empty line, or
    before the first line that is neither a field nor the continuation of one: so a plain text is all body.
    Raises InputError for a header that is too large or holds a NUL.
    """
    text, end = bytearray(), 0  # `end`: where the lines known to be the header's end
    for chunk in lines:
        text += chunk
        if not end and (mbox := _MBOX_LINE.match(text)):
            del text[: mbox.end()]
        if found := _HEADER_LINES.match(text, end):
            end = found.end()
        if text.startswith(CRLF, end):
            return _split(text[:end]), bytes(text[end + 2 :])
        if text.find(CRLF, end) >= 0:
            break
        _check_size(len(text))
    return _split(text[:end]), bytes(text[end:])


def _split(header: bytearray) -> list[bytes]:
    _check_size(len(header))
    fields = _FIELD.findall(bytes(header))
    if b"\0" in header:
        bad = next(field for field in fields if b"\0" in field)
        raise InputError(f"header field {field_name(bad)!r} holds a NUL: remove it")
    return fields


def _check_size(octets: int) -> None:
    if octets > MAX_HEADER_OCTETS:
        raise InputError(f"the message's header is larger than {MAX_HEADER_OCTETS} octets")


def field_name(field: bytes) -> str:
    """The field's name in lower case."""
    return field.partition(b":")[0].rstrip(b" \t").decode("ascii").lower()


def field_value(field: bytes) -> str:
    """The field's value, unfolded (RFC 5322 §2.2.3). Octets that are not UTF-8 stand as lone surrogates."""
    return field.partition(b":")[2].replace(CRLF, b"").strip(b" \t").decode("utf-8", "surrogateescape")


def make_field(name: str, value: str, *folded: str) -> bytes:
    """A new field; each of `folded` is one more line of its value.

    Raises InputError naming the field if its name is no name, or a line holds CR, LF or NUL or is too long.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is not the name of a header field")
    lines = [f"{name}: {value}", *(f"\t{line}" for line in folded)]
    for line in lines:
        if found := _BREAKS.search(line):
            raise InputError(f"header field {name} was given {control_character(found[0])}, in {line!r}: remove it")
    raw = [line.encode("utf-8", "surrogateescape") for line in lines]
    if max(map(len, raw)) > MAX_LINE_OCTETS:
        raise InputError(f"header field {name} was given a line of over {MAX_LINE_OCTETS} octets (RFC 5322 §2.1.1)")
    return CRLF.join(raw) + CRLF


def format_date(now: float) -> str:
    """Unix seconds as an RFC 5322 §3.3 date in local time, in English whatever the locale."""
    return _format_second(int(now))


@lru_cache(maxsize=4)  # many messages come in a second
def _format_second(now: int) -> str:
    local = time.localtime(now)
    hours, minutes = divmod(abs(local.tm_gmtoff) // 60, 60)
    day = f"{_DAYS[local.tm_wday]}, {local.tm_mday} {_MONTHS[local.tm_mon - 1]} {local.tm_year}"
    clock = f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
    return f"{day} {clock} {'-' if local.tm_gmtoff < 0 else '+'}{hours:02}{minutes:02}"
