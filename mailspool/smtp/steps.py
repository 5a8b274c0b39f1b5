# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The steps that a talk is made of: what to write, and that one reply is to be read. Values, without any I/O.

A talk is a generator of steps. A step is answered by exactly one Reply, sent in; or, where the connection failed,
by the TransientError, thrown in, after which there are no more steps.
"""

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import msgspec

from mailspool.model.phase import Phase
from mailspool.smtp.content import Block
from mailspool.smtp.reply import Reply


class Say(msgspec.Struct, frozen=True):
    """Write the octets, if any, then read one reply. No octets: the command went out with an earlier step.

    The octets are whole commands, each of which gets one reply.
    """

    phase: Phase
    octets: bytes = b""


class Secure(msgspec.Struct, frozen=True):
    """Drop what was read ahead (it came in clear), do the TLS handshake, then go on as with Say."""

    phase: Phase
    octets: bytes = b""


class Whisper(msgspec.Struct, frozen=True):
    """As Say, but nobody but the peer may learn the octets: others are shown something else.

    conceal: takes out of the peer's words what it repeats of them.
    """

    phase: Phase
    octets: bytes
    shown: bytes
    conceal: Callable[[str], str]

    def __repr__(self) -> str:
        return f"Whisper({self.phase!r}, {self.shown!r})"


class SendContent(msgspec.Struct, frozen=True):
    """Write `lead`, whole commands of which the last is BDAT, then the blocks; then read one reply, that of `phase`.

    The end of the last block is the final dot: before it comes the seal, and behind it the next message's commands.
    """

    blocks: Iterator[Block]
    lead: bytes = b""
    phase: Phase = Phase.FINAL

    @property
    def replies(self) -> int:
        """How many are due once all is written."""
        return self.lead.count(b"\r\n") or 1


Step = Say | Secure | Whisper | SendContent
Result = TypeVar("Result")
Talk = Generator[Step, Reply, Result]
