# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""From a message and its caller's wishes to what is spooled: the header made complete, the envelope made out.

What the caller gives is checked here and nowhere later: addresses, RFC 3461 wishes, values for the header. Bcc never
leaves; Date, Message-ID and From are added where they are missing (RFC 6409 §8); one trace field goes on top
(RFC 5321 §4.4). What is already in the header stays as it is, byte for byte.
"""

import os
import pwd
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from mailspool.errors import AddressError, UsageError
from mailspool.message.headers import field_name, field_value, format_date
from mailspool.message.mailbox import format_phrase
from mailspool.message.message import Message
from mailspool.model.address import control_character, parse_address
from mailspool.model.envelope import Envelope, Recipient

NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})  # RFC 3461 §4.1; NEVER stands alone
RET = frozenset({"FULL", "HDRS"})  # RFC 3461 §4.3
MAX_ENVID_OCTETS = 100  # RFC 3461 §4.4
MAX_ORCPT_OCTETS = 500  # RFC 3461 §4.2
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+"  # RFC 3461 §4
_ORCPT = rf"[A-Za-z0-9-]+;{_XTEXT}"

_NEVER_LEAVES = frozenset({"bcc", "resent-bcc", "return-path"})
_DESTINATIONS = ("to", "cc", "bcc")
_RESENT_DESTINATIONS = ("resent-to", "resent-cc", "resent-bcc")


class HasAddress(Protocol):
    """What a parser of address lists makes: `message.mailbox.Mailbox`, or a subclass's own."""

    @property
    def address(self) -> str:
        """local@domain."""


Parse = Callable[[str], Sequence[HasAddress]]
"""`parse_for_address` with the site's mail_name, or whatever a subclass of Spool made of it."""

Expand = Callable[[str, bool], Mapping[str, str]]
"""The addresses that mail for an address goes to, by the site's aliases, each with its sender, "": the message's own.

True: it came without a domain."""


def keep(address: str, _bare: bool) -> Mapping[str, str]:  # an Expand
    """Where there are no aliases, mail goes where it says."""
    return {address: ""}


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says about one message beside the message itself.

    to: address lists, or recipients with wishes of their own; none: those of the header. from_: "" or "<>" for the null
    sender; None: the header's From. notify, ret, envid: RFC 3461 §4, for all recipients given as text.
    full_name: for a From field that must be added.
    """

    to: Sequence[str | Recipient] = ()
    from_: str | None = None
    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""
    full_name: str = ""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message entered.

    host: this one's name. mail_name: the domain of its users. user, uid: who runs this process. client, protocol: of an
    SMTP session, as "helo (name [192.0.2.1])" and "ESMTP".
    """

    host: str
    mail_name: str
    user: str = ""
    uid: int = -1
    client: str = ""
    protocol: str = ""


class Login(msgspec.Struct, frozen=True):
    """A user, as the password database has it."""

    uid: int
    name: str
    full_name: str


def login(uid: int | None = None) -> Login:
    """A user, or the one who runs this process; one who is in no password database is called by the number."""
    return _login(os.getuid() if uid is None else uid)


@lru_cache(maxsize=64)  # the database is a file, or a server: not to be asked for each message
def _login(uid: int) -> Login:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Login(uid, str(uid), "")
    full_name = entry.pw_gecos.partition(",")[0]
    return Login(uid, entry.pw_name, "" if control_character(full_name) else full_name)


def prepare(
    message: Message,
    wishes: Wishes,
    origin: Origin,
    queue_id: str,
    now: float,
    parse: Parse,
    expand: Expand = keep,
) -> Envelope:
    """Make the message's header complete and return its envelope. now: Unix seconds.

    Raises UsageError for wishes that make no sense, AddressError and InputError naming what cannot be accepted, and
    what `expand` raises.
    """
    recipients = find_recipients(message, wishes, parse, expand)
    sender = find_sender(message, wishes.from_, parse)
    envelope = Envelope(
        id=queue_id,
        sender=sender,
        recipients=recipients,
        arrival=now,
        host=origin.host,
        user=origin.user,
        ret=check_ret(wishes.ret),
        envid=check_envid(wishes.envid),
    )
    there = {field_name(field) for field in message.fields}
    if not there.isdisjoint(_NEVER_LEAVES):
        message.delete(*_NEVER_LEAVES)
    _add_missing(message, there, envelope, origin, wishes.full_name)
    message.prepend("Received", *_trace(origin, envelope))
    return envelope


def find_recipients(message: Message, wishes: Wishes, parse: Parse, expand: Expand = keep) -> tuple[Recipient, ...]:
    """The recipients in their order, each of them once, whoever an alias stands for in its place.

    An alias hands its wishes on (RFC 3461 §5.2.7.1); one with an owner is a list, and does not (§5.2.7.3). Raises
    UsageError if there is none, AddressError, and what `expand` raises.
    """
    found: dict[str, Recipient] = {}
    for given in wishes.to or header_recipients(message, parse):
        for recipient, bare in _given_recipients(given, wishes.notify, parse):
            notify, orcpt = check_notify(recipient.notify), check_orcpt(recipient.orcpt)
            given_sender = recipient.sender and str(parse_address(recipient.sender))
            for address, sender in expand(str(parse_address(recipient.address)), bare).items():
                own = Recipient(address, notify, orcpt, given_sender)
                found.setdefault(address, Recipient(address, sender=sender) if sender else own)
    if not found:
        raise UsageError("there is no recipient: give one, or put To, Cc or Bcc into the header")
    return tuple(found.values())


