# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A TOML text statement by statement: on which line each name is set, and every fault, not only the first.

`tomllib` keeps no lines and stops at the first fault. So each statement is given to it alone; nothing else here
knows how TOML is written.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_END = re.compile(r"""\"{3}|'{3}|[\]}]""")  # one of these is in each line that ends a value of several lines


class Fault(NamedTuple):
    """What is no TOML. name, found: of the option and its value, "" where the line does not look like one."""

    line: int
    name: str
    found: str
    what: str


class Statements(NamedTuple):
    """values: what could be read. lines: for each name (in a table, "table.key") where it is set first."""

    values: dict[str, Any]
    lines: dict[str, int]
    faults: tuple[Fault, ...]


def read(text: str) -> Statements:
    """All of a text. Raises nothing: what is no TOML is a fault, and the rest is read."""
    found = _one_by_one(text)
    try:
        return Statements(tomllib.loads(text), found.lines, ())
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        whole = Fault(_line(where) or text.count("\n") + 1, "", "", what)  # of how statements fit each other
        return found if found.faults else found._replace(faults=(whole,))


def _line(where: str) -> int:
    """The line in the place that an error of `tomllib` names; 0: at the end."""
    place = re.search(r"line (\d+)", where)
    return int(place[1]) if place else 0


def _one_by_one(text: str) -> Statements:
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    faults: list[Fault] = []
    table: tuple[str, ...] = ()
    for line, opens, parsed in _statements(text.splitlines()):
        if isinstance(parsed, Fault):
            faults.append(parsed)
            continue
        table = tuple(_path(parsed)) if opens else table
        for path, value in [(table, {})] if opens else _settings(table, parsed):
            name = ".".join(path)
            if name in lines:
                faults.append(Fault(line, name, "", f"is set a second time, first in line {lines[name]}"))
            lines.setdefault(path[0], line)
            lines.setdefault(name, line)
            _put(values, path, value)
    return Statements(values, lines, tuple(faults))


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    inside: Any = values
    for name in path[:-1]:
        inside = inside.setdefault(name, {}) if isinstance(inside, dict) else None
    if isinstance(inside, dict):
        inside.setdefault(path[-1], value)


def _statements(lines: list[str]) -> Iterator[tuple[int, bool, Any]]:
    """(number of its first line, whether it opens a table, what it says or what is wrong with it) of each."""
    start = 0
    while start < len(lines):
        end, parsed = _statement(lines, start)
        yield start + 1, lines[start].lstrip().startswith("["), parsed
        start = end


def _statement(lines: list[str], start: int) -> tuple[int, Mapping[str, Any] | Fault]:
    """Where the statement that begins at `start` ends, and what it says."""
    what, at = "", start
    for end in range(start + 1, len(lines) + 1):
        if end > start + 2 and not _END.search(lines[end - 1]):
            continue
        try:
            return end, tomllib.loads("\n".join(lines[start:end]))
        except tomllib.TOMLDecodeError as error:
            what, _, where = str(error).partition(" (at ")
            if line := _line(where):  # not at the end: more lines would not mend it
                at = start + line - 1
                break
    forgotten = at > start and "=" in lines[at]  # what is in front of it was not closed: it counts for itself
    return at + (not forgotten), _fault(lines, start, at, what)


def _fault(lines: list[str], start: int, at: int, what: str) -> Fault:
    name, equals, found = lines[start].partition("=")
    name = name.strip().strip("\"'")
    if equals and name:
        return Fault(at + 1, name, (found if at == start else lines[at]).strip(), what)
    return Fault(at + 1, "", lines[at].strip(), what)


def _path(header: Mapping[str, Any]) -> Iterator[str]:
    inside: object = header
    while isinstance(inside, dict) and inside:
        name, inside = next(iter(inside.items()))
        yield name


def _settings(table: tuple[str, ...], parsed: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path of each value and the value; what is in a table one by one."""
    for name, value in parsed.items():
        if isinstance(value, dict) and value and not table:
            yield from (((name, key), inner) for key, inner in value.items())
        else:
            yield (*table, name), value
