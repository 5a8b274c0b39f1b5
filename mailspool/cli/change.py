# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an operator does to nodes: hold, release, retry, delete, bounce, expire.

Each is a step that one rename or unlink decides, so that it works without a daemon, beside one, and on what another
host delivers. What is claimed may be taken away up to its final dot: its worker finds the claim lost before it says
it. The log keeps a line of each step.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from mailspool.cli import nodes, running, steps, terminal
from mailspool.cli.options import configured, examples, say
from mailspool.cli.select import ALL, Selector, selects
from mailspool.cli.text import count
from mailspool.errors import ControlForbidden, NotRunning, UsageError
from mailspool.model import status
from mailspool.model.address import control_character
from mailspool.model.outcome import Attempt, Failed
from mailspool.spool import Spool
from mailspool.store.base import Location, State

MAX_REASON = 400
"""Characters of a reason: it stands in the log, and in one field of the report (RFC 5322 §2.1.1 has 998 a line)."""

_IN_TIERS = frozenset({State.QUEUED, State.CLAIMED})
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(
    short_help="Put nodes aside until they are released.",
    epilog=examples("mailspool hold --domain example.org", "mailspool hold 0TP1B2C3D4E5F6G7H8J9.0"),
)
@selects
@configured
def hold(spool: Spool, *, selector: Selector) -> int:
    """Put nodes aside: nothing tries them, and nothing gives them up, until they are released.

    A delivery that has not said its final dot is stopped. If it has, this comes too late: it is told, and the exit
    code is 1.
    """
    held, code = each(spool, selector, steps.hold, _IN_TIERS)
    click.echo(f"{count(held, 'node')} held")
    return code


@click.command(
    short_help="Put back what is held, due now.",
    epilog=examples("mailspool release ALL", "mailspool release --held --older 2h --to @example.org"),
)
@selects
@configured
def release(spool: Spool, *, selector: Selector) -> int:
    """Put back what is held, each into its own tier, due now.

    What is in quarantine goes to tier 0 when it is named by ID or with --quarantined.
    """
    released, code = each(spool, selector, steps.release, frozenset({State.HELD}))
    click.echo(f"{count(released, 'node')} released{looked(spool) if released else ''}")
    return code


@click.command(
    short_help="Try nodes again now.",
    epilog=examples("mailspool retry 0TP1B2C3D4E5F6G7H8J9", "mailspool retry --domain example.org"),
)
@selects
@configured
def retry(spool: Spool, *, selector: Selector) -> int:
    """Try nodes again now, whatever their tier.

    They are tried in their own tier, and a try that fails counts like any other. What is held or in quarantine is not
    tried.
    """
    due, code = each(spool, selector, steps.make_due, frozenset({State.QUEUED}))
    click.echo(f"{count(due, 'node')} due now{looked(spool) if due else ''}")
    return code


@click.command(
    short_help="Delete nodes for good, telling nobody.",
    epilog=examples("mailspool delete 0TP1B2C3D4E5F6G7H8J9.0", "mailspool delete --yes --from '<>' --older 1d"),
)
@selects
@yes_option
@configured
def delete(spool: Spool, *, selector: Selector, yes: bool) -> int:
    """Delete nodes for good: they are neither delivered nor bounced, and nobody is told.

    A delivery that has not said its final dot is stopped. If it has, this comes too late: it is told, and the exit
    code is 1. What is in quarantine must be named, by ID or with --quarantined.
    """
    question = None if yes else "Delete {} for good, telling nobody?"
    deleted, code = each(spool, selector, steps.delete, _IN_TIERS | {State.HELD}, question)
    click.echo(f"{count(deleted, 'node')} deleted")
    return code


