# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whatever the facts turn out to be, the envelope fits into the line that was kept free for it."""

from io import BytesIO

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.store import messagefile
from mailspool.store.base import Location, State

number = st.integers(0, 10**15 - 1)
text = st.text(st.characters(codec="utf-8"), max_size=40)
envelopes = st.builds(
    Envelope,
    st.from_regex(r"[0-9A-Za-z]{1,64}", fullmatch=True),
    text,
    st.lists(st.builds(Recipient, text, st.lists(text, max_size=3).map(tuple), text), min_size=1, max_size=5).map(
        tuple
    ),
    st.floats(0, 1e12),
    *[text] * 4,
)


@given(envelopes, st.builds(Facts, st.just(5), st.booleans(), st.booleans(), number, number, number))
def test_every_envelope_fits_its_line_and_comes_back(envelope, facts):
    blank = messagefile.blank_line(envelope)
    line = messagefile.envelope_line(envelope, facts, len(blank))
    assert len(line) == len(blank)
    assert line.count(b"\n") == 1
    content = line + b"hello"
    at = Location(State.QUEUED, 0, f"0-{envelope.id}.0-x")
    stored = messagefile.read(BytesIO(content), len(content), at)
    assert stored.envelope == msgspec.structs.replace(envelope, facts=facts)
    assert stored.file.read() == b"hello"


@given(envelopes, number)
def test_the_largest_message_still_fits(envelope, size):
    width = len(messagefile.blank_line(envelope))
    assert len(messagefile.envelope_line(envelope, Facts(size), width)) == width
