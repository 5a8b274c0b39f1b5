# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool import`: takes over what another mail system left in its queue, after a report of what that comes to.

The report reads every message to its end, so that what cannot be taken over is known before anything is. The source is
only read; removing it is the administrator's, once this has ended well.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import click
import msgspec

from mailspool import log
from mailspool.cli import nodes, terminal
from mailspool.cli.options import configured, examples, say
from mailspool.cli.text import count, moment, octets, shown
from mailspool.errors import InputError, Unreadable
from mailspool.inherit.kind import KINDS, Kind, kind_of
from mailspool.inherit.source import Source
from mailspool.inherit.take import BATCH, House, Letter, Taken, examine, settle_earlier, take
from mailspool.spool import Spool
from mailspool.store import imported
from mailspool.store.imported import Imported, Record
from mailspool.submission.submit import new_message_id
from mailspool.supervisor.trigger import poke


class Left(NamedTuple):
    """What is not taken over, and why."""

    name: str
    reason: str


class Report(NamedTuple):
    """What is in a source. again: what was taken over before."""

    letters: list[Letter]
    again: list[tuple[Letter, Record]]
    left: list[Left]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of --json. state: found, imported, before (by an earlier import) or left; arrival: Unix seconds."""

    state: str
    name: str
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    arrival: int = 0
    size: int = 0
    queue_id: str = ""
    reason: str = ""


@click.command(
    "import",
    short_help="Take over another mail system's queue.",
    epilog=examples(
        "mailspool import /var/spool/nullmailer",
        "mailspool import --yes --from mail-spool /var/spool/mail",
    ),
)
@click.argument("directory", metavar="DIR")
@click.option("--from", "kind", type=click.Choice(list(KINDS)), help="Whose queue it is; else DIR itself tells.")
@click.option("--keep-age", is_flag=True, help="Count max_age from the first arrival, not from now.")
@click.option("--dry-run", is_flag=True, help="Only report; so it is where nobody can be asked.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each message; never asks.")
@configured
def import_(
    spool: Spool, *, directory: str, kind: str | None, keep_age: bool, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Take over what waits in another mail system's queue: the original Mail::Spool's, nullmailer's or dma's.

    Stop that system first. What would be taken over is reported, then asked for. DIR is only read: nothing in it is
    changed or removed. Each of its messages is taken over once, however often this is run; one that was cut short goes
    on. They begin in tier 0, as if they had come in now.

    The members of --json: state (found, imported, before, left), name (in DIR), sender, recipients, arrival,
    size, queue_id, reason.
    """
    store = nodes.existing(spool)
    with Source(directory) as source:
        report = _examined(spool, KINDS[kind] if kind else kind_of(source), source)
        if as_json:
            _echo_lines(report, with_letters=dry_run or not yes)
        else:
            _echo_report(report, directory, spool.settings.max_age if keep_age else None, spool.now())
        unsettled = not all(record.is_settled for record in imported.read(_root(spool)).values())
        if dry_run or not (report.letters or unsettled) or not (yes or _may(report.letters, as_json=as_json)):
            return int(bool(report.left))
        house = House(store, spool.settings.hostname, spool.now, new_message_id, keep_age)
        done, earlier = _take_over(spool, house, source, report, as_json=as_json)
    poke(spool.settings.run_dir)
    if not as_json:
        finished = f", and {earlier} finished that an earlier import had begun" if earlier else ""
        click.echo(f"{count(done, 'message')} taken over{finished}; {directory} is as it was")
    return int(bool(report.left))


# --- the report


def _examined(spool: Spool, kind: Kind, source: Source) -> Report:
    known = imported.read(_root(spool))
    report = Report([], [], [])
    for name in terminal.watched(kind.names(source), "reading"):
        try:
            letter = examine(kind, source, name, spool.parse_for_address, spool.expand_alias)
        except (Unreadable, InputError) as error:
            report.left.append(Left(name, str(error)))
            continue
        record = known.get(letter.key)
        if record and record.is_taken:
            report.again.append((letter, record))
        else:
            report.letters.append(letter)
    return report