def header_recipients(message: Message, parse: Parse) -> list[str]:
    """The addresses in To, Cc and Bcc, as written; in the newest block of Resent fields if that has some.

    RFC 5322 §3.6.6.
    """
    fields = [(field_name(field), field) for field in message.fields]
    newest = [field for name, field in _newest_resent(fields) if name in _RESENT_DESTINATIONS]
    chosen = newest or [field for name, field in fields if name in _DESTINATIONS]
    return [as_written(mailbox) for field in chosen for mailbox in parse(field_value(field))]


def as_written(mailbox: HasAddress) -> str:
    """The address, without the domain that completed it: what it stands for is yet to be found."""
    return mailbox.address.rpartition("@")[0] if is_bare(mailbox) else mailbox.address


def is_bare(mailbox: HasAddress) -> bool:
    """Whether a domain completed it. What a subclass's own parser makes need not tell, and then had one."""
    return bool(getattr(mailbox, "completed", False))


def find_sender(message: Message, given: str | None, parse: Parse) -> str:
    """The envelope's sender: the one given, "" for the null sender, else the header's first From address.

    Raises UsageError if there is none, AddressError.
    """
    if given in ("", "<>"):
        return ""
    if given is None:
        mailboxes = [mailbox for value in message.get("From") for mailbox in parse(value)]
        if not mailboxes:
            raise UsageError("there is no sender: give one, or put From into the header")
    elif len(mailboxes := list(_parse_given(given, parse))) != 1:
        raise AddressError(f"sender {given!r} is not one address")
    return str(parse_address(mailboxes[0].address))


def check_notify(notify: Sequence[str]) -> tuple[str, ...]:
    """NOTIFY in upper case (RFC 3461 §4.1). Raises UsageError."""
    words = tuple(word.upper() for word in notify)
    if words != ("NEVER",) and not NOTIFY.issuperset(words):
        raise UsageError(f"NOTIFY {','.join(notify)!r} must be NEVER, or of SUCCESS, FAILURE and DELAY (RFC 3461 §4.1)")
    return words


def check_ret(ret: str) -> str:
    """RET in upper case (RFC 3461 §4.3). Raises UsageError."""
    if ret and ret.upper() not in RET:
        raise UsageError(f"RET {ret!r} must be FULL or HDRS (RFC 3461 §4.3)")
    return ret.upper()


def check_envid(envid: str) -> str:
    """ENVID (RFC 3461 §4.4). Raises UsageError."""
    if envid and not (re.fullmatch(_XTEXT, envid) and len(envid) <= MAX_ENVID_OCTETS):
        raise UsageError(f"ENVID {envid!r} must be xtext of at most {MAX_ENVID_OCTETS} octets (RFC 3461 §4.4)")
    return envid


def check_orcpt(orcpt: str) -> str:
    """ORCPT, a type and the original address as xtext (RFC 3461 §4.2). Raises UsageError."""
    if orcpt and not (re.fullmatch(_ORCPT, orcpt) and len(orcpt) <= MAX_ORCPT_OCTETS):
        raise UsageError(f"ORCPT {orcpt!r} must be like rfc822;joe@example.org, at most {MAX_ORCPT_OCTETS} octets")
    return orcpt


def _newest_resent(fields: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The topmost run of Resent fields; a second field of the same name begins an older block."""
    block: dict[str, bytes] = {}
    for name, field in fields:
        if name in block or (block and not name.startswith("resent-")):
            break
        if name.startswith("resent-"):
            block[name] = field
    return list(block.items())


def _given_recipients(given: str | Recipient, notify: tuple[str, ...], parse: Parse) -> list[tuple[Recipient, bool]]:
    """Each with whether it came without a domain."""
    if isinstance(given, Recipient):
        return [(given, False)]
    mailboxes = _parse_given(given, parse)
    if not mailboxes:
        raise AddressError(f"recipient {given!r} is no address")
    return [(Recipient(mailbox.address, notify), is_bare(mailbox)) for mailbox in mailboxes]


def _parse_given(text: str, parse: Parse) -> Sequence[HasAddress]:
    """What a header may fold, a caller may not: no address given by hand holds a line end."""
    if fault := control_character(text):
        raise AddressError(f"address {text!r} holds {fault}: remove it")
    return parse(text)


def _add_missing(message: Message, there: set[str], envelope: Envelope, origin: Origin, full_name: str) -> None:
    if "from" not in there:
        sender = envelope.sender or f"MAILER-DAEMON@{origin.mail_name}"
        message.add("From", f"{format_phrase(full_name)} <{sender}>" if full_name else sender)
    if "date" not in there:
        message.add("Date", format_date(envelope.arrival))
    if "message-id" not in there:
        message.add("Message-ID", f"<{envelope.id}@{origin.host}>")


def _trace(origin: Origin, envelope: Envelope) -> list[str]:
    """The lines of a Received field (RFC 5321 §4.4)."""
    user = f", from userid {origin.uid}/{origin.user}" if origin.user else ""
    protocol = f" with {origin.protocol}" if origin.protocol else ""
    came = [f"from {origin.client}"] if origin.client else []
    return [
        *came,
        f"by {origin.host} (mailspool{user}){protocol}",
        f"id {envelope.id}; {format_date(envelope.arrival)}",
    ]
