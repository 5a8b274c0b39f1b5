# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A long list made by several processes at once: each takes its share in turn, and what they say stands in order.

They only read, and end with who asked them. What one leaves unsaid, whatever ended it, is made by who asked: so an
error is raised where it would be without them, and where nobody can fork the list takes longer, and that is all.
"""

import marshal
import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

from mailspool.errors import MailspoolError

Share = TypeVar("Share")

_MOST = 8  # processes: more of them say things faster than one can print them
_WORTH = 16  # shares of a few hundred nodes, which take some times longer than the fork of a process


def in_turn(make: Callable[[Share], Any], shares: Sequence[Share]) -> Generator[Any, None, None]:
    """What `make` makes of each, in their order. It is of built-in types. Who closes it ends the processes."""
    count = min(len(os.sched_getaffinity(0)), len(shares) // _WORTH, _MOST)
    if count < 2:
        yield from map(make, shares)
        return
    children = [_Child(make, shares[nth::count]) for nth in range(count)]
    try:
        for share, child in zip(shares, cycle(children), strict=False):
            yield child.next() or make(share)
    finally:
        for child in children:
            child.end()


class _Child:
    """Says what it makes of these shares one by one; nothing once it has ended, or where there can be no child."""

    def __init__(self, make: Callable[[Share], Any], shares: Sequence[Share]) -> None:
        from mailspool.supervisor.child import fork_child  # most lists are short, and go without

        reader, writer = os.pipe()
        self._pid = 0
        with suppress(OSError):
            self._pid = fork_child("list", partial(_say, make, shares, writer))
        os.close(writer)
        self._said = open(reader, "rb")  # noqa: PTH123, SIM115 - a descriptor, which `end` closes

    def next(self) -> Any:
        """What it says of the next one, None if nothing comes any more."""
        try:
            return marshal.load(self._said)  # noqa: S302 - of our own
        except (EOFError, ValueError, TypeError):
            return None

    def end(self) -> None:
        self._said.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def _say(make: Callable[[Share], Any], shares: Sequence[Share], writer: int) -> None:
    with suppress(MailspoolError, BrokenPipeError), open(writer, "wb") as pipe:
        for share in shares:
            marshal.dump(make(share), pipe)
            pipe.flush()
