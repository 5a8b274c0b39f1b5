# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The demo as one sees it: in a terminal a picture that moves, elsewhere plain lines; 80 columns either way."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mailspool.cli.demo.scenes import Fate

WIDTH = 80
_ROWS = 7  # lines of the story, and rows of the two tables, in the picture
_STYLES = {"sent": "green", "deferred": "yellow", "bounced": "red", "waiting": "yellow"}


class Line(NamedTuple):
    """Something that happened. word: what; who: the recipient; text: what was said. Without word a remark."""

    word: str
    who: str
    text: str

    def render(self) -> Text:
        """One line, cut to the width of the page."""
        if not self.word:
            text = Text(self.text, "bold cyan")
        else:
            text = Text.assemble((f"  {self.word:<9}", _STYLES.get(self.word, "")), f"{self.who:<17} {self.text}")
        text.truncate(WIDTH - 6, overflow="ellipsis")
        return text


class At(NamedTuple):
    """A moment of the demo.

    ago: seconds until the demo's clock shows the present. tiers: wait in seconds and number of nodes, of each.
    workers: what each does, at which domain's host, for how many seconds. story: all lines so far.
    """

    ago: float
    tiers: Sequence[tuple[float, int]]
    workers: Sequence[tuple[str, str, float]]
    story: Sequence[Line]


class View(Protocol):
    """A context that is shown one moment after the other."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, at: At) -> None: ...  # noqa: D102 - the class says it


def view_on(console: Console) -> View:
    """What suits where the output goes."""
    return Picture(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)


class Lines:
    """Each line of the story as it happens."""

    def __init__(self, console: Console) -> None:
        self._console, self._told = console, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, at: At) -> None:
        """Say what is new."""
        for line in at.story[self._told :]:
            self._console.print(line.render())
        self._told = len(at.story)


class Picture:
    """Tiers, workers and the latest lines, drawn anew again and again."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, at: At) -> None:
        """Draw it."""
        self._live.update(_picture(at), refresh=True)


def _picture(at: At) -> RenderableType:
    when = f"{span(at.ago)} ago" if at.ago >= 1 else "now"
    beside = Table.grid(expand=True)
    beside.add_column(width=34)
    beside.add_column()
    beside.add_row(
        Panel(_tiers(at.tiers), title="the spool", title_align="left", height=_ROWS + 2),
        Panel(_workers(at.workers), title="the workers", title_align="left", height=_ROWS + 2),
    )
    lines = [line.render() for line in at.story[-_ROWS:]]
    clock = Text.assemble(("mailspool demo", "bold"), "   it is ", (when, "bold cyan"))
    return Group(clock, beside, Panel(Group(*lines), title="what happens", title_align="left", height=_ROWS + 2))


def _tiers(tiers: Sequence[tuple[float, int]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for number, (wait, count) in enumerate(tiers):
        style = "bold yellow" if count else "dim"
        table.add_row(f"tier {number}", f"{span(wait) if wait else 'at once':>8}", "*" * count or "-", style=style)
    return table


def _workers(workers: Sequence[tuple[str, str, float]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for phase, host, seconds in workers[:_ROWS]:
        busy = phase != "idle"
        table.add_row(phase, *((host, f"{seconds:.1f} s") if busy else ()), style="bold" if busy else "dim")
    return table


def print_fates(console: Console, fates: Sequence[Fate]) -> None:
    """The table of what became of each node, and its sum."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("Message", "To", "What became of it"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for fate in fates:
        table.add_row(fate.sent.scene.title, fate.recipient, _end(fate))
    console.print()
    console.print(table)
    console.print()
    console.print(_sum(fates))


def _end(fate: Fate) -> Text:
    """How one node ended."""
    attempts = f", {fate.attempts} attempts" if fate.attempts > 1 else ""
    if fate.fault:
        return Text(f"{fate.fault}{attempts}", "bold red")
    if fate.waiting:
        return Text(f"waits in tier {fate.waiting.tier}, next look in {span(fate.waiting.seconds)}", "yellow")
    if fate.bounced is not None:
        return Text(f"bounce arrived after {span(fate.bounced)}{attempts}", "magenta")
    return Text(f"delivered after {span(fate.copies[0])}{attempts}", "green")


def _sum(fates: Sequence[Fate]) -> Text:
    faults = [fate.fault for fate in fates]
    kept = [fate for fate in fates if not fate.fault]
    parts = [
        f"{sum(bool(fate.copies) for fate in kept)} delivered",
        f"{sum(fate.bounced is not None for fate in kept)} bounced",
        f"{sum(fate.waiting is not None for fate in kept)} waiting",
        *(f"{faults.count(fault)} {fault.lower()}" for fault in ("DAMAGED", "TWICE") if fault in faults),
    ]
    lost = Text(f"{faults.count('LOST')} lost", "bold red" if any(faults) else "bold green")
    messages = len({fate.sent.queue_id for fate in fates})
    return Text(f"{messages} messages to {len(fates)} recipients: {', '.join(parts)}, ").append_text(lost)


def say(console: Console, text: str, style: str = "") -> None:
    """A paragraph between the rest. What stands in `text` is taken as it is."""
    console.print(escape(text), style=style, highlight=False, soft_wrap=True)


def span(seconds: float) -> str:
    """A time span as people say it, its two largest units: "0.3 s", "31 min", "4 days 4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min")]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2])
