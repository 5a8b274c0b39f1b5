# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import io
import itertools
import tempfile
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import SpoolError, Unreadable
from mailspool.model.envelope import Envelope, Facts, Survey
from mailspool.smtp.letter import BLOCK, END, Letter, Part, stuff

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


def letter(file, facts):
    return Letter(Envelope("id1", "joe@example.net", (), 0.0, facts=facts), (), file)


def octets_of(blocks):
    return b"".join(block.read(0, len(block)) if isinstance(block, Part) else block for block in blocks)


def dotted(message, facts=None):
    return octets_of(letter(io.BytesIO(message), facts or facts_of(message)).dotted())


@contextmanager
def in_file(message, before=b"an envelope\n"):
    """A message behind its envelope in a real file."""
    with tempfile.TemporaryFile() as file:
        file.write(before + message)
        file.seek(len(before))
        yield file


@given(messages)
def test_a_server_gets_the_message_of_the_file(message):
    assert unstuff(dotted(message).removesuffix(END)) == message
    size, blocks = letter(io.BytesIO(message), facts_of(message)).chunk()
    assert (size, octets_of(blocks)) == (len(message), message)


@given(st.integers(-4, 4))
def test_a_dot_at_the_edge_of_a_block_is_doubled(shift):
    message = b"x" * (BLOCK - 2 + shift) + b"\r\n.\r\n.x\r\n"
    assert unstuff(dotted(message).removesuffix(END)) == message


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK, 2 * BLOCK + 1, 40 * BLOCK + 7])
@pytest.mark.parametrize("end", [b"\r\n", b"xx", b"\rx", b"\n\n"])
def test_a_large_message_is_sent_from_its_file_whole_and_its_last_block_is_in_memory(size, end):
    message = b"a line\r\n" * (size // 8 - 1) + b"x" * (size % 8 + 6) + end
    whole = message if end == b"\r\n" else message + b"\r\n"
    facts = facts_of(message)
    with in_file(message) as file:
        announced, blocks = letter(file, facts).chunk()
        blocks = list(blocks)
        assert (announced, octets_of(blocks)) == (len(whole), whole)
        assert [isinstance(block, Part) for block in blocks[-2:]] in ([True, False], [False, False], [False])
        assert any(isinstance(block, Part) for block in blocks) is (size >= 2 * BLOCK)
    with in_file(message) as file:
        assert octets_of(letter(file, facts).dotted()) == whole + END


def test_without_leading_dots_the_octets_of_a_chunk_are_passed_on_untouched():
    block = b"Subject: x\r\n\r\na . b\r\n"

    class File(io.BytesIO):
        def read(self, size=-1):
            return block

    assert next(letter(File(), Facts(size=len(block))).chunk()[1]) is block


def test_blocks_in_memory_have_at_most_64_kib():
    message = b"x" * 200_000 + b"\r\n"
    blocks = letter(io.BytesIO(message), Facts(size=len(message))).chunk()[1]
    assert [len(block) for block in blocks] == [65536] * 3 + [3394]


def test_never_more_octets_than_the_envelope_announces():
    assert dotted(b"one\r\ntwo\r\n", Facts(size=5)) == b"one\r\n" + END
    assert octets_of(letter(io.BytesIO(b"one\r\ntwo\r\n"), Facts(size=5)).chunk()[1]) == b"one\r\n"


def test_an_empty_message_is_one_block():
    assert list(letter(io.BytesIO(b""), Facts()).dotted()) == [END]
    size, blocks = letter(io.BytesIO(b""), Facts()).chunk()
    assert (size, list(blocks)) == (0, [b""])


def test_a_missing_last_line_end_is_added_so_that_the_dot_begins_a_line():
    assert dotted(b"one\r\ntwo", Facts(size=8)) == b"one\r\ntwo\r\n.\r\n"
    assert dotted(b"." * 3, Facts(size=3, leading_dots=1)) == b"....\r\n.\r\n"


@pytest.mark.parametrize("form", [Letter.dotted, lambda letter: letter.chunk()[1]], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("dots", [0, 1])
@given(missing=st.integers(0, 140_000))
def test_a_file_that_holds_less_is_unreadable_and_never_complete(form, dots, missing):
    size, got = 140_001, []
    for keep in (io.BytesIO, in_file):
        got.clear()
        with keep(b"x" * (size - 1 - missing)) as file, pytest.raises(Unreadable):
            got.extend(octets_of([block]) for block in form(letter(file, Facts(size=size, leading_dots=dots))))
        assert len(b"".join(got)) < size


def test_a_file_that_cannot_be_read_now_is_a_local_fault_and_not_unreadable():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    for form in (Letter.dotted, lambda letter: letter.chunk()[1]):
        with pytest.raises(SpoolError) as caught:
            list(form(letter(Broken(), Facts(size=1))))
        assert type(caught.value) is SpoolError
