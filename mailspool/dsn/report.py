# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The report on one message: what happened in English, in fields, and the original (RFC 3464, RFC 6522, RFC 6533).

The original is passed through octet for octet, block by block: whatever its size, a report takes little memory,
and it is never parsed beyond its header nor written anew. A report is always marked `Auto-Submitted`
(RFC 3834 §5), so that no honest program answers it. Who gets it is decided in `dsn.notify`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import IO

import msgspec

from mailspool.dsn.notify import Kind
from mailspool.dsn.plain import decode_xtext, fold, plain
from mailspool.message.headers import format_date
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt, Outcome

_BLOCK = 65536
_MAX_HEADER = 262144  # of a longer header the rest counts as body: nobody reads that much, and memory stays flat
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[!-;=?-~]{1,250}>)", re.IGNORECASE | re.MULTILINE)
_REPLY = re.compile(r"[2-5][0-9][0-9](?![0-9])")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says, beside the original.

    cases: each recipient reported on, with its outcome; the outcome's `attempts` are all that were ever made,
    oldest first. to: who hears of it. host: our own name. now, retry_until: Unix seconds; retry_until only for a
    delay. token: 128 random bits as hexadecimal digits, new for each report. max_original: octets up to which a
    failed original is returned whole, if its sender did not ask for its header only.
    """

    kind: Kind
    to: str
    envelope: Envelope
    cases: tuple[tuple[Recipient, Outcome], ...]
    host: str
    now: float
    token: str
    max_original: int
    retry_until: float = 0.0

    @property
    def utf8(self) -> bool:
        """Whether an address or the original's header is not ASCII, which calls for the types of RFC 6533."""
        addresses = (self.to, *(text for recipient, _ in self.cases for text in (recipient.address, recipient.orcpt)))
        return self.envelope.facts.utf8_headers or not all(map(str.isascii, addresses))

    @property
    def returns_whole(self) -> bool:
        """Only failures return more than the header (RFC 3461 §4.3)."""
        envelope = self.envelope
        return self.kind is Kind.FAILED and envelope.ret != "HDRS" and envelope.facts.size <= self.max_original


def build_report(report: Report, original: IO[bytes]) -> Iterator[bytes]:
    """The report as chunks of a message in CRLF form.

    original: a binary file that stands at the message's first octet; it is read forwards only, and its errors
    (OSError) come through.
    """
    header = _read_header(original)
    human = _human_part(report).encode()
    status = _status_part(report).encode()
    original_is_8bit = not header.isascii() or (report.returns_whole and report.envelope.facts.eight_bit)
    eight_bit = original_is_8bit or not (human + status).isascii()
    yield _header(report, _MESSAGE_ID.search(header), eight_bit=eight_bit)
    yield _part_header(report, "text/plain; charset=utf-8", "Notification", eight_bit=not human.isascii()) + human
    status_type = "message/global-delivery-status" if report.utf8 else "message/delivery-status"
    yield _part_header(report, status_type, "Delivery report", eight_bit=not status.isascii()) + status
    yield _part_header(report, *_ORIGINAL[report.returns_whole, report.utf8], eight_bit=original_is_8bit)
    if report.returns_whole:
        yield header
        yield from iter(lambda: original.read(_BLOCK), b"")
    else:
        yield header.removesuffix(b"\r\n")  # the empty line
    yield f"\r\n--{_boundary(report)}--\r\n".encode()


# --- the frame

_SUBJECT = {Kind.FAILED: "Mail not delivered", Kind.DELAYED: "Mail delayed", Kind.RELAYED: "Mail passed on"}
_ORIGINAL = {  # whole, utf8
    (True, False): ("message/rfc822", "Undelivered message"),
    (True, True): ("message/global", "Undelivered message"),
    (False, False): ("text/rfc822-headers", "Header of the message"),
    (False, True): ("message/global-headers", "Header of the message"),
}


def _boundary(report: Report) -> str:
    return f"=_{report.token}"  # as random as the token: whoever wrote the original could not know it


