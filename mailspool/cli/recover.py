# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool recover`: for an administrator who knows that a host is gone, and does not wait until the others see it.

It does what their daemons do by themselves after `lease_time`: `store.recover`.
"""

import time

import click
import msgspec

from mailspool import log
from mailspool.cli import change, terminal
from mailspool.cli.hosts import directory_of
from mailspool.cli.options import configured, examples, say
from mailspool.cli.text import count, shown
from mailspool.errors import UsageError
from mailspool.spool import Spool
from mailspool.store import recover as recovering
from mailspool.store.claim import Owner, is_dead
from mailspool.store.filesystem import FileStore
from mailspool.store.lease import beat_interval, read_lease

_LOOK = 0.25  # seconds between two looks at the lease


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What --json tells. moved: whether its lease did, while we looked. returned: nodes, to their tiers."""

    owner: str
    moved: bool
    returned: int


@click.command(
    short_help="Take back what a dead host was delivering.",
    epilog=examples("mailspool recover --owner mx2 --now", "mailspool recover --owner mx2 --now --yes --json"),
)
@click.option(
    "--owner", "wanted", required=True, metavar="OWNER", help="As mailspool hosts names it; its host's name will do."
)
@click.option("--now", is_flag=True, help="Do not wait for lease_time: you know that it is gone.")
@change.yes_option
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@configured
def recover(spool: Spool, *, wanted: str, now: bool, yes: bool, as_json: bool) -> int:
    """Return all claims of a dead owner to their tiers, and remove its lease, as the daemons of other hosts do.

    They do it by themselves once its lease has stood still for lease_time; so does this, without --now. With --now it
    looks for two beats of the lease only. If that moves, somebody keeps it up: you are asked, since what that host is
    just delivering may arrive twice; without --now it is left alone, and the exit code is 1. An owner of this host that
    runs is never recovered: stop it.
    """
    store = directory_of(spool)
    name = _owner(store, wanted)
    if not name:
        say(f"{shown(wanted)} has neither a lease nor claims here; 'mailspool hosts' lists who has")
        return 1
    patience = 2 * beat_interval(spool.settings.lease_time) + 1 if now else spool.settings.lease_time
    moved = not is_dead(Owner.parse(name), store.owner) and _moves(store, name, patience)
    if moved and not now:
        say(f"the lease of {name} moves: it lives; --now recovers it all the same")
        return 1
    if moved and not yes:
        question = f"The lease of {name} moves. Recover it all the same, though mail may arrive twice?"
        terminal.confirm(question, "'mailspool hosts'")
    returned = sum(1 for _ in recovering.recover_owner(store, store.root, name, spool.now()))
    log.record("recovered by an operator", owner=name, nodes=returned)
    if as_json:
        click.echo(msgspec.json.encode(Recovered(owner=name, moved=moved, returned=returned)).decode())
    else:
        click.echo(f"{count(returned, 'node')} of {name} returned{change.looked(spool) if returned else ''}")
    return 0


def _owner(store: FileStore, wanted: str) -> str:
    """Whom a word means; "" if nobody. Raises UsageError if it means several, or one of this host that runs."""
    known = sorted(recovering.owners(store, store.root))
    meant = [wanted] if wanted in known else [name for name in known if Owner.parse(name).host == wanted]
    if len(meant) > 1:
        raise UsageError(f"{shown(wanted)} has several owners, name one: {', '.join(meant)}")
    for name in meant:
        owner = Owner.parse(name)
        if owner.host == store.owner.host and not is_dead(owner, store.owner):
            raise UsageError(f"{name} runs on this host as process {owner.pid}: end it, and it gives back what it has")
    return "".join(meant)


def _moves(store: FileStore, name: str, seconds: float) -> bool:
    """Whether the lease moves within so many seconds, or comes to be."""
    say(f"watching the lease of {name} for {seconds:.0f} s")
    first, until = read_lease(store.root, name), time.monotonic() + seconds
    while time.monotonic() < until:
        if read_lease(store.root, name) not in (first, None):  # none: another host was first
            return True
        time.sleep(_LOOK)
    return False
