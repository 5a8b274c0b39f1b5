# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a client of ours is told (RFC 5321 §4.2, RFC 2034), and which error means which reply.

Nothing that stands in a reply can begin another one: each is made of printable lines of at most 512 octets. A local
fault is a 4yz, so that the client keeps the message.
"""

import errno
from typing import NamedTuple

from mailspool.errors import MailspoolError

MAX_LINE = 512  # octets with code and line end (RFC 5321 §4.5.3.1.5)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What is not listed: 451 for 4.y.z, 550 for 5.y.z.
_CODES = {
    "4.3.1": 452,  # mail system full
    "4.3.5": 421,  # system incorrectly configured: nothing else in this session would go better
    "4.5.3": 452,  # too many recipients
    "5.1.3": 553,  # bad mailbox address syntax
    "5.1.7": 553,  # bad sender's mailbox address syntax
    "5.3.4": 552,  # message too big
    "5.5.4": 501,  # invalid command arguments
    "5.6.0": 554,  # the message itself
}


class Reply(NamedTuple):
    """status: RFC 3463, "" where RFC 2034 §3 wants none. more: further lines."""

    code: int
    status: str
    text: str
    more: tuple[str, ...] = ()

    @property
    def octets(self) -> bytes:
        """As it goes over the wire."""
        lines = [_line(f"{self.status} {text}".lstrip()) for text in (self.text, *self.more)]
        *others, last = lines
        return b"".join([*(b"%d-%s\r\n" % (self.code, line) for line in others), b"%d %s\r\n" % (self.code, last)])


class Refused(MailspoolError):
    """A policy's own reply, instead of the one that an error's status stands for."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(f"{code} {status} {text}")
        self.status = status
        self.reply = Reply(code, status, text)


def reply_for(error: Exception) -> Reply:
    """The reply that an error means. What is none of ours, a full disk or our own bug, is never permanent."""
    if isinstance(error, Refused):
        return error.reply
    if _is_full(error) or _is_full(error.__cause__):
        return Reply(452, "4.3.1", "there is no room for the message now; try again later")
    if not isinstance(error, MailspoolError):
        return Reply(451, MailspoolError.status, f"local fault ({type(error).__name__}); try again later")
    default = 550 if error.status.startswith("5") else 451
    return Reply(_CODES.get(error.status, default), error.status, "; ".join(str(error).splitlines()))


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


def _line(text: str) -> bytes:
    shown = text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
    raw = shown.encode("utf-8", "replace")[: MAX_LINE - len("250-\r\n")]
    return raw.decode("utf-8", "ignore").encode()  # not a character in halves
