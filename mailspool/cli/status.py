# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool status`: one screen of 80 x 24 with what the supervisor does, and how much is in the spool.

The latter needs no supervisor. Names tell all of it but the last errors, which are read from few histories: a node's
TIME is when it failed last, so the newest names beyond tier 0 say whose.
"""

from collections.abc import Iterator, Sequence
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mailspool.cli import nodes, running, terminal
from mailspool.cli.options import configured, examples, say
from mailspool.cli.running import Status, alarm_line
from mailspool.cli.text import count, cut, shown, span
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_RUNNING = 3
"""Exit code: as the Linux Standard Base has it for the status of a service."""

_LAST_ERRORS = 3
_HISTORIES = 50  # so many are read to find them: names under TIME 0 do not tell when they failed
_MOST_WORKERS = 5  # on a terminal; with seven tiers and all else below, 24 lines are full
_MOST_COOLING = 3


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


class Trouble(msgspec.Struct):
    """One of the last errors. ago: seconds; host: "" where none was reached."""

    node: str
    destination: str
    ago: float
    host: str
    text: str


@click.command(
    short_help="Show the daemon and the depths of the tiers.",
    epilog=examples("mailspool status", "mailspool status --json | jq .supervisor.waiting"),
)
@click.option(
    "--json", "as_json", is_flag=True, help="Everything as one JSON object; supervisor is null if none answers."
)
@configured
def status(spool: Spool, *, as_json: bool) -> int:
    """Show what the supervisor does, how much is in the spool, and what went wrong last.

    The exit code is 0 if the supervisor of this host answers, 3 if it does not; the spool is shown all the same.
    """
    store = nodes.existing(spool)
    locations = nodes.once(store.locations())
    depths = measure(store, locations, len(spool.settings.tiers), spool.now())
    errors = last_errors(store, locations, spool.now())
    supervisor, fault = running.status_or_fault(spool)
    if as_json:
        found = {"supervisor": supervisor, "spool": depths, "last_errors": errors}
        click.echo(msgspec.json.encode(found).decode())
    else:
        terminal.console().print(*_screen(supervisor, depths, errors), sep="\n")
        if supervisor is None:
            say(fault)
    return NOT_RUNNING if supervisor is None else 0


def measure(store: Store, locations: Sequence[Location], tiers: int, now: float) -> Depths:
    """Count what is where, by names alone."""
    waiting: dict[int, list[str]] = {tier: [] for tier in sorted({*range(tiers), *store.tiers()})}
    for at in locations:
        if at.state is State.QUEUED:
            waiting.setdefault(at.tier, []).append(at.name)
    states = [at.state for at in locations]
    return Depths(
        [_measure_tier(tier, names, now) for tier, names in waiting.items()],
        states.count(State.CLAIMED),
        states.count(State.HELD),
        states.count(State.QUARANTINED),
    )


def _measure_tier(tier: int, names: Sequence[str], now: float) -> Depth:
    times = [entered for name in names if (entered := nodename.entered(name))]  # 0: due now, entered who knows when
    return Depth(tier, len(names), max(0.0, round(now - min(times), 1)) if times else None)


def last_errors(store: Store, locations: Sequence[Location], now: float) -> list[Trouble]:
    """The newest, at most three."""
    failed = (at for at in locations if at.state is State.QUEUED and _may_have_failed(at))
    newest = nlargest(_HISTORIES, failed, key=lambda at: nodename.entered(at.name))
    last = ((attempt, at) for at in newest for attempt in store.history(nodename.node_id_of(at.name) or "-")[-1:])
    return [
        Trouble(
            nodename.node_id_of(at.name),
            nodename.destination_in(at.name),
            max(0.0, round(now - attempt.time, 1)),
            attempt.host,
            attempt.text,
        )
        for attempt, at in nlargest(_LAST_ERRORS, last, key=lambda one: one[0].time)
    ]


def _may_have_failed(at: Location) -> bool:
    """In tier 0 only what is due again after its worker's end; what an operator retries has lost its TIME too."""
    return at.tier > 0 or not nodename.entered(at.name)


# --- for people


def _screen(supervisor: Status | None, depths: Depths, errors: Sequence[Trouble]) -> Iterator["RenderableType"]:
    if supervisor:
        yield from _sentences(supervisor)
    yield _tiers(depths)
    yield f"claimed: {depths.claimed}, held: {depths.held}, quarantined: {depths.quarantined}"
    if supervisor:
        yield from _workers(supervisor["workers"])
        yield from _cooling(supervisor["cooling"])
        yield from _held({name: held for name, held in supervisor["held"].items() if held["rule"] != "cool_down"})
    width = terminal.columns()
    for error in errors:
        yield cut(f"{error.node}  {error.destination}, {span(error.ago, units=1)} ago: {error.text}", width)


def _sentences(supervisor: Status) -> Iterator[str]:
    state = f"looks again in {span(supervisor['next_look'])}"
    if supervisor["paused"]:
        state = "is paused until HUP or 'mailspool reload': it delivers nothing"
    if supervisor["stopping"]:
        state = "is stopping"
    workers = count(len(supervisor["workers"]), "worker")
    yield f"supervisor {supervisor['pid']} {state}"
    waiting, delivered = count(supervisor["waiting"], "node"), supervisor["delivered"]
    drops = f", {count(drops, 'log line')} dropped" if (drops := supervisor["log_drops"]) else ""
    yield f"{workers}, {waiting} waiting for one, {delivered} delivered since its start{drops}"
    yield from map(alarm_line, supervisor["alarms"])


def _tiers(depths: Depths) -> "RenderableType":
    table = terminal.table("TIER", "NODES", "OLDEST")
    for depth in depths.tiers:
        table.add_row(str(depth.tier), str(depth.nodes), "" if depth.oldest is None else span(depth.oldest))
    return table


def _workers(workers: Sequence[Status]) -> Iterator["RenderableType"]:
    """On a terminal those that have been in their phase longest."""
    most = _MOST_WORKERS if terminal.columns() else len(workers)
    table = terminal.table("WORKER", "PID", "NODES", "FOR", "PHASE", "DESTINATION", "HOST")
    for one in sorted(workers, key=_seconds, reverse=True)[:most]:
        numbers = (str(one["worker"]), str(one["pid"]), str(one["jobs"]), span(one["seconds"], units=1))
        table.add_row(*numbers, *(shown(str(one[column])) for column in ("phase", "destination", "host")))
    if workers:
        yield table
    if len(workers) > most:
        yield f"and {count(len(workers) - most, 'more worker')}: mailspool ps"


def _cooling(cooling: dict[str, float]) -> Iterator[str]:
    most = _MOST_COOLING if terminal.columns() else len(cooling)
    if cooling:
        named = [f"{cut(name, 40)} for {span(left)}" for name, left in islice(cooling.items(), most)]
        more = f", and {len(cooling) - most} more" if len(cooling) > most else ""
        yield cut(f"refuse sessions, left alone: {', '.join(named)}{more}", terminal.columns())


def _held(held: dict[str, Status]) -> Iterator[str]:
    """What `why` tells in full."""
    most = _MOST_COOLING if terminal.columns() else len(held)
    if held:
        named = [f"{cut(name, 40)} ({one['rule']}{_for(one['seconds'])})" for name, one in islice(held.items(), most)]
        more = f", and {len(held) - most} more" if len(held) > most else ""
        yield cut(f"held back: {', '.join(named)}{more}", terminal.columns())


def _for(seconds: float) -> str:
    return f", {span(seconds)}" if seconds else ""


def _seconds(worker: dict[str, Any]) -> float:
    return float(worker["seconds"])
