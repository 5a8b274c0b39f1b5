# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a header promises: it ends where it ends, and no value made here becomes a second field."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import InputError
from mailspool.message import headers
from mailspool.message.headers import (
    MAX_HEADER_OCTETS,
    field_name,
    field_value,
    format_date,
    make_field,
    read_header,
)


@pytest.mark.parametrize(
    ("text", "fields", "rest"),
    [
        (b"", [], b""),
        (b"To: a@b\r\n\r\nhello\r\n", [b"To: a@b\r\n"], b"hello\r\n"),
        (b"To: a@b\r\n", [b"To: a@b\r\n"], b""),
        (b"A: 1\r\n\t2\r\n 3\r\nB: x\r\n\r\n", [b"A: 1\r\n\t2\r\n 3\r\n", b"B: x\r\n"], b""),
        (b"\r\nTo: a@b\r\n", [], b"To: a@b\r\n"),
        (b"just a text\r\nA: b\r\n", [], b"just a text\r\nA: b\r\n"),
        (b" indented: text\r\n", [], b" indented: text\r\n"),
        (b"A: b\r\nno field\r\nC: d\r\n", [b"A: b\r\n"], b"no field\r\nC: d\r\n"),
        (b"From joe Sat Nov 21 10:00:00 2026\r\nA: b\r\n\r\nx\r\n", [b"A: b\r\n"], b"x\r\n"),
        (b"From joe\r\nA: b\r\n", [b"A: b\r\n"], b""),
        (b"From my own point of view\r\n", [], b"From my own point of view\r\n"),
        (b"Odd : b\r\n\r\n", [b"Odd : b\r\n"], b""),
        (b"A: b\r\n \t\r\n\r\nx\r\n", [b"A: b\r\n \t\r\n"], b"x\r\n"),
    ],
)
def test_the_header_ends_where_it_ends(text, fields, rest):
    assert read_header(iter([text])) == (fields, rest)


@given(
    st.lists(st.sampled_from([b"A: b\r\n", b" c\r\n", b"\r\n", b"text\r\n", b"From x\r\n", b"\tz: y\r\n"])), st.data()
)
def test_how_a_message_is_cut_into_chunks_makes_no_difference(lines, data):
    text = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    chunks = iter(pieces)
    fields, rest = read_header(chunks)
    assert (fields, rest + b"".join(chunks)) == read_header(iter([text]))


def test_no_more_is_read_than_the_header_needs():
    chunks = iter([b"A: b\r\n", b"\r\nbody", b"more"])
    assert read_header(chunks) == ([b"A: b\r\n"], b"body")
    assert next(chunks) == b"more"


@pytest.mark.parametrize("line", [b"A: b\r\n", b" b\r\n"])
def test_a_header_without_end_is_refused_by_name(line):
    endless = (b"A: b\r\n" + line * 1000 for _ in range(MAX_HEADER_OCTETS))
    with pytest.raises(InputError, match="header is larger than 1048576 octets"):
        read_header(endless)


def test_a_first_line_without_end_is_refused():
    with pytest.raises(InputError, match="header is larger"):
        read_header(b"x" * 65536 for _ in range(1000))


def test_a_header_of_very_many_folds_costs_linear_time():
    fields, _ = read_header(iter([b"A: b\r\n", *[b" \r\n"] * 300_000]))
    assert len(fields) == 1


def test_a_nul_in_a_header_is_refused_by_the_fields_name():
    with pytest.raises(InputError, match="'subject' holds a NUL"):
        read_header(iter([b"To: a\r\nSubject: a\0b\r\n\r\n"]))


def test_a_field_gives_its_name_in_lower_case_and_its_value_unfolded():
    assert field_name(b"MESSAGE-id \t: <x>\r\n") == "message-id"
    assert field_value(b"Subject:  one\r\n  two\r\n\tthree \r\n") == "one  two\tthree"


@given(st.binary().filter(lambda raw: not set(raw) & set(b"\r\n")))
def test_octets_that_are_no_text_survive_in_a_value(raw):
    assert field_value(b"X: " + raw + b"\r\n").encode("utf-8", "surrogateescape") == raw.strip(b" \t")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_value_never_becomes_a_second_field(value):
    try:
        field = make_field("Subject", value)
    except InputError:
        assert set(value) & set("\r\n\0")
    else:
        assert read_header(iter([field, b"\r\n"])) == ([field], b"")


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("a b", "x"), ("To:", "x"), ("T\nBcc", "x"), ("X", "é" * 500)])
def test_what_cannot_be_a_field_is_refused(name, value):
    with pytest.raises(InputError):
        make_field(name, value)


def test_a_new_field_is_folded_as_it_was_given():
    assert make_field("Received", "by a", "id b") == b"Received: by a\r\n\tid b\r\n"


@pytest.mark.parametrize(
    ("zone", "date"),
    [
        ("UTC0", "Sun, 22 Nov 2026 20:06:25 +0000"),
        ("IST-5:30", "Mon, 23 Nov 2026 01:36:25 +0530"),
        ("NST3:30", "Sun, 22 Nov 2026 16:36:25 -0330"),
    ],
)
def test_a_date_is_that_of_rfc_5322_in_local_time(monkeypatch, zone, date):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    headers._format_second.cache_clear()  # no process changes its zone
    try:
        assert format_date(1795377985.9) == date
    finally:
        monkeypatch.undo()
        time.tzset()
