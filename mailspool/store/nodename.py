# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Node names: `TIME-ID.N-DESTINATION`, which tell all that a scan must know, so that it never opens a file.

A name splits at its first two dashes. Whatever the address, it holds neither "/" nor NUL, parses back to what it
was made of, and stays under 255 bytes (NAME_MAX) with `~attempt` behind it while the node is claimed. No I/O.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain, count
from typing import NamedTuple

from mailspool.errors import Unreadable, UsageError
from mailspool.model.envelope import Envelope

MAX_ATTEMPT = 57  # octets of an attempt; with "~" before it and two seals 60 are kept free behind each node name
MAX_DESTINATION = 100  # octets; a longer destination is shortened to its hash

REASON = ".reason"  # behind the name of what is in quarantine: why it is there

_FOLDER_LENGTH = 12  # octets

# At most 12 + 64 + 7 + 100 octets and three separators; 60 more while claimed.
_TIME = r"0|[1-9][0-9]{0,11}"
_ID = r"[0-9A-Za-z]{1,64}"
_INDEX = r"0|[1-9][0-9]{0,6}"
_DESTINATION = (
    rf"[a-z0-9_][a-z0-9_.-]{{0,{MAX_DESTINATION - 1}}}|\[[0-9A-Za-z.:]{{1,{MAX_DESTINATION - 2}}}\]|#[0-9a-f]{{32}}"
)

ARRIVAL_WITHIN = 60.0
"""Seconds between the moment that an id tells and the arrival in its envelope."""


@cache
def _new_id_matcher() -> Callable[[str], re.Match[str] | None]:
    """Ids that `new_id` has made, whatever stands behind."""
    return re.compile(r"[0-9A-Z]{20}[0-9A-Za-z]*").fullmatch


@cache
def _name_matcher() -> Callable[[str], re.Match[str] | None]:
    """Compiled by the first scan, not by those who only make names."""
    return re.compile(rf"({_TIME})-({_ID})\.({_INDEX})-({_DESTINATION})").fullmatch


@cache
def ordinary_matcher() -> Callable[[str], re.Match[str] | None]:
    """Names that `parse` and `arrival_of` read, and whose TIME has ten digits: 2001 to 2286."""
    return re.compile(rf"[1-9][0-9]{{9}}-[0-9A-Z]{{20}}[0-9A-Za-z]{{0,44}}\.(?:{_INDEX})-(?:{_DESTINATION})").fullmatch


@cache
def _folder_matcher() -> Callable[[str], re.Match[str] | None]:
    return re.compile(r"[1-9][0-9]{6}-[0-9A-Z]{4}").fullmatch


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class NodeName(NamedTuple):
    """One message to one recipient.

    time: when the node entered its tier, Unix seconds; 0 means "now, please". id: the message's. index: which of
    the envelope's recipients. destination: as `destination_of` gives it.
    """

    time: int
    id: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a node name
    destination: str

    def __str__(self) -> str:
        return f"{self.time}-{self.id}.{self.index}-{self.destination}"

    @property
    def node_id(self) -> str:
        """`ID.N`: what stays the same from tier to tier; the name of the node's history."""
        return f"{self.id}.{self.index}"


@lru_cache(100)  # who has claimed a node opens it next
def parse(text: str) -> NodeName:
    """The node that a name in a tier stands for; str() of it is `text` again. Raises Unreadable."""
    found = _name_matcher()(text)
    if not found:
        raise Unreadable(f"{text!r} is not a node name of the form TIME-ID.N-DESTINATION")
    time, message_id, index, destination = found.groups()
    return NodeName(int(time), message_id, int(index), destination)


def entered(text: str) -> int:
    """The TIME of a name, without a look at the rest: enough to see whether a node is due.

    0 where there is none: what cannot be read as a node is looked at now, so that it comes to light.
    """
    try:
        return int(text.partition("-")[0])
    except ValueError:
        return 0


def folder_of(name: str) -> str:
    """The folder of its tier for a node: `1763841-00T3` for `1763841986-00T3X1K2F8Q0ZL5M1N7B.0-x.example`.

    It is how its TIME and its ID begin, so that whoever has one finds the other. "" for what has none: TIME 0, what is
    no node, times before 2001 and after 2286.
    """
    return begin if is_folder(begin := beginnings(name)) else ""


def beginnings(name: str) -> str:
    """How a node's TIME and ID begin: the name of its folder, if that is one."""
    return name[:7] + name[10:15]  # TIME to 1000 s, by leaving out three digits; the dash; ID to half a day


def of_folder(folder: str, names: Sequence[str]) -> list[str]:
    """Those of the names whose folder it is."""
    return [name for name in names if name[:7] + name[10:15] == folder]  # as in `folder_of`, with no call for each


def is_folder(name: str) -> bool:
    """Whether a name in a tier is a folder's."""
    return len(name) == _FOLDER_LENGTH and _folder_matcher()(name) is not None


def place(tier: int, name: str) -> str:
    """Where a node is put in its tier's directory: in its folder, if it has one.

    In tier 0, where most are due, all stand directly.
    """
    return f"{folder}/{name}" if tier and (folder := folder_of(name)) else name


