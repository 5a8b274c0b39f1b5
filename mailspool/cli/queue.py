# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool queue`: the nodes in the spool, for people as a table, for programs as one JSON object a line.

It writes nothing, needs no daemon, reads the envelope of each message once, however many nodes it has, and prints
what it knows while it reads on. It is `mailq` too, so what scripts look for in Postfix's is found here: "Mail queue
is empty", lines of messages that begin with their IDs, and "-- 12 Kbytes in 3 Requests" at the end.
"""

import gc
import sys
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import islice

import click
import msgspec

from mailspool.cli import nodes, terminal
from mailspool.cli.nodes import Entry
from mailspool.cli.options import configured, examples, say
from mailspool.cli.select import Selector, selects
from mailspool.cli.shares import in_turn
from mailspool.cli.text import count, cut, octets, shown, span
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store

_COLOURS = {State.HELD: "yellow", State.QUARANTINED: "red", State.CLAIMED: "green"}
_HEADINGS = (
    "-MESSAGE               SIZE   AGE  SENDER",
    "  -NODE  STATE        RECIPIENT",
    "                      what went wrong last",
)
_SHARE = 256  # nodes

Table = tuple[str, int, int, int]
"""The lines of some messages; and how many messages, nodes and octets they are."""


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
    named = nodes.named(store.locations(), selector.words)
    if only_count:
        click.echo(_number(store, nodes.fitting(named.locations, selector, spool.now()), selector, limit))
    else:
        with closing(_lines(spool, named.locations, selector, limit, as_json=as_json)) as lines:
            sys.stdout.writelines(lines)
    for word in named.unknown:
        say(nodes.unknown(word))
    return int(bool(named.unknown))


def _number(store: Store, locations: Sequence[Location], selector: Selector, limit: int | None) -> int:
    if not selector.reads:
        return len(locations[:limit])
    watched = terminal.watched(locations, "reading")  # a list itself shows how far it is, and has no bar behind it
    return sum(1 for _ in islice(nodes.meant(nodes.read(store, watched), selector), limit))


def _lines(
    spool: Spool, locations: Sequence[Location], selector: Selector, limit: int | None, *, as_json: bool
) -> Generator[str, None, None]:
    store, now, width = spool.store, spool.now(), terminal.columns()
    tried = store.tried()

    def objects(share: Iterable[Location]) -> str:
        return as_objects(with_trouble(store, tried, entries(share)))

    def table(share: Iterable[Location]) -> Table:
        return as_text(with_trouble(store, tried, entries(share)), now, width)

    def entries(share: Iterable[Location]) -> Iterator[Entry]:
        found = nodes.fitting(share, selector, now)
        return islice(nodes.meant(nodes.read(store, found), selector), limit)

    shares = _shares(locations) if limit is None else [locations]
    if as_json:
        return in_turn(objects, shares)
    return in_all(in_turn(table, shares), width, "No node fits" if selector.narrows else "Mail queue is empty")


def _shares(locations: Sequence[Location]) -> list[Sequence[Location]]:
    """Of whole messages, by arrival; small ones first, so that the list begins at once."""
    found = sorted(locations, key=nodes.message_id)
    shares: list[Sequence[Location]] = []
    begin, size = 0, 1
    while begin < len(found):
        end = min(begin + size, len(found))
        while end < len(found) and nodes.message_id(found[end]) == nodes.message_id(found[end - 1]):
            end += 1
        shares.append(found[begin:end])
        begin, size = end, min(2 * size, _SHARE)
    return shares


def with_trouble(store: Store, tried: Collection[str], entries: Iterable[Entry]) -> Iterator[Entry]:
    """Each with what went wrong last, or with the reason of its quarantine. tried: as `Store.tried` tells."""
    for entry in entries:
        if entry.at.state is State.QUARANTINED:
            entry.trouble = store.reason(entry.at) or entry.trouble
        elif entry.node_id in tried:
            entry.trouble = store.last_trouble(entry.node_id) or entry.trouble
        yield entry


def as_objects(entries: Iterable[Entry]) -> str:
    """Each node as a line of JSON."""
    return msgspec.json.Encoder().encode_lines(map(listed, entries)).decode()


def listed(entry: Entry) -> Listed:
    """The members of --json."""
    envelope, at = entry.envelope, entry.at
    return Listed(
        queue_name=at.state.value,
        queue_id=shown(entry.message),
        arrival_time=int(envelope.arrival) if envelope else 0,
        message_size=envelope.facts.size if envelope else 0,
        sender=envelope.sender if envelope else "",
        recipients=(Addressee(entry.recipient, entry.trouble),),
        tier=at.tier,
        node=nodes.called(at),
        destination=shown(nodename.destination_in(at.name)),
        owner=shown(at.owner),
    )


def as_text(entries: Iterable[Entry], now: float, width: int | None) -> Table:
    """Message by message. width: columns, None: as wide as it gets."""
    lines: list[str] = []
    messages = number = size = 0
    last = None
    for entry in entries:
        number += 1
        if entry.message != last:
            last = entry.message
            messages += 1
            size += entry.envelope.facts.size if entry.envelope else 0
            lines.append(cut(_message(entry, now), width))
        lines.append(_node(entry, width))
        if entry.trouble:
            lines.append(cut(f"{'':22}{entry.trouble}", width))
    return "\n".join([*lines, ""]), messages, number, size


def in_all(tables: Iterable[Table], width: int | None, empty: str) -> Generator[str, None, None]:
    """The tables as one, under its headings and with what it comes to. empty: what is said of none."""
    messages = number = size = 0
    for text, *more in tables:
        if text and not messages:
            yield from (f"{cut(line, width)}\n" for line in _HEADINGS)
        yield text
        messages, number, size = messages + more[0], number + more[1], size + more[2]
    yield f"{_total(size, messages)}, {count(number, 'node')}.\n" if messages else f"{empty}\n"


def _total(size: int, messages: int) -> str:
    """As Postfix's mailq ends, which scripts read: messages are "Requests" nowhere else."""
    return f"-- {(size + 1023) // 1024} Kbytes in {count(messages, 'Request')}"


def _message(entry: Entry, now: float) -> str:
    size = age = sender = "?"
    if envelope := entry.envelope:
        size, age = octets(envelope.facts.size), span(round(now - envelope.arrival), 1)
        sender = envelope.sender or "<>"
    return f"{entry.message:20}  {size:>5}  {age:>4}  {sender}"


def _node(entry: Entry, width: int | None) -> str:
    state, tier, _, _ = entry.at
    where, colour = _where(state, tier)
    line = cut(f"  .{entry.number:4}  {where}  {entry.recipient or '?'}", width)
    return line.replace(where, terminal.painted(where, colour), 1) if colour else line


@lru_cache(100)  # of a hundred thousand nodes most are in the same few places
def _where(state: State, tier: int) -> tuple[str, str]:
    """How it is called, in 11 columns, and its colour."""
    return f"{f'tier {tier}' if state is State.QUEUED else state.value:11}", _COLOURS.get(state, "")
