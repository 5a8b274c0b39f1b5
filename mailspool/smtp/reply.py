# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One SMTP reply (RFC 5321 §4.2), and the parser that finds replies in whatever pieces the network gives.

Whatever a peer sends, memory stays bounded: lines to 2,048 octets, replies to 500 lines and 64 KiB. Lines that
end with a bare LF are taken; everything else that is no reply is a TransientError with PROTOCOL_ERROR. The text
of a reply never holds a control character, so it cannot forge a line of a log or of a bounce.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from mailspool.errors import DeliveryError, PermanentError, TransientError
from mailspool.model.status import PROTOCOL_ERROR, parse_status

MAX_LINE = 2048  # octets with its line end; RFC 5321 §4.5.3.1.5 asks for 512
MAX_LINES = 500
MAX_OCTETS = 65536
MAX_UNREAD = 10_000  # replies; far more than commands can be under way
MAX_TEXT = 1024  # characters of a reply that go to logs, histories and bounces

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\n]*)|\r*)")  # without its LF
_HARMFUL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # controls, line ends, bidirectional overrides


class Reply(msgspec.Struct, frozen=True):
    """code: 200 … 599. lines: the text of each line, without code, decoded as UTF-8 (RFC 6531 §3.7.4.2)."""

    code: int
    lines: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """4yz or 5yz."""
        return self.code >= 400

    @property
    def status(self) -> str:
        """Enhanced status, RFC 3463; "C.0.0" where the peer gave none."""
        return parse_status(self.code, self.lines[0])

    @property
    def text(self) -> str:
        """All lines as one, an enhanced status only at its beginning; cut after MAX_TEXT characters."""
        if len(self.lines) == 1:
            return self.lines[0][:MAX_TEXT]
        repeated = f"{self.status} "
        return " ".join([self.lines[0], *(line.removeprefix(repeated) for line in self.lines[1:])])[:MAX_TEXT]

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()

    def as_error(self, host: str) -> DeliveryError:
        """What a refusal means: 5yz is permanent, anything else may be tried again (RFC 5321 §4.2.1)."""
        kind = PermanentError if self.code >= 500 else TransientError
        return kind(self.status, host, str(self))


Judge = Callable[[Reply, str], None]
"""Raises the DeliveryError that a reply of a host (its name is the second argument) means, if it means one."""


def judge_by_code(reply: Reply, host: str) -> None:
    """The judge where nobody knows better: 4yz and 5yz are what they say."""
    if reply.refused:
        raise reply.as_error(host)


class ReplyParser:
    """Feed it octets. replies: those that have come whole, to be taken from there. waiting: a part of one has.

    `host` stands in its errors. After one the parser is of no more use: nobody can know where the next reply begins.
    """

    __slots__ = ("_code", "_host", "_lines", "_octets", "_rest", "replies", "waiting")

    def __init__(self, host: str) -> None:
        self.replies: deque[Reply] = deque()
        self.waiting = False
        self._host = host
        self._rest = b""  # what is no whole line yet
        self._code = 0
        self._lines: list[str] = []  # of the reply that is not complete yet
        self._octets = 0

    def feed(self, octets: bytes) -> None:
        """Raises TransientError with PROTOCOL_ERROR for what is no reply, or more than an honest peer can have to say.

        The replies before it have come.
        """
        *lines, self._rest = (self._rest + octets).split(b"\n")
        replies = list(map(_of_one_line, lines))
        if self._lines or None in replies:
            self._feed_line_by_line(lines)
        else:
            self.replies.extend(filter(None, replies))
        self.waiting = bool(self._rest or self._lines)
        if len(self._rest) >= MAX_LINE:
            raise self._error(f"no reply: {_harmless(self._rest[:80])!r}")
        if len(self.replies) > MAX_UNREAD:
            raise self._error(f"more than {MAX_UNREAD} replies to nothing")

    def _feed_line_by_line(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if reply := self._add(line):
                self.replies.append(reply)

    def _add(self, line: bytes) -> Reply | None:
        """The reply that it completes, if it does. line: without its LF."""
        found = _LINE.fullmatch(line)
        if not found:
            raise self._error(f"no reply: {_harmless(line[:80])!r}")
        code, octets = int(found[1]), len(line) + 1
        if self._lines and code != self._code:
            raise self._error(f"codes {self._code} and {code} in one reply")
        self._code = code
        self._lines.append(_text(found))
        self._octets += octets
        if octets > MAX_LINE or self._octets > MAX_OCTETS or len(self._lines) > MAX_LINES:
            raise self._error(f"over {MAX_LINE} octets in a line, {MAX_OCTETS} or {MAX_LINES} lines in a reply")
        if found[2] == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines, self._octets = [], 0
        return reply

    def _error(self, what: str) -> TransientError:
        return TransientError(PROTOCOL_ERROR, "", f"{self._host} does not speak SMTP: {what}")


@lru_cache(64)
def _of_one_line(line: bytes) -> Reply | None:
    """As most are; and what a peer has said to one message, it says to the next."""
    found = _LINE.fullmatch(line) if len(line) < MAX_LINE else None
    return Reply(int(found[1]), (_text(found),)) if found and found[2] != b"-" else None


def _text(line: re.Match[bytes]) -> str:
    return _harmless((line[3] or b"").rstrip(b"\r"))


def _harmless(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else _HARMFUL.sub("?", text)
