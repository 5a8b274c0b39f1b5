# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool retry` and `mailspool delete`: the two things that an operator does to nodes.

A node that somebody delivers at this moment is left alone by both. What is deleted is claimed first, so that no
worker can be sending it, and the log keeps a line of it: nobody else is told.
"""

from collections.abc import Callable, Collection

import click

from mailspool import log
from mailspool.cli import nodes
from mailspool.cli.nodes import Selection
from mailspool.cli.options import configured, examples, say
from mailspool.cli.text import count, shown
from mailspool.errors import ClaimLost, NotRunning, SpoolError, Unreadable
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State
from mailspool.supervisor import control

_DELIVERING = "is being delivered at this moment"


class _LeftAlone(SpoolError):
    """A node that is not to be touched, and why."""


@click.command(epilog=examples("mailspool retry 0TP1B2C3D4E5F6G7H8J9", "mailspool retry ALL"))
@click.argument("ids", metavar="ID…|ALL", nargs=-1, required=True)
@configured
def retry(spool: Spool, *, ids: tuple[str, ...]) -> int:
    """Try nodes again now, whatever their tier.

    ID is a message's, for all of its nodes, or one node's (ID.N). They stay in their tier: retrying costs none of
    their chances. What is held or in quarantine is not tried.
    """
    selection = nodes.select(nodes.existing(spool), ids, {State.QUEUED})
    due, code = _each(spool, selection, _make_due)
    click.echo(f"{count(due, 'node')} due now{_look(spool) if due else ''}")
    return code


@click.command(epilog=examples("mailspool delete 0TP1B2C3D4E5F6G7H8J9.0", "mailspool delete --yes ALL"))
@click.argument("ids", metavar="ID…|ALL", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@configured
def delete(spool: Spool, *, ids: tuple[str, ...], yes: bool) -> int:
    """Delete nodes for good: they are neither delivered nor bounced.

    ID is a message's, for all of its nodes, or one node's (ID.N). ALL is every node in a tier or held; what is in
    quarantine must be named. A node that is being delivered is left alone.
    """
    selection = nodes.select(nodes.existing(spool), ids, {State.QUEUED, State.CLAIMED, State.HELD})
    if selection.locations and not yes:
        click.confirm(f"Delete {_how_many(selection.locations)} for good, telling nobody?", abort=True)
    deleted, code = _each(spool, selection, _delete)
    click.echo(f"{count(deleted, 'node')} deleted")
    return code


def _each(spool: Spool, selection: Selection, step: Callable[[Spool, Location], None]) -> tuple[int, int]:
    """Take the step with each node; how many it was taken with, and the exit code. Raises SpoolError."""
    done = 0
    for at in selection.locations:
        try:
            step(spool, at)
            done += 1
        except ClaimLost:
            say(f"{_name(at)} {_DELIVERING}, or has just been delivered; 'mailspool why {_name(at)}' tells")
        except _LeftAlone as error:
            say(f"{_name(at)} {error}")
        except Unreadable as error:
            say(f"{shown(str(error))}: it goes to quarantine with the next look")
    for word in selection.unknown:
        say(unknown(word))
    return done, int(done < len(selection.locations) or bool(selection.unknown))


def _make_due(spool: Spool, at: Location) -> None:
    """A node with TIME 0 is due, in whatever tier."""
    if at.state in {State.HELD, State.QUARANTINED}:
        place = "is held" if at.state is State.HELD else f"is in quarantine ({shown(spool.store.reason(at))})"
        raise _LeftAlone(f"{place}: put it back into its tier with\n  {nodes.put_back(spool, at)}")
    if at.state is State.CLAIMED:
        raise _LeftAlone(f"{_DELIVERING}")
    name = nodename.parse(at.name)
    if name.time:
        spool.store.move(at, at._replace(name=str(name._replace(time=0))))


def _delete(spool: Spool, at: Location) -> None:
    if at.state is State.CLAIMED:
        raise _LeftAlone(f"{_DELIVERING}: left alone")
    mine = spool.store.claim(at, spool.next_attempt()) if at.state is State.QUEUED else at
    spool.store.delete(mine)
    log.record("deleted by an operator", id=_name(at))


def _look(spool: Spool) -> str:
    """Have the supervisor look into every tier; how that went."""
    try:
        control.ask(spool.settings.run_dir, "look")
    except NotRunning:
        return "; no supervisor answers here, so they wait until mailspoold is started"
    return ", and the supervisor looks"


def unknown(word: str) -> str:
    """What to say of a word that names no node."""
    return (
        f"{shown(word)} names no node in this spool: if it was accepted here, it has been delivered, bounced or"
        " deleted since; look for it in the log of the mail system"
    )


def _how_many(locations: Collection[Location]) -> str:
    messages = len({nodes.message_id(at) for at in locations})
    return f"{count(len(locations), 'node')} of {count(messages, 'message')}"


def _name(at: Location) -> str:
    return shown(nodename.node_id_of(at.name) or at.name)
