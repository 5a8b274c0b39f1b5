# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is promised at the door in: a complete header, a checked envelope, or a refusal that names what is wrong."""

import re
from email.utils import parsedate_to_datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import AddressError, InputError, UsageError
from mailspool.message.mailbox import parse_for_address
from mailspool.message.message import Message
from mailspool.model.envelope import Recipient
from mailspool.submission.prepare import Origin, Wishes, header_recipients, login, prepare

NOW = 1795377985.25
ORIGIN = Origin(host="mx.example.org", mail_name="example.org", user="joe", uid=1000)
parse = partial(parse_for_address, mail_name="example.org")


def run(text, origin=ORIGIN, **wishes):
    message = Message([text])
    envelope = prepare(message, Wishes(**wishes), origin, "ID1", NOW, parse)
    return envelope, message


def addresses(envelope):
    return [recipient.address for recipient in envelope.recipients]


def whole(message):
    return b"".join(message.chunks())


COMPLETE = b"From: f@x\nDate: then\nMessage-ID: <m@x>\nTo: t@x\n"


def test_a_complete_message_only_gets_its_trace_field():
    envelope, message = run(COMPLETE + b"\nbody\n")
    received, rest = re.fullmatch(rb"(Received:.*\r\n(?:\t.*\r\n)*)((?s:.*))", whole(message)).groups()
    assert rest == (COMPLETE + b"\nbody\n").replace(b"\n", b"\r\n")
    assert received.startswith(b"Received: by mx.example.org (mailspool, from userid 1000/joe)\r\n\tid ID1; ")
    assert parsedate_to_datetime(message.get("Received")[0].partition(";")[2]).timestamp() == int(NOW)
    assert (envelope.id, envelope.sender, envelope.arrival) == ("ID1", "f@x", NOW)
    assert (envelope.host, envelope.user, addresses(envelope)) == ("mx.example.org", "joe", ["t@x"])


def test_the_trace_field_of_an_smtp_session_tells_the_client_and_the_protocol():
    origin = Origin(host="mx.x", mail_name="x", client="h (n [192.0.2.1])", protocol="ESMTP")
    _, message = run(COMPLETE, origin)
    assert message.get("Received")[0].startswith("from h (n [192.0.2.1])\tby mx.x (mailspool) with ESMTP\tid ID1; ")


def test_missing_fields_are_added():
    _, message = run(b"Subject: x\n\nbody", to=["t@x"], from_="joe", full_name="Joe Doe")
    assert message.get("From") == ["Joe Doe <joe@example.org>"]
    assert message.get("Message-ID") == ["<ID1@mx.example.org>"]
    assert parsedate_to_datetime(message.get("Date")[0]).timestamp() == int(NOW)
    assert whole(message).endswith(b"\r\n\r\nbody\r\n")


def test_a_from_field_for_the_null_sender_is_the_mail_system():
    envelope, message = run(b"", to=["t@x"], from_="<>")
    assert (envelope.sender, message.get("From")) == ("", ["MAILER-DAEMON@example.org"])


@pytest.mark.parametrize(
    "name", ["Jörg Ä", 'a "b"\\c', "O'Neil, J.", "x" * 900, "日本語の名前はとても長いかもしれない"]
)
def test_any_full_name_makes_an_ascii_from_field_that_reads_back(name):
    _, message = run(b"", to=["t@x"], from_="a@b", full_name=name)
    (field,) = message.get("From")
    assert field.isascii()
    (mailbox,) = parse(field)
    assert (mailbox.name, mailbox.address) == (name, "a@b")


def test_bcc_and_return_path_never_leave():
    envelope, message = run(
        b"From: f@x\nBcc: b@x\nbcc: c@x\nResent-Bcc: d@x\nReturn-Path: <e@x>\nTo: t@x\n\n", from_="f@x"
    )
    assert addresses(envelope) == ["d@x"]
    assert not re.search(rb"(?i)bcc|return-path", whole(message))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"To: a@x, B <b@x>\nCc: c@x\nBcc: root\nTo: A@X\n", ["a@x", "b@x", "c@x", "root", "A@x"]),
        (b"To: g: a@x, b@x;\n", ["a@x", "b@x"]),
        (b"Resent-To: r@x\nResent-From: f@x\nTo: t@x\n", ["r@x"]),
        (b"Resent-Cc: r@x\nResent-Bcc: s@x\nReceived: x\nResent-To: old@x\nTo: t@x\n", ["r@x", "s@x"]),
        (b"Resent-To: r@x\nResent-Date: d\nResent-To: old@x\n", ["r@x"]),
        (b"Resent-From: f@x\nTo: t@x\n", ["t@x"]),
        (b"Subject: To: x@y\n", []),
    ],
)
def test_the_headers_recipients_are_those_of_rfc_5322(header, found):
    assert header_recipients(Message([header]), parse) == found


