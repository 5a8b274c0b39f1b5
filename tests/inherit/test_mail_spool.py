# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Names of the original Mail::Spool are read as it wrote them, and none is guessed at."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailspool.errors import Unreadable
from mailspool.inherit import mail_spool
from mailspool.inherit.mail_spool import Name, escape, readings, unescape

ID = "80EA68E2D942BA85"
BODY = b"Subject: hello\n\nhello\n"

# What would be read as the escape of an octet that no address has; "%C3%A9" as text cannot be told from "é".
LOOKS_ESCAPED = re.compile(r"%([01][0-9A-F]|7F|[89A-F][0-9A-F])")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)

LABELS = st.from_regex(r"[a-z]([a-z-]{0,6}[a-z])?", fullmatch=True)
ADDRESSES = st.builds(
    lambda local, labels, last: f"{local}@{'.'.join([*labels, last])}",
    st.from_regex(r"[a-z0-9%/=_]([a-z0-9%/+_-]{0,8}[a-z0-9])?", fullmatch=True),
    st.lists(LABELS, min_size=1, max_size=3),
    st.from_regex(r"[a-z]{2,6}", fullmatch=True),
)


def perl_escape(text):
    """`_send_mail_deferred`, statement by statement, on the bytes that Perl had."""
    octets = text.encode()
    octets = re.sub(rb"([^\ -~])", lambda m: b"%%%02X" % ord(m[1]), octets)
    octets = re.sub(rb"([\%\/\-])", lambda m: b"%%%02X" % ord(m[1]), octets)
    return octets.decode()


@given(TEXTS)
def test_escaping_is_that_of_the_original(text):
    assert escape(text) == perl_escape(text)


@given(TEXTS)
def test_what_was_escaped_is_read_back(text):
    assume(not LOOKS_ESCAPED.search(text))
    assert unescape(escape(text)) == text


@given(st.integers(0, 10**11), ADDRESSES, ADDRESSES | st.just(""))
def test_a_name_as_it_came_in_means_what_was_put_into_it(time, to, sender):
    assume(not LOOKS_ESCAPED.search(to + sender))
    assert readings(f"{time}-{ID}-{escape(to)}-{escape(sender)}") == [Name(time, ID, to, sender)]


@given(st.integers(0, 10**11), ADDRESSES, ADDRESSES | st.just(""))
def test_a_name_after_falling_back_can_mean_what_it_was(time, to, sender):
    """`fallback_filename`: nothing is escaped again. One with a slash was deleted."""
    assume("/" not in to + sender and not re.search(r"%[0-9A-F]{2}", to + sender))
    assert Name(time, ID, to, sender) in readings(f"{time}-{ID}-{to}-{sender}")


@given(st.text(max_size=80))
def test_any_name_is_read_or_refused(name):
    try:
        found = readings(name)
    except Unreadable:
        return
    assert found


@pytest.mark.parametrize(
    ("name", "to", "sender"),
    [
        (f"995909015-{ID}-forward@b.c-me@d.example", "forward@b.c", "me@d.example"),
        (f"1-{ID}-joe@a.example-", "joe@a.example", ""),
        (f"1-{ID}-joe@a.example-<>", "joe@a.example", ""),
        (f"1-{ID}-joe%2Dsmith@a.example-me@b.example", "joe-smith@a.example", "me@b.example"),
        (f"1-{ID}-joe-smith@a-b.example-me-too@c-d.example", "joe-smith@a-b.example", "me-too@c-d.example"),
        (f"1-{ID}-joe-smith@a.example-", "joe-smith@a.example", ""),
        (f"1-{ID}-jos%25C3%25A9@a.example-me@b.example", "josé@a.example", "me@b.example"),
        (f"1-{ID}-jos%C3%A9@a.example-me@b.example", "josé@a.example", "me@b.example"),
        (f"1-{ID}-jos%E9@a.example-me@b.example", "jos%E9@a.example", "me@b.example"),
        (f"1-{ID}-joe%25relay@a.example-me@b.example", "joe%relay@a.example", "me@b.example"),
        ("1-AB12-joe%2Fx@a.example-me@b.example", "joe/x@a.example", "me@b.example"),
    ],
)
def test_a_name_that_can_mean_one_thing_means_it(name, to, sender):
    assert [(found.recipient, found.sender) for found in readings(name)] == [(to, sender)]


