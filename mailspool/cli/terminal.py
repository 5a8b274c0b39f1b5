# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a terminal gets and a pipe does not: lines cut to its width, colour, a bar for what takes long, questions.

A pipe gets every line in full and without a colour. So does a terminal with NO_COLOR in the environment, as far as
colour goes (https://no-color.org).
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from mailspool.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Item = TypeVar("Item")

NARROWEST = 40
"""Columns. On a terminal that has less, or that does not say, lines are made for 80."""

_UNSAID = 80
_FULL = 10_000  # columns of a table that is not cut
_SOON = 1.0  # seconds; what is over by then needs no bar


def columns() -> int | None:
    """The width of standard output if it is a terminal, None if lines are not to be cut."""
    if not sys.stdout.isatty():
        return None
    said = os.get_terminal_size(sys.stdout.fileno()).columns
    return said if said >= NARROWEST else _UNSAID


def painted(text: str, colour: str) -> str:
    """The text in a colour of click's, if standard output is a terminal that wants it; as it is for ""."""
    return click.style(text, fg=colour) if colour and sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def console() -> "Console":
    """Where tables are drawn. It minds NO_COLOR itself."""
    from rich.console import Console  # loaded only where a table is drawn

    return Console(width=columns() or _FULL, markup=False, highlight=False, emoji=False)


def table(*headings: str) -> "Table":
    """A table without lines, its columns cut rather than folded."""
    from rich.table import Table  # as above

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for heading in headings:
        made.add_column(heading, no_wrap=True, overflow="ellipsis")
    return made


def watched(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, one by one; from the second second on a bar on standard error shows how far it is."""
    if not sys.stderr.isatty():
        yield from items
        return
    begun, rest = time.monotonic(), iter(items)
    for number, item in enumerate(rest, 1):
        yield item
        if time.monotonic() - begun > _SOON:
            yield from _under_a_bar(rest, what, number, len(items))


def _under_a_bar(rest: Iterator[Item], what: str, done: int, total: int) -> Iterator[Item]:
    from rich.console import Console  # loaded only where something takes long
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, completed=done)
        for item in rest:
            yield item
            progress.advance(task)


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def confirm(question: str, looks: str = "'mailspool queue' with the same selectors") -> None:
    """Ask; any answer but yes aborts. looks: what lists the same. Raises UsageError where nobody can be asked."""
    if not can_ask():
        raise UsageError(
            f"{question} Nobody can be asked, standard input is no terminal: say --yes; what would be hit is listed"
            f" by {looks}"
        )
    click.confirm(question, abort=True, err=True)
