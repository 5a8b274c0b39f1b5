# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool why`: for each node, where it is, what was tried, what came back, and what happens next.

It writes nothing and needs no daemon. The next look is a matter of dice; what they give on average, and in 95 of
100 cases, follows from `model.plan`.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import groupby
from textwrap import wrap

import click
import msgspec

from mailspool.cli import completion, nodes, running
from mailspool.cli.options import configured, examples, say
from mailspool.cli.ps import worker_of
from mailspool.cli.queue import listed
from mailspool.cli.reasons import due_at, reasons
from mailspool.cli.running import Status, alarm_line
from mailspool.cli.select import Selector
from mailspool.cli.text import WIDTH, count, folded, moment, octets, shown, span
from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.model.outcome import Attempt
from mailspool.model.plan import Looks
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State
from mailspool.store.claim import Owner, is_dead, this_owner
from mailspool.store.handle import Node

_SURE = 0.95
_TOLD = ("tier", "no supervisor")  # in other words, whether they hold it back or not


@click.command(epilog=examples("mailspool why 0TP1B2C3D4E5F6G7H8J9", "mailspool why 0TP1B2C3D4E5F6G7H8J9.3"))
@click.argument("ids", metavar="ID…", nargs=-1, required=True, shell_complete=completion.ids)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each node.")
@configured
def why(spool: Spool, *, ids: tuple[str, ...], as_json: bool) -> int:
    """Tell what became of a message so far, and what happens next.

    ID is a message's, for all of its nodes, or one node's (ID.N), as send_mail, sendmail -v, the log and mailspool
    queue give it.

    The members of --json are those of mailspool queue, and: due (Unix seconds; null where a node is not in a tier),
    attempts (time, tier, host, status, text, seconds of each), and reasons why it is not tried just now: rule, text,
    and seconds until that is over, null if nobody can know. docs/operating.md tells what each rule means.
    """
    selection = nodes.select(nodes.existing(spool), Selector(words=frozenset(ids)), spool.now())
    status_about = cache(partial(running.status_if_any, spool))
    for at in selection.locations:
        status = status_about(_destination(spool, at))
        try:
            click.echo(_as_json(spool, at, status) if as_json else _as_text(spool, at, status))
        except ClaimLost:
            say(f"{shown(at.name)} has just moved on: ask again")
    for word in selection.unknown:
        say(nodes.unknown(word))
    return int(bool(selection.unknown))


def _destination(spool: Spool, at: Location) -> str:
    """Whose limits it waits for; "" where nobody can read that."""
    domain = nodename.destination_in(at.name)
    return spool.door.route.destination(domain) if domain else ""


def _as_text(spool: Spool, at: Location, status: Status | None) -> str:
    return "\n".join(line for long in story(spool, at, status) for line in folded(long))


def _as_json(spool: Spool, at: Location, status: Status | None) -> str:
    """Raises ClaimLost as `story` does."""
    entry = nodes.entry(at, spool.store.envelope)
    attempts = spool.store.history(entry.node_id) if entry.node_id else []
    if attempts:
        entry.trouble = attempts[-1].text
    due = None
    with suppress(Unreadable):
        due = due_at(spool.node_at(at)) if at.state is State.QUEUED else None
    told = {
        **msgspec.to_builtins(listed(entry)),
        "due": due,
        "attempts": attempts,
        "reasons": reasons(spool, at, status),
    }
    return msgspec.json.encode(told).decode()


def story(spool: Spool, at: Location, status: Status | None) -> Iterator[str]:
    """Everything about one node, line by line. Raises ClaimLost if it has moved on."""
    yield from _heading(spool, at)
    if at.state is State.QUARANTINED:
        yield f"  in quarantine: {shown(spool.store.reason(at)) or 'nobody wrote down why'}"
    node_id = nodename.node_id_of(at.name)
    if node_id:
        yield from _tried(spool.store.history(node_id))
    yield from _next(spool, at, status)


def _heading(spool: Spool, at: Location) -> Iterator[str]:
    entry = nodes.entry(at, spool.store.envelope)
    if entry.envelope is None:
        yield shown(at.name)
        yield f"  cannot be read: {shown(entry.trouble)}"
        return
    arrival = entry.envelope.arrival
    yield f"{nodes.called(at)} from <{entry.envelope.sender}> to <{entry.recipient}>"
    age = span(spool.now() - arrival)
    yield f"  arrived {moment(arrival)} ({age} ago), {octets(entry.envelope.facts.size)} octets"


