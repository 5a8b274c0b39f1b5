# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import SpoolError, Unreadable
from mailspool.model.envelope import Facts, Survey
from mailspool.smtp.content import BLOCK, END, blocks, stuff

dotty = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"..", b".\r\n"]), max_size=60).map(b"".join)
messages = st.one_of(dotty, st.binary(max_size=200)).map(lambda octets: octets + b"\r\n")


def unstuff(octets):
    """RFC 5321 §4.5.2, the server's side, written another way: line by line."""
    lines = octets.split(b"\r\n")
    assert b"." not in lines, "this would end the message early"
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


def cut(octets, places):
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(edges)]


def facts_of(message):
    survey = Survey([message])
    list(survey)
    return survey.facts()


@given(messages, st.lists(st.integers(0, 300), max_size=30))
def test_what_is_stuffed_is_unstuffed_to_the_same(message, places):
    assert unstuff(b"".join(stuff(cut(message, places)))) == message


@given(messages, st.lists(st.integers(0, 300), max_size=30))
def test_stuffing_does_not_depend_on_the_blocks(message, places):
    assert b"".join(stuff(cut(message, places))) == b"".join(stuff([message]))


@given(messages)
def test_a_server_gets_the_message_of_the_file(message):
    assert unstuff(b"".join(blocks(io.BytesIO(message), facts_of(message)))) == message


@given(st.integers(-4, 4))
def test_a_dot_at_the_edge_of_a_block_is_doubled(shift):
    message = b"x" * (BLOCK - 2 + shift) + b"\r\n.\r\n.x\r\n"
    assert unstuff(b"".join(blocks(io.BytesIO(message), facts_of(message)))) == message


def test_without_leading_dots_the_octets_are_passed_on_untouched():
    block = b"Subject: x\r\n\r\na . b\r\n"

    class File(io.BytesIO):
        def read(self, size=-1):
            return block

    assert next(blocks(File(), Facts(size=len(block)))) is block


def test_blocks_have_at_most_64_kib():
    message = b"x" * 200_000 + b"\r\n"
    assert [len(block) for block in blocks(io.BytesIO(message), Facts(size=len(message)))] == [65536] * 3 + [3394]


def test_never_more_octets_than_the_envelope_announces():
    assert b"".join(blocks(io.BytesIO(b"one\r\ntwo\r\n"), Facts(size=5))) == b"one\r\n"


def test_an_empty_message_is_one_empty_block():
    assert list(blocks(io.BytesIO(b""), Facts())) == [b""]


def test_a_missing_last_line_end_is_added_so_that_the_dot_begins_a_line():
    assert b"".join(blocks(io.BytesIO(b"one\r\ntwo"), Facts(size=8))) + END == b"one\r\ntwo\r\n.\r\n"
    assert b"".join(blocks(io.BytesIO(b"." * 3), Facts(size=3, leading_dots=1))) == b"....\r\n"


@given(st.integers(0, 140_000))
def test_a_file_that_holds_less_is_unreadable_and_never_complete(missing):
    size = 140_001
    got = []
    with pytest.raises(Unreadable):
        got.extend(blocks(io.BytesIO(b"x" * (size - 1 - missing)), Facts(size=size)))
    assert len(b"".join(got)) < size


def test_a_file_that_cannot_be_read_now_is_a_local_fault_and_not_unreadable():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(SpoolError) as caught:
        list(blocks(Broken(), Facts(size=1)))
    assert type(caught.value) is SpoolError
