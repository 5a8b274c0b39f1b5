# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import PermanentError, TransientError
from mailspool.smtp import reply as reply_module
from mailspool.smtp.reply import Reply, ReplyParser


def parse(*chunks):
    """All replies, then the error's status if there was one."""
    parser = ReplyParser("mx")
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except TransientError as error:
        return [*parser.replies, error.status]
    return list(parser.replies)


def cut(octets, places):
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(edges)]


def wire(reply, end="\r\n"):
    *more, last = reply.lines
    return "".join([*(f"{reply.code}-{line}{end}" for line in more), f"{reply.code} {last}{end}"]).encode()


printable = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=60)
replies = st.builds(Reply, st.integers(200, 599), st.lists(printable, min_size=1, max_size=5).map(tuple))
places = st.lists(st.integers(0, 5000), max_size=20)
smtpish = st.lists(
    st.sampled_from([b"250", b"-", b" ", b"\r\n", b"\n", b"\r", b"550", b"x", b"\0", b"5.1.1 no", b"\xff", b"1" * 700]),
    max_size=40,
).map(b"".join)


@given(st.lists(replies, max_size=8), places, st.sampled_from(["\r\n", "\n"]))
def test_replies_are_the_same_in_whatever_pieces_they_arrive(expected, places, end):
    octets = b"".join(wire(reply, end) for reply in expected)
    assert parse(*cut(octets, places)) == expected


@given(st.one_of(st.binary(max_size=3000), smtpish), places)
def test_garbage_means_the_same_in_whatever_pieces_it_arrives(octets, places):
    assert parse(*cut(octets, places)) == parse(octets)


@given(st.one_of(st.binary(max_size=3000), smtpish))
def test_no_text_of_a_reply_can_forge_a_line(octets):
    for found in parse(octets):
        if isinstance(found, Reply):
            assert len(f"x{found}x".splitlines()) == 1
            assert len(found.text) <= reply_module.MAX_TEXT


@pytest.mark.parametrize("forever", [b"x", b"250-x\r\n", b"250 x\r\n", b"250-" + b"x" * 2000 + b"\r\n", b"250-"])
def test_a_peer_that_never_stops_talking_is_stopped(forever):
    parser = ReplyParser("mx")

    def listen():
        while True:
            parser.feed(forever)

    with pytest.raises(TransientError) as caught:
        listen()
    assert caught.value.status == "4.5.0"
    assert len(parser.replies) <= reply_module.MAX_UNREAD + 1


def test_a_line_of_2048_octets_is_read_and_a_longer_one_is_not():
    line = b"250 " + b"x" * (2048 - 6) + b"\r\n"
    assert parse(line)[0].code == 250
    assert parse(line[:-2]) == []
    assert parse(b"250 x" + line[4:]) == ["4.5.0"]
    assert parse(b"250 x" + line[4:-1]) == ["4.5.0"]


def test_a_reply_has_at_most_500_lines():
    assert len(parse(b"250-x\r\n" * 499 + b"250 x\r\n")[0].lines) == 500
    assert parse(b"250-x\r\n" * 500 + b"250 x\r\n") == ["4.5.0"]


def test_two_codes_in_one_reply_are_an_error():
    assert parse(b"250-one\r\n550 two\r\n") == ["4.5.0"]


@pytest.mark.parametrize(
    "line",
    [b"hello\r\n", b"\r\n", b"99 x\r\n", b"150 x\r\n", b"650 x\r\n", b"250x\r\n", b"2500 x\r\n", b"\xb2\xb3\xb4\n"],
)
def test_what_is_no_reply_is_an_error(line):
    assert parse(line) == ["4.5.0"]


def test_a_code_alone_is_a_reply():
    (reply,) = parse(b"250\r\n")
    assert (reply, str(reply), reply.status) == (Reply(250, ("",)), "250", "2.0.0")


def test_the_text_is_one_line_with_the_status_once():
    (reply,) = parse(b"550-5.7.1 Go away\r\n550-5.7.1 and\r\n550 5.7.1 stay there\r\n")
    assert reply.text == "5.7.1 Go away and stay there"
    assert str(reply) == "550 5.7.1 Go away and stay there"
    assert reply.status == "5.7.1"


def test_a_status_of_another_class_than_the_code_is_not_believed():
    assert Reply(450, ("5.1.1 strange",)).status == "4.0.0"


def test_control_characters_are_made_harmless():
    (reply,) = parse(b"250 a\x1b[2Jb\x00c\rd\te\xc2\x85f\xe2\x80\xa8g\xe2\x80\xaeh\r\n")
    assert reply.text == "a?[2Jb?c?d?e?f?g?h"


def test_octets_that_are_no_utf8_stay_visible():
    assert parse(b"250 gr\xfc\xc3\xbc\r\n")[0].text == "gr\\xfcü"


def test_a_refusal_is_permanent_if_and_only_if_it_is_5yz():
    error = Reply(550, ("5.1.1 no such user",)).as_error("mx[192.0.2.1]:25")
    assert type(error) is PermanentError
    assert str(error) == "host mx[192.0.2.1]:25 said: 550 5.1.1 no such user (5.1.1)"
    assert type(Reply(450, ("later",)).as_error("mx")) is TransientError


def test_the_parser_knows_that_something_is_waiting():
    parser = ReplyParser("mx")
    assert not parser.waiting
    parser.feed(b"250-a\r\n")
    assert parser.waiting
    parser.feed(b"250 b\r\n")
    assert not parser.waiting
