# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The report on one message."""

import email
import email.policy
import io
import itertools
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.dsn.notify import Kind
from mailspool.dsn.report import Report, build_report
from mailspool.model.envelope import Envelope, Facts, Recipient, Survey
from mailspool.model.outcome import Attempt, Deferred, Delivered, Failed

NOON = 1795348800.0  # Sun, 22 Nov 2026 12:00:00 +0000
TOKEN = "0123456789abcdef0123456789abcdef"
HOST = "mail.example.com"
ORIGINAL = b"From: joe@example.com\r\nMessage-ID: <1@example.com>\r\nSubject: hello\r\n\r\n.\r\n--x--\r\nbody\r\n"
ATTEMPTS = (
    Attempt(NOON + 60, 0, "mx1.example.org[192.0.2.1]:25", "4.4.2", "connection timed out while waiting for EHLO"),
    Attempt(NOON + 61, 0, "", "4.4.3", "no answer from any name server"),
    Attempt(NOON + 1860, 1, "mx2.example.org[192.0.2.2]:25", "5.1.1", "550 5.1.1 <ann@example.org>: no such user here"),
)
FAILED = Failed("5.1.1", ATTEMPTS[-1].host, ATTEMPTS[-1].text, ATTEMPTS)


def report_on(outcome=FAILED, original=ORIGINAL, kind=Kind.FAILED, **changes):
    survey = Survey([original])
    list(survey)
    recipient = Recipient(changes.pop("address", "ann@example.org"), orcpt=changes.pop("orcpt", ""))
    envelope = Envelope("ID1", "joe@example.com", (recipient,), NOON, facts=survey.facts())
    for name in ("sender", "ret", "envid"):
        envelope = msgspec.structs.replace(envelope, **{name: changes.pop(name, getattr(envelope, name))})
    values = {
        "kind": kind,
        "to": "joe@example.com",
        "envelope": envelope,
        "cases": ((recipient, outcome),),
        "host": HOST,
        "now": NOON + 1861,
        "token": TOKEN,
        "max_original": 50_000,
    }
    return Report(**(values | changes))


def written(report, original=ORIGINAL):
    return b"".join(build_report(report, io.BytesIO(original)))


def parsed(data):
    return email.message_from_bytes(data, policy=email.policy.default)


def body_of(data, part):
    """The octets of one part, by the boundaries alone."""
    return data.split(b"\r\n--=_" + TOKEN.encode())[part + 1].partition(b"\r\n\r\n")[2]


def headers_of(data):
    return data.partition(b"\r\n\r\n")[0].decode()


def status_fields(message):
    return message.get_payload(1).get_payload()


def test_only_a_reply_is_said_to_have_been_said_by_the_host():
    human = body_of(written(report_on(Failed("5.3.4", ATTEMPTS[-1].host, "the message has 9 octets"))), 0).decode()
    assert "What happened:\r\n    the message has 9 octets\r\n" in human


def test_the_human_part_says_what_happened_what_was_tried_and_what_to_do():
    assert body_of(written(report_on()), 0).decode() == (
        "This is the mail system at mail.example.com.\r\n"
        "\r\n"
        "Your message of Sun, 22 Nov 2026 12:00:00 +0000 could not be delivered to\r\n"
        "the recipient below. It will not be tried again. The message is attached.\r\n"
        "\r\n"
        "ann@example.org\r\n"
        "\r\n"
        "  What happened:\r\n"
        "    mx2.example.org[192.0.2.2]:25 said: 550 5.1.1 <ann@example.org>: no such\r\n"
        "    user here\r\n"
        "\r\n"
        "  What was tried:\r\n"
        "    Sun, 22 Nov 2026 12:01:00 +0000  mx1.example.org[192.0.2.1]:25\r\n"
        "      connection timed out while waiting for EHLO\r\n"
        "    Sun, 22 Nov 2026 12:01:01 +0000  no host was reached\r\n"
        "      no answer from any name server\r\n"
        "    Sun, 22 Nov 2026 12:31:00 +0000  mx2.example.org[192.0.2.2]:25\r\n"
        "      550 5.1.1 <ann@example.org>: no such user here\r\n"
        "\r\n"
        "  What you can do:\r\n"
        "    Check the address for mistakes, and send the message again to the right\r\n"
        "    one.\r\n"
    )


def test_the_frame_is_a_multipart_report_from_the_mail_system():
    message = parsed(written(report_on()))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.com>"
    assert message["To"] == "joe@example.com"
    assert message["Date"] == "Sun, 22 Nov 2026 12:31:01 +0000"
    assert message["Message-ID"] == f"<{TOKEN}@{HOST}>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<1@example.com>"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "message/rfc822",
    ]
    assert not message.defects