def elsewhere(tier: int, name: str) -> str:
    """Where else it may stand: directly in its tier, and in a folder in tier 0; "" for what has no folder.

    Who moves nodes by hand may put them, or their folder, anywhere.
    """
    if not (folder := folder_of(name)):
        return ""
    return name if tier else f"{folder}/{name}"


def split_claim(text: str) -> tuple[str, str]:
    """A claimed node's name, `node~attempt`, as (node, attempt); the attempt is "" where there is none."""
    node, _, attempt = text.partition("~")
    return node, attempt


def sealed(text: str) -> str:
    """A claim's name for its next final dot: `node~attempt~`, for the one after it `node~attempt~~`, then by turns.

    Each is new to the claim, so that each final dot is decided by a rename.
    """
    return text[:-1] if text.endswith("~~") else f"{text}~"


def node_id_of(text: str) -> str:
    """The `ID.N` of a name, claimed or not, parsed no further; "" where there is none."""
    return text.partition("-")[2].partition("-")[0]


def message_id_of(text: str) -> str:
    """The ID of a name, claimed or not, parsed no further; "" where there is none."""
    return node_id_of(text).rpartition(".")[0]


def destination_in(text: str) -> str:
    """The DESTINATION of a name, claimed or not, parsed no further; "" where there is none."""
    return split_claim(text)[0].partition("-")[2].partition("-")[2]


def is_node_id(text: str) -> bool:
    """Whether it has the form ID.N."""
    return re.fullmatch(rf"({_ID})\.({_INDEX})", text) is not None


def is_of_message(text: str, message_id: str) -> bool:
    """Whether a name's ID, or its ID.N, is `message_id`."""
    node_id = node_id_of(text)
    return node_id != "" and message_id in (node_id, node_id.rpartition(".")[0])


def belongs(text: str, message_id: str, recipients: int) -> bool:
    """Whether it is a name, claimed or not, of a node of this message, which has so many recipients."""
    found = _name_matcher()(text.partition("~")[0])
    return found is not None and found[2] == message_id and int(found[3]) < recipients


def quarantine_names(text: str) -> Iterator[str]:
    """Names for it in quarantine: its own, cut to leave room for what follows, then numbered ones without end."""
    stem = os.fsdecode(os.fsencode(text)[:200])
    names = chain([stem], (f"{stem}.{n}" for n in count(2)))
    return (name for name in names if not name.endswith(REASON))


def names_of(envelope: Envelope, time: int) -> tuple[str, ...]:
    """The names of all nodes of a message, in the order of its recipients. Raises UsageError if that makes none."""
    if not re.fullmatch(_ID, envelope.id):
        raise UsageError(f"message id {envelope.id!r} must be 1 to 64 letters and digits")
    if not envelope.recipients:
        raise UsageError(f"message {envelope.id} has no recipients")
    return tuple(
        str(NodeName(time, envelope.id, index, destination_of(recipient.address)))
        for index, recipient in enumerate(envelope.recipients)
    )


def node_of(text: str, envelope: Envelope) -> NodeName:
    """The node, due now, of a message whose file was found under the name `text`, which may have got an ending.

    A name that tells nothing will do where there is one recipient only. Raises Unreadable if it cannot be known, or
    is no node that a look would take.
    """
    message_id, _, index = node_id_of(text).rpartition(".")
    recipients = len(envelope.recipients)
    if not re.fullmatch(_INDEX, index):
        message_id, index = envelope.id, "0" if recipients == 1 else ""
    if message_id != envelope.id or not index or int(index) >= recipients:
        raise Unreadable(f"{text!r} does not tell which of the {recipients} recipients of {envelope.id!r} it is for")
    arrival_of(envelope.id)
    return parse(str(NodeName(0, envelope.id, int(index), destination_of(envelope.recipients[int(index)].address))))


def destination_of(address: str) -> str:
    """The domain of an address as it stands in node names: itself, or `#` and a hash where it is too long."""
    domain = address.rpartition("@")[2]
    if re.fullmatch(_DESTINATION, domain):
        return domain
    from hashlib import blake2b  # a domain that long is rare: the others need not load it

    return "#" + blake2b(domain.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def new_id(now: float, random: Callable[[int], bytes]) -> str:
    """A message id, unique over hosts, processes and forks: the arrival second and 64 random bits, in base 36.

    now: Unix seconds. random: os.urandom or a stand-in; never a generator whose state a fork would share.
    """
    return arrival_digits(now) + _base36(int.from_bytes(random(8), "big"), 13)


def arrival_digits(arrival: float) -> str:
    """How the id of a message begins that arrived then, Unix seconds; they sort as the times do."""
    return _base36(int(arrival), 7)


def arrival_of(message_id: str) -> float:
    """When the message with this id arrived, Unix seconds. Raises Unreadable if `new_id` did not make its beginning."""
    if not _new_id_matcher()(message_id):
        raise Unreadable(f"message id {message_id!r} does not tell when the message arrived")
    return float(int(message_id[:7], 36))


def _base36(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
