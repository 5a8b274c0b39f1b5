# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool ps`: the daemon's processes, one a line, each with what it is at. It writes nothing.

The supervisor knows its workers' phases, the spool knows out of which tier their claims are; both are asked.
"""

from collections.abc import Iterable, Iterator

import click
import msgspec

from mailspool.cli import nodes, running, terminal
from mailspool.cli.options import configured, examples
from mailspool.cli.running import Status
from mailspool.cli.text import shown, span
from mailspool.errors import Unreadable
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State
from mailspool.store.claim import Owner


class Process(msgspec.Struct, frozen=True):
    """One process. tier: None, and the texts "", where it has none; seconds: in this phase. nodes: its claims' ID.N."""

    pid: int
    role: str
    tier: int | None = None
    destination: str = ""
    phase: str = ""
    seconds: float = 0
    host: str = ""
    nodes: tuple[str, ...] = ()


@click.command(
    short_help="List the daemon's processes.",
    epilog=examples("mailspool ps", "mailspool ps --json | jq -r 'select(.seconds > 60).pid'"),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each process.")
@configured
def ps(spool: Spool, *, as_json: bool) -> None:
    """List the daemon's processes: what each is at, and for how long.

    TIER is that of the node that a worker delivers. The exit code is 69 if no supervisor answers.
    """
    found = processes(running.status(spool), nodes.existing(spool).locations())
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one).decode())
    else:
        _draw(found)


def processes(status: Status, locations: Iterable[Location]) -> Iterator[Process]:
    """The supervisor, its services, its workers."""
    yield Process(status["pid"], "supervisor", phase="STOPPING" if status["stopping"] else "")
    for service in status["services"]:
        yield Process(service["pid"], service["role"])
    claims: dict[str, list[Location]] = {}
    for at in locations:
        if at.state is State.CLAIMED and _pid(at.owner) == status["pid"]:
            claims.setdefault(worker_of(at), []).append(at)
    for worker in status["workers"]:
        yield _worker(worker, claims.get(str(worker["worker"]), []))


def worker_of(at: Location) -> str:
    """The serial number of the worker that claimed it; "" if no worker did."""
    attempt = nodename.split_claim(at.name)[1]
    return attempt.partition(".")[0].removeprefix("w") if attempt.startswith("w") else ""


def _worker(worker: Status, claims: list[Location]) -> Process:
    return Process(
        pid=worker["pid"],
        role="worker",
        tier=claims[0].tier if claims else None,
        destination=worker["destination"],
        phase=worker["phase"],
        seconds=worker["seconds"],
        host=worker["host"],
        nodes=tuple(sorted(nodename.node_id_of(at.name) for at in claims)),
    )


def _pid(owner: str) -> int:
    try:
        return Owner.parse(owner).pid
    except Unreadable:
        return 0


def _draw(found: Iterable[Process]) -> None:
    table = terminal.table("PID", "ROLE", "TIER", "FOR", "PHASE", "DESTINATION", "HOST")
    for one in found:
        tier = "" if one.tier is None else str(one.tier)
        since = span(one.seconds, units=1) if one.phase and one.role == "worker" else ""
        table.add_row(
            str(one.pid), one.role, tier, since, one.phase, *(shown(text) for text in (one.destination, one.host))
        )
    terminal.console().print(table)
