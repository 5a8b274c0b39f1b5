# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a sink keeps is whole, and what it does not keep leaves nothing behind."""

import shutil

import pytest

from mailspool.cli.sink.keep import Keep
from mailspool.errors import SpoolError
from mailspool.model.envelope import Recipient
from mailspool.submission.command import Transaction

TRANSACTION = Transaction(client="c", protocol="ESMTP", sender="a@b", recipients=[Recipient("c@d")])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mail"


@pytest.fixture
def keep(folder):
    return Keep(str(folder), None, lambda: 1_800_000_000.5)


def test_two_messages_of_one_second_have_two_names(keep, folder):
    for text in (b"one", b"two"):
        content = keep.open()
        content.write(text)
        keep.take(TRANSACTION, content, "peer")
        content.close()
    assert sorted(path.read_bytes() for path in folder.glob("*.eml")) == [b"one", b"two"]
    assert len(list(folder.iterdir())) == 4
    assert (keep.messages, keep.recipients, keep.octets) == (2, 2, 6)


def test_content_that_was_not_taken_is_gone_when_it_is_closed(keep, folder):
    content = keep.open()
    content.write(b"x")
    assert len(list(folder.iterdir())) == 1
    content.close()
    content.close()
    assert list(folder.iterdir()) == []


def test_what_cannot_be_stored_is_not_counted(keep, folder):
    content = keep.open()
    shutil.rmtree(folder)
    with pytest.raises(SpoolError):
        keep.take(TRANSACTION, content, "peer")
    assert keep.messages == 0


def test_a_folder_that_is_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Keep(str(tmp_path / "link"), None).open()
    assert len(list((tmp_path / "real").iterdir())) == 1


def test_a_line_shows_no_more_than_a_terminal_can_bear():
    lines = []
    keep = Keep("", lines.append)
    content = keep.open()
    content.write(b"Subject: " + b"x" * 100 + b"\n\n")
    hostile = Transaction(client="c", protocol="ESMTP", sender="\x1b[2J@b", recipients=[Recipient("c@d")] * 1000)
    keep.take(hostile, content, "peer")
    assert lines[0].isprintable()
    assert len(lines[0]) < 700