def _header(report: Report, message_id: re.Match[bytes] | None, *, eight_bit: bool) -> bytes:
    answered = message_id[1].decode() if message_id else ""
    fields = _fields(
        ("From", f"Mail Delivery System <MAILER-DAEMON@{report.host}>"),
        ("To", plain(report.to, utf8=True)),
        ("Subject", _SUBJECT[report.kind]),
        ("Date", format_date(report.now)),
        ("Message-ID", f"<{report.token}@{report.host}>"),
        ("In-Reply-To", answered),
        ("References", answered),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type=delivery-status;\r\n boundary="{_boundary(report)}"'),
        ("Content-Transfer-Encoding", _encoding(eight_bit=eight_bit)),
    )
    return fields.encode()


def _part_header(report: Report, content_type: str, description: str, *, eight_bit: bool) -> bytes:
    fields = _fields(
        ("Content-Type", content_type),
        ("Content-Description", description),
        ("Content-Transfer-Encoding", _encoding(eight_bit=eight_bit)),
    )
    return f"\r\n--{_boundary(report)}\r\n{fields}\r\n".encode()


def _encoding(*, eight_bit: bool) -> str:
    return "8bit" if eight_bit else "7bit"


def _fields(*fields: tuple[str, str]) -> str:
    """Header fields, or those of a delivery status; the ones without a value are left out."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields if value)


def _read_header(original: IO[bytes]) -> bytes:
    """The original's first lines, up to and with the empty one."""
    header = bytearray()
    while len(header) < _MAX_HEADER and (line := original.readline(_BLOCK)):
        header += line
        if line == b"\r\n":
            break
    return bytes(header)


# --- the part for programs (RFC 3464 §2)


def _status_part(report: Report) -> str:
    envelope = report.envelope
    message = _fields(
        ("Reporting-MTA", f"dns; {report.host}"),
        ("Original-Envelope-Id", plain(decode_xtext(envelope.envid), utf8=report.utf8)),
        ("X-mailspool-ID", envelope.id),
        ("Arrival-Date", format_date(envelope.arrival)),
    )
    return "\r\n".join([message, *(_recipient_fields(report, *case) for case in report.cases)])


def _recipient_fields(report: Report, recipient: Recipient, outcome: Outcome) -> str:
    utf8 = report.utf8
    address_type = "rfc822" if recipient.address.isascii() else "utf-8"
    orcpt_type, given, orcpt = recipient.orcpt.partition(";")
    last = outcome.attempts[-1].time if outcome.attempts else None
    remote = plain(_host_name(outcome.host), utf8=utf8)
    retry_until = report.retry_until if report.kind is Kind.DELAYED else None
    return _fields(
        ("Original-Recipient", given and plain(f"{orcpt_type}; {decode_xtext(orcpt)}", utf8=utf8)),
        ("Final-Recipient", plain(f"{address_type}; {recipient.address}", utf8=utf8)),
        ("Action", report.kind),
        ("Status", plain(outcome.status, utf8=False)),
        ("Remote-MTA", remote and f"dns; {remote}"),
        ("Diagnostic-Code", fold(plain(_diagnostic(outcome), utf8=utf8), " ").lstrip()),
        ("Last-Attempt-Date", format_date(last) if last else ""),
        ("Will-Retry-Until", format_date(retry_until) if retry_until else ""),
    )


def _diagnostic(outcome: Outcome) -> str:
    """Our own words must not pass for a host's reply (RFC 3464 §2.3.6)."""
    if not outcome.text:
        return ""
    return f"{'smtp' if _replied(outcome) else 'X-mailspool'}; {outcome.text}"


def _replied(outcome: Outcome) -> bool:
    """Whether the text is the host's reply, not our own words about it."""
    return bool(outcome.host and _REPLY.match(outcome.text))