def _tried(attempts: Iterable[Attempt]) -> Iterator[str]:
    """What was tried, look by look."""
    looks = [(tier, list(group)) for tier, group in groupby(attempts, lambda attempt: attempt.tier)]
    if not looks:
        yield "  no try has ended yet"
    for tier, group in looks:
        for attempt in group:
            host = shown(attempt.host) or "no host reached"
            took = f" after {attempt.seconds:.1f}s" if attempt.seconds else ""
            yield f"  {moment(attempt.time)}, tier {tier}: status {shown(attempt.status)}{took}, {host}:"
            yield from wrap(shown(attempt.text), WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _next(spool: Spool, at: Location, status: Status | None) -> Iterator[str]:
    """Where it is, and what follows from that."""
    match at.state:
        case State.QUEUED:
            yield from _in_tier(spool, at, status)
        case State.CLAIMED:
            yield from _claimed(at, status)
        case State.HELD:
            yield f"  held, out of tier {at.tier}: not tried until somebody returns it with"
            yield f"    mailspool release {nodes.called(at)}"
        case State.QUARANTINED:
            yield "  not tried; once the cause is mended, return it with"
            yield f"    mailspool release {nodes.called(at)}"


# --- in a tier


def _in_tier(spool: Spool, at: Location, status: Status | None) -> Iterator[str]:
    try:
        node = spool.node_at(at)
    except Unreadable as error:
        yield f"  in tier {at.tier}; it goes to quarantine with the next look: {shown(str(error))}"
        return
    yield f"  in tier {at.tier}{f' since {moment(node.time)}' if node.time else ''}; {_due(spool, node)}"
    yield f"  {_looks(spool, node, status)}"
    destination = spool.door.route.destination(node.destination)
    for reason in reasons(spool, at, status):
        if reason.rule not in _TOLD:
            yield f"  held back by {reason.rule}: {reason.line}"
    for alarm in (status or {}).get("alarms", ()):
        if alarm["subject"] in destination.split(","):
            yield f"  {alarm_line(alarm)}"
    yield f"  {_end(spool, node)}"


def _due(spool: Spool, node: Node) -> str:
    left = due_at(node) - spool.now()
    return f"due {moment(spool.now() + left)}, in {span(left)}" if left > 0 else "due now"


def _looks(spool: Spool, node: Node, status: Status | None) -> str:
    if status is None:
        return "no supervisor answers here: start mailspoold, or nobody on this host looks"
    looks = Looks(node.msh.tier.priority, spool.settings.dequeue_timeout)
    mean, most = looks.mean, looks.within(_SURE)
    then = "a look comes" if due_at(node) <= spool.now() else "then a look comes"
    return f"{then} within {span(mean)} on average, within {span(most)} in {_SURE:.0%} of cases"


def _end(spool: Spool, node: Node) -> str:
    left = _gives_up_at(spool, node) - spool.now()
    if left <= 0:
        return f"older than max_age ({span(spool.settings.max_age)}): if it fails once more, it bounces"
    if node.msh.tier.last:
        return "the last tier: if it fails once more, it bounces"
    tries = len(spool.settings.tiers) - node.msh.tier.number
    return f"given up in {span(left)} (max_age), or once it has failed another {count(tries, 'time')}"


def _gives_up_at(spool: Spool, node: Node) -> float:
    return node.envelope.arrival + spool.settings.max_age


# --- claimed


def _claimed(at: Location, status: Status | None) -> Iterator[str]:
    worker = worker_of(at)
    try:
        owner = Owner.parse(at.owner)
    except Unreadable:
        yield f"  claimed out of tier {at.tier} by {shown(at.owner)}, which is no owner's name known here"
        return
    by = f"worker {worker} of the supervisor {owner.pid}" if worker else f"process {owner.pid}"
    yield f"  claimed out of tier {at.tier} by {shown(by)} on {owner.host}"
    with suppress(SpoolError):
        if is_dead(owner, this_owner()):
            yield "  which has ended: it returns to its tier when mailspoold is started here"
            if at.sealed:
                yield "  past its final dot: the host may have it, and would then get a second copy"
            return
    if at.sealed:
        yield "  past its final dot: the host may have it, and it is too late to hold or delete it"
    if status and status["pid"] == owner.pid:
        doing = {str(one["worker"]): one for one in status["workers"]}.get(worker)
        yield f"  {_doing(doing)}" if doing else "  which has ended: the supervisor is about to recover it"


def _doing(worker: Status) -> str:
    host = f" with {shown(worker['host'])}" if worker["host"] else ""
    return f"in phase {worker['phase']}{host} for {span(worker['seconds'])}"
