# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool hosts`: the roll-call of all owners that share the spool; who is dead, and who differs, stands out.

It only looks, and relies on no clock but the file server's: a lease that moves while we look tells what time it is
there, so each lease's age is known, and how far an owner's own clock was off when it said so.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import click
import msgspec

from mailspool.cli import nodes, terminal
from mailspool.cli.options import configured, examples
from mailspool.cli.text import cut, shown, span
from mailspool.errors import ClaimLost, Unreadable, UsageError
from mailspool.spool import Spool
from mailspool.store import recover, rollcall
from mailspool.store.claim import Owner, is_dead
from mailspool.store.filesystem import FileStore
from mailspool.store.lease import beat_interval, read_dated_lease

CLOCK_OFF = 2.0
"""Seconds that a host's clock may differ from the file server's: a beat or so of a busy one."""

_LOOK = 0.25  # seconds between two looks at the leases

Moves = dict[str, tuple[int, float]]
"""Owner to its lease's counter, and when that moved last, Unix seconds of the file server."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One owner, a line of --json.

    lease: seconds since its lease moved, null if it has none. What it says of itself is null if it never did: version,
    configuration (a fingerprint of what must be equal on all hosts), workers, and clock: how many seconds its clock is
    ahead of the file server's. stands_out: why, in words, [] if all is well.
    """

    owner: str
    host: str
    pid: int
    alive: bool
    lease: float | None
    claims: int
    version: str | None = None
    configuration: str | None = None
    workers: int | None = None
    clock: float | None = None
    stands_out: tuple[str, ...] = ()


@click.command(
    short_help="Show the hosts that share the spool.",
    epilog=examples("mailspool hosts", "mailspool hosts --json | jq -r 'select(.alive | not).owner'"),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each owner.")
@configured
def hosts(spool: Spool, *, as_json: bool) -> int:
    """Show each owner that shares the spool, that is each daemon, and what it says of itself.

    LEASE is the time since its lease moved; after lease_time others take it for dead. CLOCK is how far its clock is
    ahead of the file server's. It looks for some seconds, until a lease moves. The exit code is 1 if something stands
    out: an owner that is dead, has another version or configuration than most, or a clock that is off.
    """
    found = compared(roll(directory_of(spool), spool))
    if as_json:
        for host in found:
            click.echo(msgspec.json.encode(host).decode())
    else:
        _draw(found)
    return int(any(host.stands_out for host in found))


def directory_of(spool: Spool) -> FileStore:
    """The store of a spool that other hosts can share. Raises UsageError, SpoolError."""
    store = nodes.existing(spool)
    if not isinstance(store, FileStore):
        raise UsageError("only a spool in a directory is shared by hosts")
    return store


def roll(store: FileStore, spool: Spool) -> Iterator[Host]:
    """All owners as they are. Raises SpoolError."""
    known = sorted(recover.owners(store, store.root))
    leases, server_time = _watch(store, known, beat_interval(spool.settings.lease_time))
    now = server_time or spool.now()
    for name in known:
        yield _host(store, name, leases.get(name), now, spool.settings.lease_time)


def _watch(store: FileStore, known: Iterable[str], beat: float) -> tuple[Moves, float | None]:
    """The leases, and the file server's time: when one of them moved. None if none did, for longer than two beats."""
    first = leases = _leases(store, known)
    until = time.monotonic() + 2 * beat + 1
    while leases and time.monotonic() < until:
        time.sleep(_LOOK)
        leases = _leases(store, known)
        moved = [when for name, (counter, when) in leases.items() if name in first and first[name][0] != counter]
        if moved:
            return leases, max(moved)
    return leases, None


def _leases(store: FileStore, known: Iterable[str]) -> Moves:
    leases = {}
    for name in known:
        with suppress(Unreadable):  # of another version: it shows as an owner without one
            if found := read_dated_lease(store.root, name):
                leases[name] = found
    return leases


def _host(store: FileStore, name: str, lease: tuple[int, float] | None, now: float, lease_time: float) -> Host:
    owner = Owner.parse(name)
    age = max(0.0, round(now - lease[1], 1)) if lease else None
    ended = owner.boot == store.owner.boot and is_dead(owner, store.owner)
    alive = age is not None and age < lease_time and not ended
    said = {}
    with suppress(Unreadable, ClaimLost):
        if found := rollcall.read(store.root, name):
            call, when = found
            said = {**msgspec.structs.asdict(call), "clock": round(call.clock - when, 1)}
    claims = sum(1 for _ in store.claims_of(name))
    return Host(owner=name, host=owner.host, pid=owner.pid, alive=alive, lease=age, claims=claims, **said)


# --- what stands out


def compared(found: Iterable[Host]) -> list[Host]:
    """The same, each with what stands out of it."""
    hosts = list(found)
    living = [host for host in hosts if host.alive]
    usual = {field: _most_common(getattr(host, field) for host in living) for field in ("version", "configuration")}
    return [msgspec.structs.replace(host, stands_out=tuple(_odd(host, usual))) for host in hosts]


def _odd(host: Host, usual: dict[str, str | None]) -> Iterator[str]:
    if not host.alive:
        since = "has no lease" if host.lease is None else f"dead for {span(host.lease)}"
        yield f"{since}; if nobody recovers it: mailspool recover --owner {shown(host.host)}"
        return
    for field, most in usual.items():
        if most and (own := getattr(host, field)) not in (most, None):
            yield f"{field} {shown(own)}, where most have {shown(most)}"
    if host.clock is not None and abs(host.clock) > CLOCK_OFF:
        yield f"its clock is {abs(host.clock):g} s {'ahead of' if host.clock > 0 else 'behind'} the file server's"


def _most_common(values: Iterable[str | None]) -> str | None:
    counted = Counter(value for value in values if value is not None).most_common(1)
    return counted[0][0] if counted else None


# --- for people


def _draw(found: Sequence[Host]) -> None:
    if not found:
        click.echo("no daemon delivers from this spool")
        return
    table = terminal.table("HOST", "PID", "LEASE", "CLAIMS", "WORKERS", "CLOCK", "VERSION", "CONFIG")
    for host in found:
        colour = "" if not host.stands_out else "yellow" if host.alive else "red"
        table.add_row(*_cells(host), style=colour)
    terminal.console().print(table)
    for host in found:
        for oddity in host.stands_out:
            click.echo(f"{cut(host.host, 30)}: {oddity}")


def _cells(host: Host) -> Iterator[str]:
    yield cut(host.host, 20)
    yield str(host.pid)
    yield "none" if host.lease is None else span(host.lease, units=1) if host.alive else "dead"
    yield str(host.claims)
    yield "" if host.workers is None else str(host.workers)
    yield "" if host.clock is None else f"{host.clock:+.1f}s"
    yield shown(host.version or "")
    yield shown(host.configuration or "")
