# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What was said on one session: bounded, and never a secret in it (message content is a number of octets).

A long session keeps its beginning, where the peer introduced itself, and its end, where the trouble is.
"""

from collections import deque

from mailspool.smtp.reply import Reply

MAX_BEGINNING = 20  # entries
MAX_END = 100
MAX_ENTRY = 1024  # octets of one entry, which may be many pipelined commands


class Transcript:
    """`str()` shows it: `C:` what we said, `S:` what the peer said, `--` what happened."""

    __slots__ = ("_beginning", "_count", "_end")

    def __init__(self) -> None:
        # As they come, each with its mark: of a thousand sessions one is ever shown; only then they are made to text.
        self._beginning: list[tuple[str, object]] = []
        self._end: deque[tuple[str, object]] = deque(maxlen=MAX_END)
        self._count = 0

    def say(self, commands: bytes) -> None:
        """One write of whole commands."""
        self._add(("C:", commands[:MAX_ENTRY]))

    def say_content(self, octets: int) -> None:
        """So many octets of message content, as written."""
        self._add(("C:", octets))

    def hear(self, *replies: Reply) -> None:
        """The lines of each are joined."""
        for reply in replies:
            self._add(("S:", reply if len(reply.lines) == 1 else str(reply)))  # a long one is cut here and now

    def note(self, text: str) -> None:
        """Something that happened to the connection."""
        self._add(("--", text))

    def _add(self, entry: tuple[str, object]) -> None:
        self._count += 1
        (self._beginning if self._count <= MAX_BEGINNING else self._end).append(entry)

    def __str__(self) -> str:
        left_out = self._count - len(self._beginning) - len(self._end)
        gap: list[tuple[str, object]] = [("--", f"{left_out} left out")] if left_out else []
        return "\n".join(
            f"{mark} {line}" for mark, what in [*self._beginning, *gap, *self._end] for line in _text(what).splitlines()
        )


def _text(what: object) -> str:
    if isinstance(what, int):
        return f"[{what} octets]"
    return what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)
