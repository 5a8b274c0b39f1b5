# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What was said on one session: bounded, and never a secret in it (message content is a number of octets).

A long session keeps its beginning, where the peer introduced itself, and its end, where the trouble is.
"""

from collections import deque
from collections.abc import Sequence

from mailspool.smtp.reply import Reply

MAX_BEGINNING = 20  # entries
MAX_END = 100
MAX_ENTRY = 1024  # octets of one entry, which may be many pipelined commands

Entry = bytes | int | Reply | str
"""What we said, octets of content, what the peer said, what happened."""


class Transcript:
    """`str()` shows it: `C:` what we said, `S:` what the peer said, `--` what happened."""

    __slots__ = ("_beginning", "_count", "_end")

    def __init__(self) -> None:
        # As they come: of a thousand sessions one is ever shown; only then they are made to text.
        self._beginning: list[Entry] = []
        self._end: deque[Entry] = deque(maxlen=MAX_END)
        self._count = 0

    def say(self, commands: bytes, content: int = 0, behind: bytes = b"") -> None:
        """One write of whole commands, octets of message content, and commands again."""
        said: list[Entry] = [commands[:MAX_ENTRY]] if commands else []
        if content:
            said.append(content)
        if behind:
            said.append(behind[:MAX_ENTRY])
        self._add(said)

    def hear(self, replies: Sequence[Reply]) -> None:
        """The lines of each are joined, and cut here and now."""
        for reply in replies:
            if len(reply.lines) > 1:
                replies = [Reply(each.code, (each.text,)) for each in replies]
                break
        self._add(replies)

    def note(self, text: str) -> None:
        """Something that happened to the connection."""
        self._add([text])

    def _add(self, entries: Sequence[Entry]) -> None:
        self._count += len(entries)
        (self._beginning if self._count <= MAX_BEGINNING else self._end).extend(entries)

    def __str__(self) -> str:
        left_out = self._count - len(self._beginning) - len(self._end)
        gap: list[Entry] = [f"{left_out} left out"] if left_out else []
        return "\n".join(line for entry in [*self._beginning, *gap, *self._end] for line in _lines(entry))


def _lines(entry: Entry) -> list[str]:
    match entry:
        case int():
            return [f"C: [{entry} octets]"]
        case bytes():
            return [f"C: {line}" for line in entry.decode("utf-8", "replace").splitlines()]
        case Reply():
            return [f"S: {entry}"]
        case _:
            return [f"-- {line}" for line in entry.splitlines()]