def _echo_report(report: Report, directory: str, max_age: float | None, now: float) -> None:
    """max_age: seconds, None if ages begin anew."""
    letters = report.letters
    nodes_made = sum(len(letter.recipients) for letter in letters)
    click.echo(f"{directory}: {count(len(letters), 'message')} to {count(nodes_made, 'recipient')} to take over")
    if letters:
        oldest = min(letter.found.arrival for letter in letters)
        click.echo(f"  {octets(sum(letter.size for letter in letters))} octets, the oldest of {moment(oldest)}")
    if max_age is not None and (old := sum(now - letter.found.arrival >= max_age for letter in letters)):
        click.echo(f"  {old} older than max_age: with --keep-age the next failure ends {'them' if old > 1 else 'it'}")
    if report.again:
        click.echo(f"  {len(report.again)} taken over before")
    if report.left:
        click.echo(f"  {len(report.left)} cannot be read and will be left:")
    for left in report.left:
        click.echo(f"    {shown(left.name)}: {shown(left.reason)}")


def _echo_lines(report: Report, *, with_letters: bool) -> None:
    for letter in report.letters if with_letters else ():
        _echo_line(_line("found", letter))
    for letter, record in report.again:
        _echo_line(_line("before", letter, record.id))
    for left in report.left:
        _echo_line(Line("left", shown(left.name), reason=left.reason))


def _line(state: str, letter: Letter, queue_id: str = "", reason: str = "") -> Line:
    return Line(
        state,
        shown(letter.name),
        letter.sender,
        tuple(recipient.address for recipient in letter.recipients),
        int(letter.found.arrival),
        letter.size,
        queue_id,
        reason,
    )


def _echo_line(line: Line) -> None:
    click.echo(msgspec.json.encode(line).decode())


# --- taking over


def _may(letters: Sequence[Letter], *, as_json: bool) -> bool:
    """Whether somebody says so: nobody, where nobody can be asked."""
    if as_json or not terminal.can_ask():
        if not as_json:
            click.echo("nothing was taken over: say --yes to do it")
        return False
    terminal.confirm(f"Take over {count(len(letters), 'message')}?" if letters else "Finish an earlier import?")
    return True


def _take_over(spool: Spool, house: House, source: Source, report: Report, *, as_json: bool) -> tuple[int, int]:
    """How many messages were taken over, and how many of an earlier import were finished. Raises SpoolError.

    What cannot be read any more is told, and added to what is left.
    """
    done = 0
    with Imported(_root(spool)) as record:
        earlier = settle_earlier(house.store, record)
        letters = [letter for letter in report.letters if not record.has(letter.key)]
        for taken in _taken(house, record, source, letters):
            _tell(spool, taken, as_json=as_json)
            if taken.queue_id:
                done += 1
            else:
                report.left.append(Left(taken.letter.name, taken.reason))
    return done, earlier


def _taken(house: House, record: Imported, source: Source, letters: Sequence[Letter]) -> Iterator[Taken]:
    rest = terminal.watched(letters, "taking over")
    while batch := list(islice(rest, BATCH)):
        yield from take(house, record, source, batch)


def _tell(spool: Spool, taken: Taken, *, as_json: bool) -> None:
    letter = taken.letter
    if taken.queue_id:
        log.record("imported", id=taken.queue_id, sender=letter.sender, nrcpt=len(letter.recipients), name=letter.name)
        spool.log_usage(letter.size, "Spool")
    if as_json:
        _echo_line(_line("imported" if taken.queue_id else "left", letter, taken.queue_id, taken.reason))
    elif not taken.queue_id:
        say(f"{shown(letter.name)}: {shown(taken.reason)}")


def _root(spool: Spool) -> str:
    return str(spool.settings.dequeue_dir)