def test_the_fields_say_the_same_to_programs():
    report = report_on(orcpt="rfc822;ann+2Bold@example.org", envid="QQ+3D1")
    message, recipient = status_fields(parsed(written(report)))
    assert dict(message) == {
        "Reporting-MTA": "dns; mail.example.com",
        "Original-Envelope-Id": "QQ=1",
        "X-mailspool-ID": "ID1",
        "Arrival-Date": "Sun, 22 Nov 2026 12:00:00 +0000",
    }
    assert dict(recipient) == {
        "Original-Recipient": "rfc822; ann+old@example.org",
        "Final-Recipient": "rfc822; ann@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx2.example.org",
        "Diagnostic-Code": "smtp; 550 5.1.1 <ann@example.org>: no such user here",
        "Last-Attempt-Date": "Sun, 22 Nov 2026 12:31:00 +0000",
    }


def test_our_own_words_do_not_pass_for_a_reply():
    _, recipient = status_fields(parsed(written(report_on(Failed("5.1.2", "", "there is no domain example.org")))))
    assert recipient["Diagnostic-Code"] == "X-mailspool; there is no domain example.org"
    assert "Remote-MTA" not in recipient
    assert "Last-Attempt-Date" not in recipient


@pytest.mark.parametrize(
    ("host", "remote"),
    [
        ("mx.example.org[192.0.2.1]:25", "mx.example.org"),
        ("mx.example.org", "mx.example.org"),
        ("[192.0.2.1]:25", "[192.0.2.1]"),
        ("[2001:db8::1]:25", "[2001:db8::1]"),
    ],
)
def test_the_remote_mta_is_named_without_its_port(host, remote):
    _, recipient = status_fields(parsed(written(report_on(Failed("5.0.0", host, "554 no")))))
    assert recipient["Remote-MTA"] == f"dns; {remote}"


def test_several_recipients_of_one_message_share_a_report():
    cases = tuple((Recipient(f"user{n}@example.org"), FAILED) for n in range(3))
    data = written(report_on(cases=cases))
    _, *recipients = status_fields(parsed(data))
    assert [r["Final-Recipient"] for r in recipients] == [f"rfc822; user{n}@example.org" for n in range(3)]
    assert "to\r\nthe recipients below" in body_of(data, 0).decode()


def test_a_delay_says_until_when_it_is_tried_and_returns_the_header_only():
    late = Deferred("4.4.1", "", "connection refused", ATTEMPTS[:1])
    data = written(report_on(late, kind=Kind.DELAYED, retry_until=NOON + 432_000))
    message = parsed(data)
    _, recipient = status_fields(message)
    assert (recipient["Action"], recipient["Will-Retry-Until"]) == ("delayed", "Fri, 27 Nov 2026 12:00:00 +0000")
    assert "It is tried again until Fri, 27 Nov 2026 12:00:00 +0000." in body_of(data, 0).decode()
    assert message.get_payload(2).get_content_type() == "text/rfc822-headers"


def test_mail_passed_on_to_a_host_without_reports_is_relayed():
    message = parsed(written(report_on(Delivered("2.0.0", "mx.example.org", "250 2.0.0 ok"), kind=Kind.RELAYED)))
    assert status_fields(message)[1]["Action"] == "relayed"
    assert message["Subject"] == "Mail passed on"


@pytest.mark.parametrize("changes", [{"ret": "HDRS"}, {"max_original": len(ORIGINAL) - 1}])
def test_only_the_header_comes_back_if_asked_for_or_if_the_message_is_too_big(changes):
    data = written(report_on(**changes))
    assert parsed(data).get_payload(2).get_content_type() == "text/rfc822-headers"
    assert body_of(data, 2) == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_a_message_as_big_as_the_limit_comes_back_whole():
    assert body_of(written(report_on(max_original=len(ORIGINAL))), 2) == ORIGINAL


def test_eight_bit_octets_are_declared_where_they_are():
    original = b"Subject: x\r\n\r\ncaf\xc3\xa9\r\n"
    message = parsed(written(report_on(original=original), original))
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert [p["Content-Transfer-Encoding"] for p in message.iter_parts()] == ["7bit", "7bit", "8bit"]
    headers_only = parsed(written(report_on(original=original, ret="HDRS"), original))
    assert headers_only["Content-Transfer-Encoding"] == "7bit"


def test_a_reply_beyond_ascii_is_shown_to_people_and_spelt_out_to_programs():
    data = written(report_on(Failed("5.7.1", "mx.example.org", "550 5.7.1 refusé")))
    assert "550 5.7.1 refusé" in body_of(data, 0).decode()
    assert body_of(data, 1).isascii()
    assert b"smtp; 550 5.7.1 refus\\xe9" in body_of(data, 1)


@pytest.mark.parametrize(("changes", "returned"), [({}, "message/global"), ({"ret": "HDRS"}, "message/global-headers")])
def test_addresses_beyond_ascii_call_for_the_global_types(changes, returned):
    data = written(report_on(address="änn@example.org", **changes))
    message = parsed(data)
    assert [p.get_content_type() for p in message.iter_parts()][1:] == ["message/global-delivery-status", returned]
    assert "Final-Recipient: utf-8; änn@example.org\r\n" in body_of(data, 1).decode()


def test_a_header_beyond_ascii_calls_for_the_global_types():
    original = "Subject: grüß\r\n\r\nx\r\n".encode()
    message = parsed(written(report_on(original=original), original))
    assert message.get_payload(2).get_content_type() == "message/global"


