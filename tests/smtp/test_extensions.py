# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.smtp.extensions import Extensions, parse_extensions
from mailspool.smtp.reply import Reply


def parse(*lines):
    return parse_extensions(Reply(250, ("mx.example.org greets you", *lines)))


def test_every_keyword_we_know_is_found():
    keywords = ("PIPELINING", "SIZE 1000", "8BITMIME", "STARTTLS", "SMTPUTF8", "DSN", "CHUNKING")
    assert parse(*keywords) == Extensions(True, 1000, True, True, True, True, True)
    assert parse(*(keyword.lower() for keyword in keywords)) == parse(*keywords)


def test_no_keyword_is_a_peer_that_can_nothing():
    assert parse() == Extensions()


def test_the_first_line_is_a_greeting_and_no_keyword():
    assert parse_extensions(Reply(250, ("PIPELINING",))) == Extensions()


@pytest.mark.parametrize(("line", "size"), [("SIZE", 0), ("SIZE 0", 0), ("SIZE 52428800", 52428800), ("SIZE big", 0)])
def test_a_size_without_a_number_is_an_offer_without_a_limit(line, size):
    assert parse(line).size == size


def test_unknown_keywords_are_passed_over():
    assert parse("XCLIENT NAME ADDR", "XAUTH=LOGIN PLAIN", "", "DSN") == Extensions(dsn=True)


@pytest.mark.parametrize("line", ["AUTH PLAIN CRAM-MD5", "auth plain  cram-md5", "AUTH=PLAIN CRAM-MD5"])
def test_the_mechanisms_of_auth_are_read_in_the_old_form_too(line):
    assert parse(line).auth == {"PLAIN", "CRAM-MD5"}


@given(st.lists(st.text(max_size=40), min_size=1))
def test_no_reply_breaks_the_reader(lines):
    parse_extensions(Reply(250, tuple(lines)))


@given(st.text(max_size=30))
def test_no_size_breaks_the_reader(text):
    assert parse(f"SIZE {text}").size >= 0