def test_recipients_that_are_given_replace_those_of_the_header_and_each_counts_once():
    envelope, _ = run(b"To: t@x\n\n", from_="f@x", to=["a@X", "B <b@x>, a@x", Recipient("a@x", ("NEVER",))])
    assert addresses(envelope) == ["a@x", "b@x"]


def test_wishes_are_kept_in_the_envelope():
    own = Recipient("b@x", ("NEVER",), "rfc822;b@x")
    envelope, _ = run(b"", from_="f@x", to=["a@x", own], notify=("success", "Delay"), ret="hdrs", envid="a+2Bb")
    assert envelope.recipients == (Recipient("a@x", ("SUCCESS", "DELAY")), own)
    assert (envelope.ret, envelope.envid) == ("HDRS", "a+2Bb")


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"notify": ("NEVER", "DELAY")}, "NOTIFY 'NEVER,DELAY'"),
        ({"notify": ("",)}, "NOTIFY"),
        ({"ret": "ALL"}, "RET 'ALL' must be FULL or HDRS"),
        ({"envid": "a b"}, "ENVID 'a b' must be xtext"),
        ({"envid": "a=b"}, "ENVID"),
        ({"envid": "x" * 101}, "at most 100"),
        ({"envid": "a\r\nRCPT"}, "ENVID"),
        ({"to": [Recipient("a@x", ("SOON",))]}, "NOTIFY 'SOON'"),
        ({"to": [Recipient("a@x", (), "a@x")]}, "ORCPT 'a@x' must be like rfc822;joe@example.org"),
        ({"to": [Recipient("a@x", (), "rfc822;a@x\r\nDATA")]}, "ORCPT"),
        ({"to": [Recipient("a@x", (), "rfc822;" + "x" * 500)]}, "at most 500"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wishes, says):
    with pytest.raises(UsageError, match=says):
        run(COMPLETE, **wishes)


def test_a_message_without_recipient_or_sender_is_refused_with_what_to_do():
    with pytest.raises(UsageError, match="no recipient: give one, or put To, Cc or Bcc"):
        run(b"From: f@x\n\n")
    with pytest.raises(UsageError, match="no sender: give one, or put From"):
        run(b"To: t@x\n\n")


@pytest.mark.parametrize("address", ["a@b\r\nRCPT TO:<c@d>", "a@b\n", "a@b\0", "", " ", "a b@c", "x" * 65 + "@y", "<>"])
def test_an_address_that_is_none_is_refused_and_named(address):
    with pytest.raises(AddressError, match="address"):
        run(COMPLETE, to=[address])
    if address not in ("", "<>"):
        with pytest.raises(AddressError):
            run(COMPLETE, from_=address)


def test_a_sender_is_one_address():
    with pytest.raises(AddressError, match="is not one address"):
        run(COMPLETE, from_="a@b, c@d")


@pytest.mark.parametrize("name", ["Joe\r\nBcc: x@y", "Joe\nX: y", "Joe\0"])
def test_a_full_name_cannot_become_a_second_field(name):
    with pytest.raises(InputError, match="header field From was given"):
        run(b"", to=["t@x"], from_="f@x", full_name=name)


@given(st.text(), st.text())
def test_whatever_a_caller_gives_no_line_end_gets_into_envelope_or_header(given_address, name):
    try:
        envelope, message = run(b"Subject: x\n\n", to=[given_address], from_="f@x", full_name=name)
    except InputError:
        return
    assert not set("".join(addresses(envelope))) & set("\r\n\0")
    assert [field.partition(b":")[0] for field in message.fields] == [
        *(b"Received", b"Subject", b"From", b"Date", b"Message-ID"),
    ]


def test_the_user_who_runs_this_is_known():
    assert login().name
