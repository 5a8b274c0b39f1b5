# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool queue`: every node in the spool, for people in 80 columns, for programs as one JSON object a line.

It writes nothing, needs no daemon, and reads the envelope of each message once, however many nodes it has.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import click
import msgspec

from mailspool.cli import nodes
from mailspool.cli.options import configured, examples
from mailspool.cli.text import WIDTH, count, cut, octets, shown, span
from mailspool.errors import ClaimLost, SpoolError
from mailspool.model.envelope import Envelope
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store


class Row(NamedTuple):
    """One node. envelope: None if it cannot be read. trouble: the last error, or the reason of the quarantine."""

    at: Location
    envelope: Envelope | None
    trouble: str

    @property
    def number(self) -> str:
        """The N of its ID.N."""
        return nodename.node_id_of(self.at.name).rpartition(".")[2]

    @property
    def recipient(self) -> str:
        """The recipient's address, "" if nobody can tell."""
        recipients = self.envelope.recipients if self.envelope else ()
        return recipients[int(self.number)].address if _is_below(self.number, len(recipients)) else ""

    @property
    def state(self) -> str:
        """In few characters."""
        return f"tier {self.at.tier}" if self.at.state is State.QUEUED else self.at.state.value


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


@click.command(epilog=examples("mailspool queue", "mailspool queue --json | jq -r 'select(.tier > 2).node'"))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each node, named as by postqueue -j.")
@configured
def queue(spool: Spool, *, as_json: bool) -> None:
    """List what is in the spool.

    Each message is followed by its nodes, one for each recipient: number, state, address, and what went wrong last.
    """
    rows = read(nodes.existing(spool))
    lines = as_objects(rows) if as_json else as_text(rows, spool.now())
    sys.stdout.writelines(lines)


def read(store: Store) -> Iterator[Row]:
    """Every node, by arrival. One that moves on while we look is left out."""
    for message_id, locations in groupby(nodes.once(store.locations()), nodes.message_id):
        envelope = None
        for at in locations:
            try:
                if envelope is None or envelope.id != message_id:
                    envelope = read_envelope(store, at)
                yield Row(at, envelope, last_trouble(store, at))
            except ClaimLost:
                continue
            except SpoolError as error:
                yield Row(at, None, last_trouble(store, at) or str(error))


def read_envelope(store: Store, at: Location) -> Envelope:
    """Raises ClaimLost, SpoolError."""
    stored = store.open(at)
    stored.file.close()
    return stored.envelope


def last_trouble(store: Store, at: Location) -> str:
    """What went wrong last; "" if nothing has yet."""
    if at.state is State.QUARANTINED:
        return store.reason(at)
    node_id = nodename.node_id_of(at.name)
    attempts = store.history(node_id) if node_id else []
    return attempts[-1].text if attempts else ""


def as_objects(rows: Iterable[Row]) -> Iterator[str]:
    """Each node as a line of JSON."""
    encode = msgspec.json.Encoder().encode
    for row in rows:
        yield encode(_listed(row)).decode() + "\n"


def _listed(row: Row) -> Listed:
    envelope, at = row.envelope, row.at
    node_id, _, destination = nodename.split_claim(at.name)[0].partition("-")[2].partition("-")
    return Listed(
        queue_name=at.state.value,
        queue_id=shown(nodes.message_id(at)),
        arrival_time=int(envelope.arrival) if envelope else 0,
        message_size=envelope.facts.size if envelope else 0,
        sender=envelope.sender if envelope else "",
        recipients=(Addressee(row.recipient, row.trouble),),
        tier=at.tier,
        node=shown(node_id or at.name),
        destination=shown(destination),
        owner=shown(at.owner),
    )


def as_text(rows: Iterable[Row], now: float) -> Iterator[str]:
    """The table, message by message, then what it comes to."""
    messages = number = size = 0
    for message_id, group in groupby(rows, lambda row: nodes.message_id(row.at)):
        if not messages:
            yield _line("MESSAGE", "SIZE", "AGE", "SENDER")
            yield _node_line("NODE", "STATE", "RECIPIENT", "what went wrong last")
        messages += 1
        for place, row in enumerate(group):
            if place == 0:
                size += row.envelope.facts.size if row.envelope else 0
                yield _heading(message_id, row.envelope, now)
            number += 1
            yield _node_line(f".{row.number}", row.state, row.recipient or "?", row.trouble)
    total = f"{count(messages, 'message')}, {count(number, 'node')}, {octets(size)} octets"
    yield f"\n{total}\n" if messages else "mail queue is empty\n"


def _heading(message_id: str, envelope: Envelope | None, now: float) -> str:
    if envelope is None:
        return _line(message_id, "?", "?", "?")
    return _line(
        message_id, octets(envelope.facts.size), span(now - envelope.arrival, units=1), envelope.sender or "<>"
    )


def _line(message_id: str, size: str, age: str, sender: str) -> str:
    begin = f"{cut(message_id, 64):20}  {size:>5}  {age:>4}  "
    return begin + cut(sender, max(20, WIDTH - len(begin))) + "\n"


def _node_line(number: str, state: str, recipient: str, trouble: str) -> str:
    line = f"  {cut(number, 8):4}  {state:11}  {cut(recipient, WIDTH - 21)}\n"
    return line + (f"{'':21}{cut(trouble, WIDTH - 21)}\n" if trouble else "")


def _is_below(text: str, number: int) -> bool:
    return text.isdecimal() and int(text) < number