@pytest.mark.parametrize(
    "name",
    [
        *("", "x", "usage", "1", f"1-{ID}", f"1-{ID}-joe@a.example", f"-{ID}-a@b.example-", f"1-{ID}--a@b.example"),
        *(f"1-{ID}-a-b-c", f"x-{ID}-a@b.example-c@d.example", f"1-{ID}-a\udcff@b.example-"),
    ],
)
def test_a_name_that_can_mean_nothing_is_refused(name):
    with pytest.raises(Unreadable):
        readings(name)


AMBIGUOUS = f"1007000000-{ID}-joe@a.com-b.com-me@c.com"


@pytest.mark.parametrize(
    ("header", "to", "sender"),
    [
        (b"To: Joe <JOE@a.com>\n", "joe@a.com", "b.com-me@c.com"),
        (b"To: joe@a.com-b.com\n", "joe@a.com-b.com", "me@c.com"),
        (b"To: friends:;\nFrom: me@c.com\n", "joe@a.com-b.com", "me@c.com"),
    ],
)
def test_where_dashes_leave_a_choice_the_header_tells(source, write, header, to, sender):
    write(f"1/{AMBIGUOUS}", header + b"\nhello\n")
    found = mail_spool.read(source, f"1/{AMBIGUOUS}")
    assert (found.recipients, found.sender) == ((to,), sender)


@pytest.mark.parametrize("header", [b"", b"To: x@y.example\n", b"To: joe@a.com\nFrom: me@c.com\n"])
def test_where_nothing_tells_no_recipient_is_guessed(source, write, header):
    write(f"1/{AMBIGUOUS}", header + b"\nhello\n")
    with pytest.raises(Unreadable, match="2 ways"):
        mail_spool.read(source, f"1/{AMBIGUOUS}")


def test_an_id_with_dashes_is_read_if_the_header_tells(source, write):
    name = "1-16CKnN-0000dP-00-joe@a.example-me@b.example"
    write(f"0/{name}", b"To: joe@a.example\nFrom: me@b.example\n\nhello\n")
    assert mail_spool.read(source, f"0/{name}").recipients == ("joe@a.example",)


def test_lock_files_and_temporary_ones_are_passed_over(source, write):
    node = f"1-{ID}-joe@a.example-me@b.example"
    for suffix in ("", ".NFSLock", ".nfslock", ".NFSLock.shared", ".tmp.1234.567.8901", ".NFSLock.tmp.1.2.3"):
        write(f"0/{node}{suffix}", BODY)
    write("usage/raw", b"1 2 Spool\n")
    write("10/" + node, BODY)
    write("2/" + node, BODY)
    assert mail_spool.names(source) == [f"0/{node}", f"2/{node}", f"10/{node}"]


def test_a_sender_who_looks_like_a_temporary_file_is_not_passed_over(source, write):
    write(f"0/1-{ID}-joe@a.example-me@b.tmp.example", BODY)
    assert len(mail_spool.names(source)) == 1


def test_the_arrival_is_the_time_of_writing_where_falling_back_changed_the_name(source, write):
    name = f"1007009999-{ID}-joe@a.example-"
    write(f"3/{name}", BODY, at=1_007_000_000)
    assert mail_spool.read(source, f"3/{name}").arrival == 1_007_000_000
    write(f"0/{name}", BODY, at=1_700_000_000)  # copied from another machine
    assert mail_spool.read(source, f"0/{name}").arrival == 1_007_009_999
