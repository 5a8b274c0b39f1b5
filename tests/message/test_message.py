# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a message promises: bytes in are bytes out, its line ends are CRLF, its body is never held."""

import io
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import InputError, UsageError
from mailspool.message.message import Message, to_crlf

texts = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"b.", b"\0", b"\xff", b" ", b"A: b"])).map(b"".join)


def whole(chunks):
    return b"".join(Message(chunks).chunks())


def cut(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(texts)
def test_no_line_end_but_crlf_comes_out(text):
    out = b"".join(to_crlf([text]))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", out)
    assert not out or out.endswith(b"\r\n")


@given(texts)
def test_what_is_no_line_end_is_untouched(text):
    assert re.sub(rb"[\r\n]", b"", b"".join(to_crlf([text]))) == re.sub(rb"[\r\n]", b"", text)


@given(texts, st.data())
def test_cutting_into_chunks_changes_nothing_and_no_chunk_ends_inside_a_crlf(text, data):
    out = list(to_crlf(cut(text, data)))
    assert b"".join(out) == b"".join(to_crlf([text]))
    assert not any(chunk.endswith(b"\r") for chunk in out)


@given(texts)
def test_a_text_in_crlf_form_stays_as_it_is(text):
    once = b"".join(to_crlf([text]))
    assert b"".join(to_crlf([once])) == once


@pytest.mark.parametrize(
    ("given", "made"),
    [(b"\r\r\n", b"\r\n\r\n"), (b"\n\r", b"\r\n\r\n"), (b"a\n.\nb", b"a\r\n.\r\nb\r\n"), (b"\n.\r\n", b"\r\n.\r\n")],
)
def test_a_lone_cr_or_lf_ends_a_line_too(given, made):
    assert b"".join(to_crlf([given])) == made


def test_a_message_goes_out_as_it_came():
    raw = b"tO :  a@b\r\n\t(odd)\r\nX: \xff\xfe\r\nTO: c@d\r\n\r\n.\r\n\0\xff\r\n"
    assert whole([raw]) == raw


@given(texts, st.data())
def test_a_message_in_chunks_is_the_same_message(text, data):
    def outcome(chunks):
        try:
            return whole(chunks)
        except InputError as error:  # a NUL in the header is refused, however it is cut
            return str(error)

    assert outcome(cut(text, data)) == outcome([text])


def test_a_message_without_a_header_is_all_body():
    assert whole([b"hello\nworld"]) == b"\r\nhello\r\nworld\r\n"


def test_an_empty_message_is_an_empty_header():
    assert whole([]) == b"\r\n"


def test_fields_are_found_added_and_removed_whatever_their_case():
    message = Message([b"To: a@b\nBCC: c@d,\n e@f\nbcc: g@h\n\nx\n"])
    assert message.get("bcc") == ["c@d, e@f", "g@h"]
    assert message.head.get("to") == ["a@b"]
    message.delete("Bcc")
    message.add("Date", "today")
    message.prepend("Received", "by x", "id y")
    assert not message.has("bcc")
    assert b"".join(message.chunks()) == b"Received: by x\r\n\tid y\r\nTo: a@b\r\nDate: today\r\n\r\nx\r\n"


def test_a_message_that_was_read_is_not_sent_again_without_its_body():
    message = Message([b"A: b\n\nbody"])
    list(message.chunks())
    with pytest.raises(UsageError, match="already read"):
        list(message.chunks())


def test_a_message_prints_itself():
    file = io.BytesIO()
    Message([b"A: b\n\nbody"]).print(file)
    assert file.getvalue() == b"A: b\r\n\r\nbody\r\n"


def test_a_hundred_megabytes_pass_through_without_being_held():
    line = b"x" * 99 + b"\n"
    tracemalloc.start()
    try:
        message = Message(line * 640 for _ in range(1600))
        size = sum(map(len, message.chunks()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 1600 * 640 * 101 + 2
    assert peak < 2_000_000