@click.command(
    short_help="Give up nodes now, with a report to the sender.",
    epilog=examples("mailspool bounce --domain exmaple.org --reason 'mistyped, see ticket 4711'"),
)
@selects
@click.option("--reason", metavar="TEXT", default="", help="What the report says besides.")
@yes_option
@configured
def bounce(spool: Spool, *, selector: Selector, reason: str, yes: bool) -> int:
    """Give up nodes now: they are removed, and each sender gets a report with every attempt and the reason.

    Up to the final dot, as delete.
    """
    text = f"given up by the administrator{_checked(reason) and ': '}{reason}"
    return _give_up(spool, selector, lambda _attempts: Failed("5.0.0", "", text), "Bounce {} to {senders}?", yes=yes)


@click.command(
    short_help="Give up nodes now as if they were too old.",
    epilog=examples("mailspool expire --tier 4- --domain example.org", "mailspool expire --older 2d"),
)
@selects
@yes_option
@configured
def expire(spool: Spool, *, selector: Selector, yes: bool) -> int:
    """Give up nodes now as if they were too old: each sender gets the report that max_age would have brought.

    Up to the final dot, as delete.
    """
    return _give_up(spool, selector, _expired, "Give up {} as too old, with a report to {senders}?", yes=yes)


# --- what is common to them


def _expired(attempts: Sequence[Attempt]) -> Failed:
    """With its last error: that is what went wrong."""
    if attempts:
        return Failed(status.EXPIRED, attempts[-1].host, attempts[-1].text)
    return Failed(status.EXPIRED, "", "given up by the administrator before any attempt had ended")


def _give_up(
    spool: Spool, selector: Selector, verdict: Callable[[Sequence[Attempt]], Failed], question: str, *, yes: bool
) -> int:
    with steps.Bounces(spool, verdict) as bounces:
        _, code = each(spool, selector, bounces.take, _IN_TIERS | {State.HELD}, None if yes else question)
        given_up, faults = bounces.settle()
    for fault in faults:
        say(fault)
    click.echo(f"{count(given_up, 'node')} given up")
    return int(bool(code or faults))


def each(
    spool: Spool,
    selector: Selector,
    step: steps.Step,
    states: frozenset[State],
    question: str | None = None,
) -> tuple[int, int]:
    """Take the step with each node that is meant: how many it was taken with, and the exit code.

    states: those that are meant where neither IDs nor states are given. question: with {} for what would be hit.
    Raises UsageError, SpoolError.
    """
    if not (selector.everything or selector.narrows):
        raise UsageError(
            f"nothing says which nodes: give IDs, selectors such as --domain (see --help), or {ALL} for all of them"
        )
    store, now, selector = nodes.existing(spool), spool.now(), selector.within(states)
    selection = nodes.select(store, selector, now)
    locations: Sequence[Location] = selection.locations
    if selector.reads or (question and locations):
        entries = list(nodes.meant(nodes.read(store, terminal.watched(locations, "reading")), selector))
        locations = [entry.at for entry in entries]
        if question and entries:
            terminal.confirm(_asked(question, entries))
    done, problems = steps.take(spool, locations, step, lambda at: selector.fits_name(at, now))
    for problem in (*problems, *map(nodes.unknown, selection.unknown)):
        say(problem)
    return done, int(bool(problems or selection.unknown))


def _asked(question: str, entries: Sequence[nodes.Entry]) -> str:
    messages = count(len({nodes.message_id(entry.at) for entry in entries}), "message")
    senders = count(len({entry.envelope.sender for entry in entries if entry.envelope}), "sender")
    hit = f"{count(len(entries), 'node')} of {messages}"
    return question.format(hit if "{senders}" in question else f"{hit} from {senders}", senders=senders)


def looked(spool: Spool) -> str:
    """Have the supervisor look into every tier; how that went."""
    with suppress(NotRunning, ControlForbidden):
        running.look(spool)
        return ", and the supervisor looks"
    return "; no supervisor answers here, so they wait until mailspoold is started"


def _checked(reason: str) -> str:
    """Raises UsageError for what cannot stand in a report and in the log."""
    if fault := control_character(reason):
        raise UsageError(f"--reason {reason!r} holds {fault}: write it in one line")
    if len(reason) > MAX_REASON:
        raise UsageError(f"--reason has {len(reason)} characters, at most {MAX_REASON} are allowed")
    return reason
