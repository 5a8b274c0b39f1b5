# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool status`: what the supervisor does, and how much is in the spool; the latter without a supervisor too."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from mailspool.cli import nodes
from mailspool.cli.options import configured, examples, say
from mailspool.cli.text import WIDTH, count, shown, span
from mailspool.cli.why import Status, supervisor_status
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import State, Store

if TYPE_CHECKING:
    from rich.table import Table

NOT_RUNNING = 3
"""Exit code: as the Linux Standard Base has it for the status of a service."""


class Depth(msgspec.Struct):
    """One tier. oldest: seconds since its oldest node entered it, None if it has none."""

    tier: int
    nodes: int = 0
    oldest: float | None = None


class Depths(msgspec.Struct):
    """How many nodes are where."""

    tiers: list[Depth]
    claimed: int
    held: int
    quarantined: int


@click.command(epilog=examples("mailspool status", "mailspool status --json | jq .supervisor.waiting"))
@click.option(
    "--json", "as_json", is_flag=True, help="Everything as one JSON object; supervisor is null if none answers."
)
@configured
def status(spool: Spool, *, as_json: bool) -> int:
    """Show what the supervisor does, and how much is in the spool.

    The exit code is 0 if the supervisor of this host answers, 3 if it does not; the depths are shown all the same.
    """
    depths = measure(nodes.existing(spool), len(spool.settings.tiers), spool.now())
    supervisor = supervisor_status(spool)
    if as_json:
        click.echo(msgspec.json.encode({"supervisor": supervisor, "spool": depths}).decode())
    else:
        _show(depths, supervisor)
        if supervisor is None:
            say(f"no supervisor answers in {spool.settings.run_dir}: start it with 'mailspoold'")
    return NOT_RUNNING if supervisor is None else 0


def measure(store: Store, tiers: int, now: float) -> Depths:
    """Count what is where, by names alone."""
    depths = [_measure_tier(store, tier, now) for tier in sorted({*range(tiers), *store.tiers()})]
    states = [at.state for at in store.locations()]
    return Depths(depths, states.count(State.CLAIMED), states.count(State.HELD), states.count(State.QUARANTINED))


def _measure_tier(store: Store, tier: int, now: float) -> Depth:
    names = store.names(tier)
    times = [entered for name in names if (entered := nodename.entered(name))]  # 0: due now, entered who knows when
    return Depth(tier, len(names), max(0.0, round(now - min(times), 1)) if times else None)


# --- for people


def _show(depths: Depths, supervisor: Status | None) -> None:
    from rich.console import Console  # loaded only where a table is drawn

    console = Console(width=WIDTH, markup=False, highlight=False, emoji=False)
    if supervisor:
        console.print(*_sentences(supervisor), sep="\n")
        if supervisor["workers"]:
            console.print(_workers(supervisor["workers"]))
    console.print(_tiers(depths))
    console.print(f"claimed: {depths.claimed}, held: {depths.held}, quarantined: {depths.quarantined}")


def _sentences(supervisor: Status) -> Iterator[str]:
    state = "is stopping" if supervisor["stopping"] else f"looks again in {span(supervisor['next_look'])}"
    if supervisor["paused"]:
        state += ", but is paused: it delivers nothing until HUP, or 'mailspool reload'"
    workers = count(len(supervisor["workers"]), "worker")
    yield f"supervisor {supervisor['pid']} {state}"
    waiting, delivered = count(supervisor["waiting"], "node"), supervisor["delivered"]
    yield f"{workers}, {waiting} waiting for one, {delivered} delivered since its start"
    for destination, left in supervisor["cooling"].items():
        yield f"{shown(destination)} could not be reached: it is left alone for another {span(left)}"


def _workers(workers: Sequence[Status]) -> "Table":
    table = _table("WORKER", "PID", "NODES", "FOR", "PHASE", "DESTINATION", "HOST")
    for one in workers:
        numbers = (str(one["worker"]), str(one["pid"]), str(one["jobs"]), span(one["seconds"], units=1))
        table.add_row(*numbers, *(shown(str(one[column])) for column in ("phase", "destination", "host")))
    return table


def _tiers(depths: Depths) -> "Table":
    table = _table("TIER", "NODES", "OLDEST")
    for depth in depths.tiers:
        table.add_row(str(depth.tier), str(depth.nodes), "" if depth.oldest is None else span(depth.oldest))
    return table


def _table(*columns: str) -> "Table":
    from rich.table import Table  # as above

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table
