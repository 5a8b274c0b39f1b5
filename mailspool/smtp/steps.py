# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The steps that a talk is made of: what to write, and which replies are to be read. Values, without any I/O.

A talk is a generator of steps. A step is answered by the replies that have come, one at least and at most one for each
of its phases, sent in; the rest is asked for by another step. Or, where the connection failed, by the TransientError,
thrown in, after which there are no more steps.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TypeVar

import msgspec

from mailspool.model.phase import Phase
from mailspool.smtp.letter import Block
from mailspool.smtp.reply import Reply


class Say(msgspec.Struct, frozen=True):
    """Write the octets, if any, then read. No octets: the commands went out with an earlier step.

    phases: of the replies that are due, in their order. The octets are whole commands, each of which gets one.
    """

    phases: tuple[Phase, ...]
    octets: bytes = b""


class Secure(msgspec.Struct, frozen=True):
    """Drop what was read ahead (it came in clear), do the TLS handshake, then go on as with Say."""

    phases: tuple[Phase, ...]
    octets: bytes = b""


class Whisper(msgspec.Struct, frozen=True):
    """As Say, but nobody but the peer may learn the octets: others are shown something else.

    conceal: takes out of the peer's words what it repeats of them.
    """

    phases: tuple[Phase, ...]
    octets: bytes
    shown: bytes
    conceal: Callable[[str], str]

    def __repr__(self) -> str:
        return f"Whisper({self.phases!r}, {self.shown!r})"


class SendContent(msgspec.Struct, frozen=True):
    """Write `lead`, whole commands of which the last is BDAT, then the blocks; then go on as with Say.

    The end of the last block is the final dot: before it comes the seal, and behind it the next message's commands.
    """

    blocks: Iterator[Block]
    lead: bytes = b""
    phases: tuple[Phase, ...] = (Phase.FINAL,)


Step = Say | Secure | Whisper | SendContent
Result = TypeVar("Result")
Talk = Generator[Step, Sequence[Reply], Result]