def test_the_postmaster_is_not_told_that_it_was_his_message():
    data = written(report_on(sender="", to="postmaster@example.com"))
    assert "A message from the null sender of Sun" in body_of(data, 0).decode()


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("5.1.10", "takes no mail at all"),
        ("5.2.2", "mailbox is full"),
        ("5.3.4", "too big"),
        ("5.3.0", "trouble of its own"),
        ("4.4.7", "could not be reached"),
        ("5.4.4", "Check the address"),
        ("5.6.7", "such letters"),
        ("5.7.26", "refused by a rule"),
        ("5.0.0", "ask the postmaster"),
        ("", "ask the postmaster"),
    ],
)
def test_the_advice_follows_the_status(status, word):
    assert word in body_of(written(report_on(Failed(status, "mx.example.org", "5xx"))), 0).decode().replace(
        "\r\n    ", " "
    )


@pytest.mark.parametrize(
    ("header", "answered"),
    [
        (b"Message-ID:\r\n <a@b>\r\n", "<a@b>"),
        (b"message-id:<a@b>\r\n", "<a@b>"),
        (b"X-Message-ID: <a@b>\r\n", None),
        (b"Message-ID: <a b>\r\n", None),
        (b"Message-ID: <a@\xffb>\r\n", None),
        (b"Message-ID: <" + b"x" * 999 + b">\r\n", None),
        (b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", None),
        (b"", None),
    ],
)
def test_the_report_answers_the_original_if_it_has_a_sound_message_id(header, answered):
    original = header + b"\r\n"
    assert parsed(written(report_on(original=original), original))["In-Reply-To"] == answered


FRAME = [
    *("From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
]
words = st.text(max_size=60) | st.text("\r\n\0 :-=_<>[];é\u2028\udc80", max_size=1200)
attempts = st.builds(Attempt, st.integers(0, 4 * 10**9), st.integers(0, 6), words, words, words)
outcomes = st.builds(Failed, words, words, words, st.lists(attempts, max_size=3).map(tuple))


@given(outcome=outcomes, to=words.filter(bool), address=words, orcpt=words, envid=words, kind=st.sampled_from(Kind))
def test_whatever_hosts_and_envelopes_say_the_report_keeps_its_form(outcome, to, address, orcpt, envid, kind):
    data = written(report_on(outcome, kind=kind, to=to, address=address, orcpt=orcpt, envid=envid))
    assert [line.partition(":")[0] for line in headers_of(data).split("\r\n") if line[0] != " "] == FRAME
    lines = data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert max(map(len, lines)) < 998
    assert body_of(data, 1).count(b"\r\n\r\n") == 1
    assert body_of(data, 1).endswith(b"\r\n")
    assert len(list(parsed(data).iter_parts())) == 3
    body = data.partition(b"\r\n\r\n")[2]
    assert parsed(data)["Content-Transfer-Encoding"] == ("7bit" if body.isascii() else "8bit")


@given(
    header=st.lists(st.binary(max_size=80).filter(lambda line: b"\r\n" not in line), max_size=5),
    body=st.binary(max_size=2000),
)
def test_the_original_comes_back_octet_for_octet(header, body):
    original = b"".join(b"X: " + line + b"\r\n" for line in header) + b"\r\n" + body
    whole = written(report_on(original=original), original)
    assert whole.endswith(b"\r\n\r\n" + original + b"\r\n--=_" + TOKEN.encode() + b"--\r\n")
    if original.isascii() and b"\r" not in body.replace(b"\r\n", b""):
        assert body_of(whole, 2) == original


class Synthetic(io.RawIOBase):
    """A message of many octets that stands nowhere."""

    def __init__(self, head, size):
        self.head, self.left = head, size

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.head[: len(buffer)] or b"0123456789abcde\n" * (min(self.left, len(buffer)) // 16)
        self.head = self.head[len(data) :]
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def peak_while_writing(original, size):
    report = report_on(max_original=1 << 40)
    envelope = msgspec.structs.replace(report.envelope, facts=Facts(size=size))
    report = msgspec.structs.replace(report, envelope=envelope)
    tracemalloc.start()
    try:
        total = sum(map(len, build_report(report, io.BufferedReader(original))))
        return total, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [b"Subject: big\r\n\r\n", b"Subject: a header without an end\n"])
def test_a_message_of_a_hundred_megabytes_takes_little_memory(head):
    size = 100 << 20
    total, peak = peak_while_writing(Synthetic(head, size), size)
    assert size < total < size + 10_000
    assert peak < 2 << 20


def test_a_report_is_written_while_the_original_is_read():
    original = io.BytesIO(ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + b"x" * 1_000_000)
    chunks = build_report(report_on(max_original=1 << 30), original)
    list(itertools.islice(chunks, 4))
    assert original.tell() < 1000


def test_an_error_while_reading_the_original_comes_through():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "input/output error")

    with pytest.raises(OSError, match="input/output"):
        list(build_report(report_on(), Broken(ORIGINAL)))
