# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool quarantine`: what was put aside because it could not be read or sent: look at it, put it back, or end it.

Nothing leaves quarantine by itself. Only what is whole goes back; whatever else is there can be looked at as far as it
can be read.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice

import click
import msgspec

from mailspool.cli import change, nodes, steps, terminal
from mailspool.cli.options import configured, examples, say
from mailspool.cli.queue import as_objects, as_text, in_all, with_trouble
from mailspool.cli.select import Selector, selects_in_quarantine
from mailspool.cli.text import count, moment, octets, shown
from mailspool.errors import ClaimLost, Unreadable
from mailspool.model.envelope import Envelope
from mailspool.spool import Spool
from mailspool.store import messagefile
from mailspool.store.base import Location, State, Store

LINES = 20
"""Lines of the message that are shown unless --lines says otherwise."""

_HEAD = 1 << 16  # octets of the message in which they are looked for
_HERE = frozenset({State.QUARANTINED})


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One line of --json: name, why it is here, what is wrong with it now ("": it is whole), and what can be read.

    lines: the first lines of the message, or of whatever is there. envelope: null if there is none to be read.
    """

    name: str
    reason: str
    fault: str
    envelope: Envelope | None
    lines: tuple[str, ...]


@click.group(
    short_help="Look after what was put aside as unreadable.",
    epilog=examples("mailspool quarantine list", "mailspool quarantine restore 0TP1B2C3D4E5F6G7H8J9.0"),
)
def quarantine() -> None:
    """Look after what was put aside because it could not be read as a node, or nobody could be told of its failure.

    It stays in quarantine until somebody restores or deletes it.
    """


@quarantine.command(
    "list", short_help="List it, with the reasons.", epilog=examples("mailspool quarantine list --older 7d")
)
@selects_in_quarantine
@click.option("--json", "as_json", is_flag=True, help="As mailspool queue --json.")
@configured
def list_(spool: Spool, *, selector: Selector, as_json: bool) -> int:
    """List what is in quarantine, each with the reason, as mailspool queue does."""
    selector, code = _named(nodes.existing(spool), selector)
    entries = with_trouble(spool.store, (), _entries(spool, selector))
    width, empty = terminal.columns(), "Nothing fits" if selector.narrows else "Nothing is in quarantine"
    if as_json:
        sys.stdout.write(as_objects(entries))
    else:
        sys.stdout.writelines(in_all([as_text(entries, spool.now(), width)], width, empty))
    return code


@quarantine.command(
    short_help="Show the reason, the envelope and the first lines.",
    epilog=examples("mailspool quarantine show 0TP1B2C3D4E5F6G7H8J9.0"),
)
@selects_in_quarantine
@click.option("--lines", type=click.IntRange(min=0), default=LINES, metavar="N", help=f"So many lines, {LINES}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each.")
@configured
def show(spool: Spool, *, selector: Selector, lines: int, as_json: bool) -> int:
    """Show why it is here, its envelope as far as it can be read, and its first lines."""
    selector, code = _named(nodes.existing(spool), selector)
    for entry in _entries(spool, selector):
        try:
            found = _look(spool.store, entry.at, lines)
        except ClaimLost:
            say(f"{nodes.called(entry.at)} has just left quarantine")
            code = 1
            continue
        click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(_story(found)))
    return code


@quarantine.command(
    short_help="Put back what is whole, due now.", epilog=examples("mailspool quarantine restore --domain example.org")
)
@selects_in_quarantine
@configured
def restore(spool: Spool, *, selector: Selector) -> int:
    """Put back into tier 0, due now, what is whole.

    What is not stays, and is told with the reason and what can be done; the exit code is 1 then.
    """
    selector, unknown = _named(nodes.existing(spool), selector)
    restored, code = change.each(spool, selector, steps.restore, _HERE)
    click.echo(f"{count(restored, 'node')} restored{change.looked(spool) if restored else ''}")
    return unknown or code


@quarantine.command(
    short_help="Delete it for good, telling nobody.", epilog=examples("mailspool quarantine delete --older 30d --yes")
)
@selects_in_quarantine
@change.yes_option
@configured
def delete(spool: Spool, *, selector: Selector, yes: bool) -> int:
    """Delete it for good, with its reason: it is neither delivered nor bounced, and nobody is told."""
    selector, unknown = _named(nodes.existing(spool), selector)
    question = None if yes else "Delete {} in quarantine for good, telling nobody?"
    deleted, code = change.each(spool, selector, steps.delete, _HERE, question)
    click.echo(f"{count(deleted, 'node')} deleted")
    return unknown or code


# --- what is common to them


def _named(store: Store, selector: Selector) -> tuple[Selector, int]:
    """The selector without the words that name nothing in quarantine, each of which is told; and the exit code."""
    if selector.words is None:
        return selector, 0
    here = (nodes.names_of(Location(State.QUARANTINED, 0, name)) for name in store.names(0, State.QUARANTINED))
    known = selector.words.intersection(chain.from_iterable(here))
    for word in sorted(selector.words - known):
        say(f"{shown(word)} names nothing in quarantine; 'mailspool why {shown(word)}' tells where it is")
    return selector._replace(words=known, states=_HERE), int(known != selector.words)


def _entries(spool: Spool, selector: Selector) -> Iterator[nodes.Entry]:
    """Each file is read: whatever bears a message's ID here need not be that message."""
    selection = nodes.select(spool.store, selector.within(_HERE), spool.now())
    return nodes.meant(_read(spool.store, selection.locations), selector)


def _read(store: Store, locations: Iterable[Location]) -> Iterator[nodes.Entry]:
    for at in locations:
        with suppress(ClaimLost):
            yield nodes.entry(at, store.envelope)


def _look(store: Store, at: Location, lines: int) -> Shown:
    """Raises ClaimLost."""
    fault, envelope, text = "", None, b""
    try:
        stored = store.open(at)
        with stored.file:
            envelope, text = stored.envelope, stored.file.read(_HEAD)
    except Unreadable as error:
        fault = str(error)
        envelope, text = _remains(store, at)
    return Shown(
        name=shown(at.name),
        reason=store.reason(at),
        fault=shown(fault),
        envelope=envelope,
        lines=tuple(line.decode(errors="backslashreplace") for line in islice(text.splitlines(), lines)),
    )


def _remains(store: Store, at: Location) -> tuple[Envelope | None, bytes]:
    """What a damaged message file still holds; nothing, if it is no file at all."""
    try:
        found = store.peek(at, _HEAD)
    except Unreadable:
        return None, b""
    envelope = messagefile.envelope_in(found)
    return envelope, found.partition(b"\n")[2] if envelope else found


def _story(found: Shown) -> Iterator[str]:
    yield found.name
    yield f"  in quarantine: {shown(found.reason) or 'nobody wrote down why'}"
    yield f"  now: {found.fault or 'whole; mailspool quarantine restore puts it back'}"
    if envelope := found.envelope:
        to = ", ".join(f"<{shown(recipient.address)}>" for recipient in envelope.recipients)
        yield f"  from <{shown(envelope.sender)}> to {to}"
        yield f"  arrived {moment(envelope.arrival)}, {octets(envelope.facts.size)} octets, ID {shown(envelope.id)}"
    yield from (f"  | {shown(line.expandtabs())}" for line in found.lines)
