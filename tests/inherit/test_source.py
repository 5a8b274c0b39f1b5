# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The source is only read: nothing is followed, waited on or changed, not even the time of the last access."""

import os

import pytest

from mailspool.errors import Unreadable, UsageError
from mailspool.inherit.source import Source

LONG_AGO = 1_000_000_000


def test_reading_touches_no_access_time(source, folder, write):
    write("0/a", b"hello")
    for path in (folder / "0/a", folder / "0"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert source.names("0") == ["a"]
    with source.open("0/a") as (file, _):
        assert file.read() == b"hello"
    assert [int((folder / path).stat().st_atime) for path in ("0/a", "0")] == [LONG_AGO, LONG_AGO]


def test_what_is_no_regular_file_is_neither_followed_nor_waited_on(source, folder, write):
    write("0/real", b"hello")
    (folder / "0/link").symlink_to("real")
    (folder / "0/folder").mkdir()
    (folder / "linked").symlink_to("0")
    os.mkfifo(folder / "0/fifo")
    for path in ("0/link", "0/folder", "0/fifo", "0/nothing", "linked/real", "0/real/x"):
        with pytest.raises(Unreadable), source.open(path):
            raise AssertionError(path)
    assert source.names("linked") == source.names("nothing") == source.names("0/real") == []
    assert not source.has_folder("linked")
    assert not source.has_folder("0/real")


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_what_is_no_directory_is_refused(folder, write, name):
    write("file", b"")
    with pytest.raises(UsageError, match=name):
        Source(str(folder / name))
