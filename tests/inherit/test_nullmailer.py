# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""nullmailer's queue is read as nullmailer-queue writes it."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import Unreadable
from mailspool.inherit import nullmailer

BODY = b"Received: (nullmailer pid 1 invoked by uid 0);\n\tThu, 1 Jan 1970 00:00:00 -0000\nSubject: x\n\nhello\n"
LINES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(LINES | st.just(""), st.lists(LINES, min_size=1, max_size=5), st.binary(max_size=40))
def test_an_envelope_is_read_back_and_the_message_begins_behind_it(sender, recipients, message):
    file = BytesIO("".join(f"{line}\n" for line in [sender, *recipients, ""]).encode() + message)
    assert nullmailer.read_envelope(file) == (sender, tuple(recipients))
    assert file.read() == message


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"me@a.example", b"me@a.example\n", b"me@a.example\n\nhello", b"a@b.c\nd@e.f\n"),
        *(b"a@b.c\nd\xff@e.f\n\n", b"a@b.c\n" + b"x" * 5000 + b"\n\n"),
    ],
)
def test_what_has_no_whole_envelope_is_refused(content):
    with pytest.raises(Unreadable):
        nullmailer.read_envelope(BytesIO(content))


def test_only_what_is_queued_is_read_and_it_knows_its_arrival(source, folder, write):
    write("queue/1007000001.123", b"\nyou@a.example\nshe@b.example\n\n" + BODY)
    write("queue/.hidden", b"x")
    write("failed/1006000000.1", b"me@a.example\nyou@a.example\n\n" + BODY)
    write("tmp/77", b"me@")
    assert nullmailer.is_one(source)
    assert nullmailer.names(source) == ["queue/1007000001.123"]
    found = nullmailer.read(source, "queue/1007000001.123")
    assert (found.sender, found.recipients, found.arrival) == ("", ("you@a.example", "she@b.example"), 1_007_000_001)
    assert (folder / found.path).read_bytes()[found.start :] == BODY
