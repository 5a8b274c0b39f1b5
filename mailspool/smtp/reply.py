# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One SMTP reply (RFC 5321 §4.2), and the parser that finds replies in whatever pieces the network gives.

Whatever a peer sends, memory stays bounded: lines to 2,048 octets, replies to 500 lines and 64 KiB. Lines that
end with a bare LF are taken; everything else that is no reply is a TransientError with PROTOCOL_ERROR. The text
of a reply never holds a control character, so it cannot forge a line of a log or of a bounce.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from mailspool.errors import DeliveryError, PermanentError, TransientError
from mailspool.model.status import PROTOCOL_ERROR, parse_status

MAX_LINE = 2048  # octets with its line end; RFC 5321 §4.5.3.1.5 asks for 512
MAX_LINES = 500
MAX_OCTETS = 65536
MAX_UNREAD = 2 * MAX_OCTETS  # one whole reply, and the pipelined ones that came with it
MAX_TEXT = 1024  # characters of a reply that go to logs, histories and bounces

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\n]*)|\r*)\n")
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
    """Feed it octets, take replies. `host` stands in its errors.

    `take` until it gives None before feeding more. After an error the parser is of no more use: nobody can know
    where the next reply begins.
    """

    __slots__ = ("_at", "_code", "_host", "_lines", "_octets", "_unread")

    def __init__(self, host: str) -> None:
        self._host = host
        self._unread = b""
        self._at = 0  # where in it the next line begins
        self._code = 0
        self._lines: list[str] = []  # of the reply that is not complete yet
        self._octets = 0

    @property
    def waiting(self) -> bool:
        """Whether anything was fed that has not been taken: a reply or a part of one."""
        return self._at < len(self._unread) or bool(self._lines)

    def feed(self, octets: bytes) -> None:
        """Raises TransientError if more is left untaken than an honest peer can have to say."""
        self._unread = self._unread[self._at :] + octets
        self._at = 0
        if len(self._unread) > MAX_UNREAD:
            raise self._error(f"more than {MAX_UNREAD} octets of replies to nothing")

    def take(self) -> Reply | None:
        """The next whole reply; None until more is fed. Raises TransientError with PROTOCOL_ERROR."""
        end = self._unread.find(b"\n", self._at, self._at + MAX_LINE) + 1
        if end and not self._lines and (reply := _of_one_line(self._unread[self._at : end])):
            self._at = end
            return reply
        while found := _LINE.match(self._unread, self._at):
            octets, self._at = found.end() - self._at, found.end()
            code, mark, text = found.groups(b"")
            line = _harmless(text.rstrip(b"\r"))
            self._add(int(code), line, octets)
            if mark != b"-":
                reply = Reply(self._code, tuple(self._lines))
                self._lines, self._octets = [], 0
                return reply
        if self._at < len(self._unread):
            self._check_rest(self._unread[self._at :])
        return None

    def _add(self, code: int, line: str, octets: int) -> None:
        if self._lines and code != self._code:
            raise self._error(f"codes {self._code} and {code} in one reply")
        self._code = code
        self._lines.append(line)
        self._octets += octets
        if octets > MAX_LINE or self._octets > MAX_OCTETS or len(self._lines) > MAX_LINES:
            raise self._error(f"over {MAX_LINE} octets in a line, {MAX_OCTETS} or {MAX_LINES} lines in a reply")

    def _check_rest(self, octets: bytes) -> None:
        """What is no whole line yet may still become one."""
        if b"\n" in octets or len(octets) >= MAX_LINE:
            raise self._error(f"no reply: {_harmless(octets[:80])!r}")

    def _error(self, what: str) -> TransientError:
        return TransientError(PROTOCOL_ERROR, "", f"{self._host} does not speak SMTP: {what}")


@lru_cache(64)
def _of_one_line(octets: bytes) -> Reply | None:
    """As most are; and what a peer has said to one message, it says to the next."""
    found = _LINE.fullmatch(octets)
    if not found or found[2] == b"-":
        return None
    return Reply(int(found[1]), (_harmless((found[3] or b"").rstrip(b"\r")),))


def _harmless(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else _HARMFUL.sub("?", text)
