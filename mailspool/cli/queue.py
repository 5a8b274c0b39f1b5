# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool queue`: the nodes in the spool, for people as a table, for programs as one JSON object a line.

It writes nothing, needs no daemon, reads the envelope of each message once, however many nodes it has, and prints
each line as soon as it is known. It is `mailq` too, so what scripts look for in Postfix's is found here: "Mail queue
is empty", lines of messages that begin with their IDs, and "-- 12 Kbytes in 3 Requests" at the end.
"""

import gc
import sys
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import click
import msgspec

from mailspool.cli import nodes, terminal
from mailspool.cli.nodes import Entry
from mailspool.cli.options import configured, examples, say
from mailspool.cli.select import Selector, selects
from mailspool.cli.text import count, cut, octets, shown, span
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store

_COLOURS = {State.HELD: "yellow", State.QUARANTINED: "red", State.CLAIMED: "green"}


class Row(NamedTuple):
    """One node. trouble: the last error, or the reason of the quarantine."""

    entry: Entry
    trouble: str

    @property
    def at(self) -> Location:
        """Where it is."""
        return self.entry.at


class Addressee(msgspec.Struct, frozen=True, omit_defaults=True):
    """As in `postqueue -j`: delay_reason only where there is one."""

    address: str
    delay_reason: str = ""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of --json. What is called as in `postqueue -j` means the same; the rest is ours.

    queue_name: queued, claimed, held or quarantined. node: ID.N, by which commands know it. owner: while claimed.
    """

    queue_name: str
    queue_id: str
    arrival_time: int
    message_size: int
    sender: str
    recipients: tuple[Addressee]
    tier: int
    node: str
    destination: str
    owner: str


@click.command(
    short_help="List what is in the spool.",
    epilog=examples(
        "mailspool queue --domain example.org --older 2h",
        "mailspool queue --from '*@example.net' --tier 3- --count",
        "mailspool queue --json --held | jq -r .node | mailspool release -",
    ),
)
@selects
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each node, named as by postqueue -j.")
@click.option("--count", "only_count", is_flag=True, help="Only the number of nodes.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="No more than the first N nodes.")
@configured
def queue(spool: Spool, *, selector: Selector, as_json: bool, only_count: bool, limit: int | None) -> int:
    """List what is in the spool, or those nodes that fit everything asked for.

    Each message is followed by its nodes, one for each recipient: number, state, address, and what went wrong last.
    Lines are cut to the width of a terminal, never in a pipe.

    The members of --json: queue_id, arrival_time, message_size, sender and recipients (address, delay_reason) mean
    what they mean in Postfix; queue_name (queued, claimed, held, quarantined), tier, node (ID.N), destination and
    owner (whose claim it is) are ours.
    """
    gc.disable()  # of a hundred thousand nodes none stands in a circle; to look for some takes a sixth of the time
    store = nodes.existing(spool)
    selection = nodes.select(store, selector, spool.now())
    if only_count and not selector.reads:
        click.echo(len(selection.locations[:limit]))
    else:
        # A list itself shows how far it is, and a bar would stand in the pager behind the pipe.
        locations = terminal.watched(selection.locations, "reading") if only_count else iter(selection.locations)
        entries = islice(nodes.meant(nodes.read(store, locations), selector), limit)
        sys.stdout.writelines(_lines(spool, entries, selector, as_json=as_json, only_count=only_count))
    for word in selection.unknown:
        say(nodes.unknown(word))
    return int(bool(selection.unknown))


def _lines(
    spool: Spool, entries: Iterator[Entry], selector: Selector, *, as_json: bool, only_count: bool
) -> Iterable[str]:
    if only_count:
        return [f"{sum(1 for _ in entries)}\n"]
    rows = with_trouble(spool.store, entries)
    if as_json:
        return as_objects(rows)
    return as_text(rows, spool.now(), terminal.columns(), "No node fits" if selector.narrows else "Mail queue is empty")


def with_trouble(store: Store, entries: Iterable[Entry]) -> Iterator[Row]:
    """Each with what went wrong last."""
    tried = store.tried()
    return (Row(entry, _last_trouble(store, tried, entry) or entry.fault) for entry in entries)


def _last_trouble(store: Store, tried: Collection[str], entry: Entry) -> str:
    """What went wrong last; "" if nothing has yet."""
    if entry.at.state is State.QUARANTINED:
        return store.reason(entry.at)
    return store.last_trouble(entry.node_id, tried)


def as_objects(rows: Iterable[Row]) -> Iterator[str]:
    """Each node as a line of JSON."""
    encode = msgspec.json.Encoder().encode
    for row in rows:
        yield encode(listed(row)).decode() + "\n"


def listed(row: Row) -> Listed:
    """The members of --json."""
    envelope, at = row.entry.envelope, row.at
    return Listed(
        queue_name=at.state.value,
        queue_id=shown(row.entry.message),
        arrival_time=int(envelope.arrival) if envelope else 0,
        message_size=envelope.facts.size if envelope else 0,
        sender=envelope.sender if envelope else "",
        recipients=(Addressee(row.entry.recipient, row.trouble),),
        tier=at.tier,
        node=nodes.called(at),
        destination=shown(nodename.destination_in(at.name)),
        owner=shown(at.owner),
    )


def as_text(rows: Iterable[Row], now: float, width: int | None, empty: str) -> Iterator[str]:
    """The table, message by message, then what it comes to. width: columns, None: as wide as it gets."""
    messages = number = size = 0
    last = None
    for entry, trouble in rows:
        lines = ""
        if entry.message != last:
            if not messages:
                yield _line("-MESSAGE", "SIZE", "AGE", "SENDER", width)
                yield _node_line("-NODE", "STATE", "RECIPIENT", "what went wrong last", width)
            last = entry.message
            messages += 1
            size += entry.envelope.facts.size if entry.envelope else 0
            lines = _heading(entry, now, width)
        number += 1
        at = entry.at
        state, colour = (f"tier {at.tier}", "") if at.state is State.QUEUED else (at.state.value, _COLOURS[at.state])
        yield lines + _node_line(f".{entry.number}", state, entry.recipient or "?", trouble, width, colour=colour)
    yield f"{_total(size, messages)}, {count(number, 'node')}.\n" if messages else f"{empty}\n"


def _total(size: int, messages: int) -> str:
    """As Postfix's mailq ends, which scripts read: messages are "Requests" nowhere else."""
    return f"-- {(size + 1023) // 1024} Kbytes in {count(messages, 'Request')}"


def _heading(entry: Entry, now: float, width: int | None) -> str:
    envelope = entry.envelope
    if envelope is None:
        return _line(entry.message, "?", "?", "?", width)
    age = span(now - envelope.arrival, units=1)
    return _line(entry.message, octets(envelope.facts.size), age, envelope.sender or "<>", width)


def _line(message_id: str, size: str, age: str, sender: str, width: int | None) -> str:
    begin = f"{cut(message_id, width and 64):20}  {size:>5}  {age:>4}  "
    return begin + cut(sender, width and max(20, width - len(begin))) + "\n"


def _node_line(number: str, state: str, recipient: str, trouble: str, width: int | None, *, colour: str = "") -> str:
    rest = width and width - 22
    line = f"  {cut(number, 8):5}  {terminal.painted(f'{state:11}', colour)}  {cut(recipient, rest)}\n"
    return line + (f"{'':22}{cut(trouble, rest)}\n" if trouble else "")
