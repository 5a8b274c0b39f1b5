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
        self._beginning: list[tuple[str, str]] = []
        self._end: deque[tuple[str, str]] = deque(maxlen=MAX_END)
        self._count = 0

    def say(self, commands: bytes) -> None:
        """One write of whole commands."""
        self._add("C:", commands[:MAX_ENTRY].decode("utf-8", "replace"))

    def say_content(self, octets: int) -> None:
        """So many octets of message content, as written."""
        self._add("C:", f"[{octets} octets]")

    def hear(self, reply: Reply) -> None:
        """One reply, its lines joined."""
        self._add("S:", str(reply))

    def note(self, text: str) -> None:
        """Something that happened to the connection."""
        self._add("--", text)

    def _add(self, mark: str, text: str) -> None:
        self._count += 1
        (self._beginning if self._count <= MAX_BEGINNING else self._end).append((mark, text))

    def __str__(self) -> str:
        left_out = self._count - len(self._beginning) - len(self._end)
        gap = [("--", f"{left_out} left out")] if left_out else []
        return "\n".join(
            f"{mark} {line}" for mark, text in [*self._beginning, *gap, *self._end] for line in text.splitlines()
        )
