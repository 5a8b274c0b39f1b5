# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The envelope and the survey that finds its facts."""

import itertools
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.envelope import FORMAT_VERSION, Envelope, Facts, Recipient, Survey


def facts_of(chunks):
    survey = Survey(chunks)
    assert list(survey) == list(chunks)
    return survey.facts()


def facts_by_hand(message):
    """What `Survey` promises, told slowly."""
    lines = message.removesuffix(b"\r\n").split(b"\r\n") if message else []
    header = lines[: lines.index(b"")] if b"" in lines else lines
    return Facts(
        size=len(message),
        eight_bit=not message.isascii(),
        utf8_headers=not all(line.isascii() for line in header),
        longest_line=max(map(len, lines), default=0),
        leading_dots=sum(line[:1] == b"." for line in lines),
        received=sum(line.lower().startswith(b"received:") for line in header),
    )


def cut(message, places):
    edges = [0, *sorted(place % (len(message) + 1) for place in places), len(message)]
    return [message[a:b] for a, b in itertools.pairwise(edges)]


lines = st.sampled_from(
    [b"", b".", b"..", b"Received: x", b"received:y", b"Subject: gr\xc3\xbc\xc3\x9f", b"To: a", b"\r", b"\n", b"x\ry"]
) | st.integers(4000, 9000).map(lambda n: b"Subject: " + b"x" * (n // 2) + b"\xe9" * (n % 2) + b"y" * (n // 2))
messages = st.lists(lines, max_size=8).map(lambda parts: b"".join(part + b"\r\n" for part in parts))


@given(messages | st.binary(max_size=100), st.lists(st.integers(0, 60_000), max_size=12))
def test_the_facts_do_not_depend_on_how_the_message_is_cut_into_chunks(message, places):
    assert facts_of(cut(message, places)) == facts_by_hand(message)


@given(messages)
def test_the_facts_are_found_an_octet_at_a_time_too(message):
    assert facts_of(cut(message[:6000], range(6000))) == facts_by_hand(message[:6000])


@pytest.mark.parametrize(
    ("message", "facts"),
    [
        (b"", Facts()),
        (b"\r\nbody\r\n", Facts(size=8, longest_line=4)),
        (b"A: b\r\n\r\nReceived: not a header\r\n", Facts(size=32, longest_line=22)),
        (b"A: b\r\n\r\nunfinished", Facts(size=18, longest_line=10)),
        (b"Received: a\r\nReceived: b\r\n\r\n", Facts(size=28, longest_line=11, received=2)),
        (b"A: \xe9\r\n\r\n", Facts(size=8, longest_line=4, eight_bit=True, utf8_headers=True)),
        (b"A: b\r\n\r\n.\r\n..\r\n", Facts(size=15, longest_line=4, leading_dots=2)),
    ],
)
def test_the_facts_of_small_messages(message, facts):
    assert facts_of([message]) == facts


def test_a_line_without_an_end_is_not_gathered_in_memory():
    block, blocks = b"x" * 65536, 800
    survey = Survey(block for _ in range(blocks))
    tracemalloc.start()
    try:
        assert sum(map(len, survey)) == survey.facts().longest_line == len(block) * blocks
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


envelopes = st.builds(
    Envelope,
    id=st.text("ABC123", min_size=1),
    sender=st.text(),
    recipients=st.lists(
        st.builds(Recipient, st.text(), st.sampled_from([(), ("NEVER",), ("FAILURE", "DELAY")]), st.text())
    ).map(tuple),
    arrival=st.floats(0, 4e9),
    host=st.text(),
    user=st.text(),
    ret=st.sampled_from(["", "FULL", "HDRS"]),
    envid=st.text(),
    facts=st.builds(Facts, st.integers(0, 1 << 40), st.booleans(), st.booleans(), st.integers(0, 999)),
)


@given(envelopes)
def test_an_envelope_is_one_line_of_json_and_reads_back(envelope):
    line = msgspec.json.encode(envelope)
    assert b"\n" not in line
    assert b"\r" not in line
    assert msgspec.json.decode(line, type=Envelope) == envelope


def test_an_envelope_of_a_later_version_with_more_fields_still_reads():
    line = b'{"id":"A","sender":"","recipients":[{"address":"a@b","hue":1}],"arrival":1,"version":1,"more":[]}'
    assert msgspec.json.decode(line, type=Envelope) == Envelope("A", "", (Recipient("a@b"),), 1.0)
    assert FORMAT_VERSION == 1
