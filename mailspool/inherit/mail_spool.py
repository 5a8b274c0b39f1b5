# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The spool of Perl's Mail::Spool: tiers `0`, `1`, … with files `TIME-ID-TO-FROM`, each of them the bare message.

TO and FROM were escaped when the message came in (`escape`, byte for byte as `_send_mail_deferred` did it), but no
more when it fell back: then a dash in an address makes a name that the original could not see any more. Such a name is
read if it can mean only one thing, by its form or by the message's own header; never is a recipient guessed. Lock files
of File::NFSLock and its temporary ones are passed over.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailspool.errors import AddressError, InputError, Unreadable
from mailspool.inherit.source import Found, Source, chunks
from mailspool.message.mailbox import parse_for_address
from mailspool.message.message import Message

NAME = "mail-spool"

_TIER = re.compile(r"0|[1-9][0-9]{0,3}")
# File::NFSLock's rand_file: time % 10000, pid, rand * 10000.
_NO_MESSAGE = re.compile(r"(?is).*\.(?:NFSLock|shared)(?:\.tmp\..*)?|(?s:.*)\.tmp\.[0-9]{1,4}\.[0-9]+\.[0-9]{1,4}|\..*")
_FORM = re.compile(r"([0-9]{1,12})-([^-].*)", re.DOTALL)
_OWN_ID = re.compile(r"[0-9A-F]{16}")  # new_message_id
_DASHES = 2  # in ID-TO-FROM, if no address has one

_ESCAPED_LAST = re.compile(rb"%2([5FD])")
_ESCAPED_FIRST = re.compile(rb"(?:%(?:[01][0-9A-F]|7F|[89A-F][0-9A-F]))+")

_TO, _FROM = ("To", "Cc", "Bcc", "Resent-To", "Resent-Cc"), ("From", "Sender", "Return-Path", "Resent-From")


class Name(NamedTuple):
    """What a file's name tells. time: when it entered its tier, Unix seconds. sender: "" for the null sender."""

    time: int
    id: str
    recipient: str
    sender: str


class Named(NamedTuple):
    """The addresses in a message's header: of recipients, and of who sent it."""

    recipients: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()


def is_one(source: Source) -> bool:
    """Whether a directory is one of Mail::Spool's."""
    return source.has_folder("0")


def names(source: Source) -> list[str]:
    """The paths of its messages."""
    tiers = sorted(filter(_TIER.fullmatch, source.names()), key=int)
    return [f"{tier}/{name}" for tier in tiers for name in source.names(tier) if not _NO_MESSAGE.fullmatch(name)]


def read(source: Source, path: str) -> Found:
    """The message at a path. Raises Unreadable.

    Falling back was a rename, which keeps the time of writing: in deeper tiers that is nearer to the arrival than TIME.
    """
    name = path.partition("/")[2]
    with source.open(path) as (file, facts):
        meanings = readings(name)
        if len(meanings) > 1:
            meanings = most_likely(meanings, _named(Message(chunks(file))))
        if len(meanings) > 1:
            said = "; or ".join(f"to {name.recipient} from {name.sender or '<>'}" for name in meanings[:3])
            raise Unreadable(f"its name can be read in {len(meanings)} ways, and its header does not tell: {said}")
        (meant,) = meanings
        return Found(path, 0, meant.sender, (meant.recipient,), min(float(meant.time), facts.st_mtime))


# --- names


def escape(text: str) -> str:
    """An address as the original put it into a name: non-ASCII bytes become %XX, whose % is then escaped again."""
    first = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"%{byte:02X}" for byte in os.fsencode(text))
    return re.sub(r"[%/-]", lambda found: f"%{ord(found[0]):02X}", first)


def unescape(text: str) -> str:
    """The address out of a name. What is escaped a first time is read only where it makes UTF-8. Raises Unreadable."""
    once = _ESCAPED_LAST.sub(lambda found: bytes.fromhex("2" + found[1].decode()), os.fsencode(text))
    try:
        return _ESCAPED_FIRST.sub(_first, once).decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"its name is no UTF-8: {text!r}") from error


def _first(found: re.Match[bytes]) -> bytes:
    raw = bytes.fromhex(found[0].decode().replace("%", ""))
    try:
        raw.decode()
    except UnicodeDecodeError:
        return found[0]
    return raw


def readings(name: str) -> list[Name]:
    """What a name can mean: one thing, or several if unescaped dashes are in it. Raises Unreadable if nothing."""
    form = _FORM.fullmatch(name)
    pieces = form[2].split("-") if form else []
    if not form or len(pieces) <= _DASHES:
        raise Unreadable("its name is not of the form TIME-ID-TO-FROM")
    time = int(form[1])
    if len(pieces) == _DASHES + 1:
        message_id, recipient, sender = pieces
        if not (message_id and recipient):
            raise Unreadable("its name has no ID, or no recipient")
        return [Name(time, message_id, unescape(recipient), _sender(sender))]
    if found := list(_splits(time, pieces)):
        return [meant for meant in found if _is_dotted(meant.recipient) and _is_dotted(meant.sender)] or found
    raise Unreadable("its name has dashes that are not escaped, and no way to read it gives two addresses")


def most_likely(meanings: Sequence[Name], named: Named) -> list[Name]:
    """Those that agree best with the message's header: of several, none is more likely."""
    scores = [
        (meant.recipient.lower() in named.recipients) + (meant.sender.lower() in named.senders) for meant in meanings
    ]
    return [meant for meant, score in zip(meanings, scores, strict=True) if score == max(scores)]


def _splits(time: int, pieces: Sequence[str]) -> Iterator[Name]:
    """Every way to put the dashes back that leaves two addresses; the ID may have had dashes, unless it is our own."""
    longest_id = 1 if _OWN_ID.fullmatch(pieces[0]) else len(pieces) - _DASHES
    for to_at in range(1, longest_id + 1):
        message_id = "-".join(pieces[:to_at])
        if "@" in message_id:
            return
        for from_at in range(to_at + 1, len(pieces)):
            recipient, sender = "-".join(pieces[to_at:from_at]), "-".join(pieces[from_at:])
            if "@" in recipient and ("@" in sender or sender in ("", "<>")):
                meant = Name(time, message_id, unescape(recipient), _sender(sender))
                if _is_address(meant.recipient) and (not meant.sender or _is_address(meant.sender)):
                    yield meant


def _is_dotted(address: str) -> bool:
    """A domain of one label is believed only if a name can mean nothing else: it is a part of one with a dash."""
    return not address or "." in address.rpartition("@")[2]


def _sender(text: str) -> str:
    sender = unescape(text)
    return "" if sender == "<>" else sender


def _is_address(text: str) -> bool:
    """Whether it is one address with a domain, whose last label could be a top-level one: letters, or an A-label."""
    try:
        mailboxes = parse_for_address(text)
    except AddressError:
        return False
    last = mailboxes[0].domain.rpartition(".")[2] if len(mailboxes) == 1 else "-"
    return last.isalpha() or last.startswith("xn--") or last.endswith("]")


def _named(message: Message) -> Named:
    return Named(frozenset(_addresses(message, _TO)), frozenset(_addresses(message, _FROM)))


def _addresses(message: Message, fields: Sequence[str]) -> Iterator[str]:
    for value in (value for field in fields for value in message.get(field)):
        try:
            yield from (mailbox.address.lower() for mailbox in parse_for_address(value))
        except InputError:  # a header may hold anything
            continue