def _host_name(host: str) -> str:
    """`mx.example.org` of "mx.example.org[192.0.2.1]:25", `[192.0.2.1]` of "[192.0.2.1]:25"."""
    name, _, address = host.partition("[")
    return name or (f"[{address.partition(']')[0]}]" if address else "")


# --- the part for people

_HAPPENED = {
    Kind.FAILED: "could not be delivered to the {recipients} below. It will not be tried again.",
    Kind.DELAYED: "has not been delivered yet to the {recipients} below. It is still being tried.",
    Kind.RELAYED: "has been passed on for the {recipients} below, to a host that sends no reports of its own.",
}
_NOTHING = {
    Kind.DELAYED: "Nothing. If it cannot be delivered in the end, another report tells you so.",
    Kind.RELAYED: "Nothing. There will be no further report.",
}
_ADVICE = {  # by subject and detail of the status, or by its subject alone (RFC 3463 §3)
    "1": "Check the address for mistakes, and send the message again to the right one.",
    "1.10": "This domain takes no mail at all. Ask the recipient for another address.",
    "2.2": "The mailbox is full. Send the message again later, or reach the recipient in another way.",
    "2.3": "The message is too big for this mailbox. Send a smaller one, or a link to its attachments.",
    "3.4": "The message is too big for that host. Send a smaller one, or a link to its attachments.",
    "3": "A mail system on the way had trouble of its own. Send the message again later.",
    "4": "The recipient's mail system could not be reached. Send the message again later, or reach the recipient "
    "in another way.",
    "4.4": "No host takes mail for this domain at present. Check the address for mistakes, or send the message again "
    "later.",
    "6.7": "The recipient's mail system does not know addresses with such letters. Ask for a plain one.",
    "7": "The message was refused by a rule of the recipient's mail system; the reply above may name it. "
    "The recipient, or the postmaster there, can help.",
}
_ASK = "If the reply above does not explain it, ask the postmaster of the recipient's domain."


def _human_part(report: Report) -> str:
    subject = "Your message" if report.envelope.sender else "A message from the null sender"
    happened = _HAPPENED[report.kind].format(recipients="recipient" if len(report.cases) == 1 else "recipients")
    returned = "The message is" if report.returns_whole else "The header of the message is"
    opening = (
        f"This is the mail system at {report.host}.",
        f"{subject} of {format_date(report.envelope.arrival)} {happened} {returned} attached.",
    )
    paragraphs = [fold(text, "") for text in opening]
    for recipient, outcome in report.cases:
        paragraphs += _story(report, recipient, outcome)
    return "\r\n\r\n".join(paragraphs) + "\r\n"


def _story(report: Report, recipient: Recipient, outcome: Outcome) -> Iterator[str]:
    """What became of one recipient, a paragraph at a time."""
    yield plain(recipient.address, utf8=True)
    said = f"{outcome.host} said: {outcome.text}" if _replied(outcome) else outcome.text
    yield _paragraph("What happened:", [fold(plain(said or outcome.status, utf8=True), "    ")])
    if outcome.attempts:
        yield _paragraph("What was tried:", map(_tried, outcome.attempts))
    if report.kind is Kind.DELAYED and report.retry_until:
        yield _paragraph("What comes next:", [f"    It is tried again until {format_date(report.retry_until)}."])
    advice = _NOTHING.get(report.kind) or _advice(outcome.status)
    yield _paragraph("What you can do:", [fold(advice, "    ")])


def _paragraph(title: str, lines: Iterable[str]) -> str:
    return "\r\n".join([f"  {title}", *lines])


def _tried(attempt: Attempt) -> str:
    host = plain(attempt.host, utf8=True) or "no host was reached"
    lines = [f"    {format_date(attempt.time)}  {host}", fold(plain(attempt.text, utf8=True), "      ")]
    return "\r\n".join(filter(None, lines))


def _advice(status: str) -> str:
    detail = status.partition(".")[2]
    return _ADVICE.get(detail) or _ADVICE.get(detail.partition(".")[0], _ASK)
