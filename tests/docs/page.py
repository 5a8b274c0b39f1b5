# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the documents show: fenced blocks, the commands in them, and how their output is compared with the real one.

An HTML comment right above a block says what is special about it: `in another terminal`, `file: PATH` for what a
reader writes into that file, `on HOST` where that is not just a host with mailspool; "; " is between two of these. A
`console` block holds commands behind "$ " (anybody's) or "# "
(root's), and what they print; a line that is only "…" stands for any lines. Queue ids, hosts with their address,
numbers, times and the width of blanks are not compared. A `python` block is run, too.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.running import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>.*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEREDOC = re.compile(r"<<-? ?'?(\w+)'?")
_ID = r"[0-9A-Z]{20}"
_NUMBER = r"\d+(?:\.\d+)?"
_SPAN = rf"{_NUMBER}(?:s|m|h|d|ms|%)(?: {_NUMBER}(?:s|m|h))?"
_HOST = r"[\w.-]+\[[\w.:]+\]:\d+"
_LOGGED = r"\d{4}-\d\d-\d\dT\S+ \S+"  # time and host of a line of the log
_VAGUE = {_LOGGED: _LOGGED, _ID: _ID, _HOST: _HOST, rf"{_SPAN}\b": _SPAN, _NUMBER: _NUMBER, r"\s+": r"\s+"}


_LOOKS = ("mailspool queue", "mailspool why", "mailspool status", "mailspool ps", "mailq", "postqueue -p", "cat ")


class Block(NamedTuple):
    """One fenced block. place: page and line. note: the comment above it."""

    place: str
    language: str
    text: str
    note: str

    @property
    def host(self):
        """Where it is typed, "" for a host with mailspool."""
        return self._said("on ")

    @property
    def file(self):
        """The file that a reader writes it into, "" for none."""
        return self._said("file: ")

    @property
    def in_another_terminal(self):
        return "in another terminal" in self.notes

    @property
    def notes(self):
        return self.note.split("; ")

    def _said(self, beginning):
        return next((note.removeprefix(beginning) for note in self.notes if note.startswith(beginning)), "")

    @property
    def commands(self):
        """What is to be run, in the order in which it stands there."""
        if self.file:
            return []
        if self.language == "python":
            return [Command(self.place, "$", f"/opt/mailspool/bin/python - <<'END'\n{self.text}END", [])]
        return list(_commands(self.place, self.text)) if self.language == "console" else []


class Otherwise(Exception):
    """What is printed is not what is shown."""


class Command(NamedTuple):
    """prompt: "#" for root. output: the lines that are shown, [] where none are."""

    place: str
    prompt: str
    text: str
    output: list

    @property
    def may_repeat(self):
        """It only looks, so that who looks too early looks again."""
        return self.text.startswith(_LOOKS)


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    name = page.relative_to(ROOT)
    return [
        Block(
            f"{name}:{text.count(chr(10), 0, found.start('language')) + 1}",
            found["language"],
            found["text"],
            found["note"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def _commands(place: str, text: str) -> Iterator[Command]:
    command, until = None, ""
    for line in text.splitlines():
        if command and (until or command.text.endswith("\\")):
            command = command._replace(text=f"{command.text}\n{line}")
            until = "" if line == until else until
        elif line[:2] in {"$ ", "# "}:
            if command:
                yield command
            command = Command(place, line[0], line[2:], [])
            until = found[1] if (found := _HEREDOC.search(line)) else ""
        else:
            assert command, f"{place}: output before any command: {line}"
            command.output.append(line)
    if command:
        yield command


def ids_in(shown: list, printed: str) -> dict:
    """Which real queue id each shown one stands for. Raises Otherwise."""
    found = _pattern(shown).fullmatch(printed.rstrip())
    if not found:
        raise Otherwise("shown:\n" + "\n".join(shown) + f"\nprinted:\n{printed}")
    return {name.removeprefix("id"): text for name, text in found.groupdict().items()}


def _pattern(shown: list) -> re.Pattern:
    known: set = set()
    lines = [r"(?:.*\n)*?" if line == "…" else _line(line, known) + r"\s*?\n" for line in shown]
    return re.compile(
        "".join(lines).removesuffix(r"\s*?\n").removesuffix(r"(?:.*\n)*?") + (r"[\s\S]*" if shown[-1] == "…" else "")
    )


def _line(line: str, known: set) -> str:
    def vague(found: re.Match) -> str:
        text = found[0]
        if re.fullmatch(_ID, text):
            if text in known:
                return f"(?P=id{text})"
            known.add(text)
            return f"(?P<id{text}>{_ID})"
        return next((into for what, into in _VAGUE.items() if re.fullmatch(what, text)), re.escape(text))

    return re.sub("|".join([*_VAGUE, r"."]), vague, line.rstrip())
