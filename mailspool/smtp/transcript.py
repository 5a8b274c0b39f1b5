# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What was said on one session: bounded, and never a secret in it (message content is a number of octets).

A long session keeps its beginning, where the peer introduced itself, and its end, where the trouble is.
"""

from collections.abc import Sequence
from operator import attrgetter

from mailspool.smtp.reply import Reply

MAX_BEGINNING = 20  # entries
MAX_END = 100
_CROWDED = 2 * (MAX_BEGINNING + MAX_END)  # it is not worth while to leave out each by itself
MAX_ENTRY = 1024  # octets of one entry, which may be many pipelined commands

_LINES = attrgetter("lines")

Entry = bytes | int | Reply | str
"""What we said, octets of content, what the peer said, what happened."""


class Transcript:
    """`str()` shows it: `C:` what we said, `S:` what the peer said, `--` what happened."""

    __slots__ = ("_entries", "_left_out")

    def __init__(self) -> None:
        # As they come: of a thousand sessions one is ever shown; only then they are made to text.
        self._entries: list[Entry] = []
        self._left_out = 0

    def say(self, commands: bytes, content: int = 0, behind: bytes = b"") -> None:
        """One write of whole commands, octets of message content, and commands again."""
        entries = self._entries
        if commands:
            entries.append(commands[:MAX_ENTRY])
        if content:
            entries.append(content)
        if behind:
            entries.append(behind[:MAX_ENTRY])
        if len(entries) > _CROWDED:
            self._leave_out()

    def hear(self, replies: Sequence[Reply]) -> None:
        """One at least. The lines of each are joined, and cut here and now."""
        if max(map(len, map(_LINES, replies))) > 1:
            replies = [Reply(each.code, (each.text,)) for each in replies]
        self._entries.extend(replies)
        if len(self._entries) > _CROWDED:
            self._leave_out()

    def note(self, text: str) -> None:
        """Something that happened to the connection."""
        self._entries.append(text)
        if len(self._entries) > _CROWDED:
            self._leave_out()

    def _leave_out(self) -> None:
        """What is between beginning and end."""
        self._left_out += max(0, len(self._entries) - MAX_BEGINNING - MAX_END)
        del self._entries[MAX_BEGINNING:-MAX_END]

    def __str__(self) -> str:
        self._leave_out()
        gap: list[Entry] = [f"{self._left_out} left out"] if self._left_out else []
        entries = [*self._entries[:MAX_BEGINNING], *gap, *self._entries[MAX_BEGINNING:]]
        return "\n".join(line for entry in entries for line in _lines(entry))


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
