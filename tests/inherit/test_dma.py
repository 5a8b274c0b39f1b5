# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""dma's queue is read as dma writes it: a pair of files for each recipient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import Unreadable
from mailspool.inherit import dma

VALUES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=40)


def queue_file(sender, recipient, message_id="2d2009.55e874c31860"):
    """`writequeuef`."""
    return f"ID: {message_id}\nSender: {sender}\nRecipient: {recipient}\n".encode()


@given(VALUES.map(str.lstrip).filter(bool), VALUES.map(str.lstrip).filter(bool))
def test_a_queue_file_is_read_back(sender, recipient):
    expected = "" if sender.startswith("<>") else sender
    assert dma.parse_queue_file(queue_file(sender, recipient)) == (expected, recipient)


@pytest.mark.parametrize("sender", ["", "<>", "<>@mail.example.org"])
def test_the_null_sender_is_known_in_all_its_forms(sender):
    assert dma.parse_queue_file(queue_file(sender, "root")) == ("", "root")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"hello\n", b"ID: \xff\n", b"ID: 1\nSender: a\n"),
        *(queue_file("a@b.c", "d@e.f")[:-1], queue_file("a", ""), queue_file("a", "b", "")),
    ],
)
def test_what_is_no_whole_queue_file_is_refused(content):
    with pytest.raises(Unreadable):
        dma.parse_queue_file(content)


def test_pairs_are_read_and_what_has_lost_its_other_half_is_told(source, folder, write):
    write("Q1.a", queue_file("me@a.example", "you@b.example"))
    write("M1.a", b"Subject: x\n\nhello\n", at=1_007_000_000)
    write("Q2.b", queue_file("me@a.example", "you@b.example"))
    write("M3.c", b"Subject: x\n\nhello\n")
    write("flush", b"")
    write("tmp_Ab12", b"Subj")
    write("core", b"")
    assert dma.is_one(source)
    assert dma.names(source) == ["M3.c", "Q1.a", "Q2.b", "core"]
    found = dma.read(source, "Q1.a")
    assert (found.path, found.start, found.sender, found.recipients, found.arrival) == (
        *("M1.a", 0, "me@a.example", ("you@b.example",), 1_007_000_000),
    )
    for name, reason in {"M3.c": "no Q3.c", "Q2.b": "M2.b cannot be read", "core": "no file of dma's"}.items():
        with pytest.raises(Unreadable, match=reason):
            dma.read(source, name)
