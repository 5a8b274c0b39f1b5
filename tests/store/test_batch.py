# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A batch of messages in a directory: durable before the first has its name, whatever the disk and its kernel say."""

import errno
import os
from pathlib import Path

import pytest

from mailspool.errors import SpoolError
from mailspool.store import fsops, syncfs
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import WRITING_TIME, FileStore

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nworld\r\n"
NOW = 1_700_000_000


def files(store):
    return sorted(str(p.relative_to(store.root)) for p in Path(store.root).rglob("*") if not p.is_dir())


def full(*_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def accept(store, letter, messages=3):
    with store.batch() as batch:
        for _ in range(messages):
            batch.accept(letter(), [MESSAGE], NOW)


@pytest.fixture(params=[True, False], ids=["one sync", "each synced"])
def one_sync(request, monkeypatch):
    monkeypatch.setattr(syncfs, "is_enough", lambda _fd: request.param)
    return request.param


@pytest.fixture
def syncs(one_sync, monkeypatch):
    """What was synced, and how many nodes stood in the tier by then."""
    seen = []

    def note(what, fd):
        path = os.readlink(f"/proc/self/fd/{fd}")
        seen.append(
            (
                what,
                path.rpartition("/spool")[2].partition("~")[0],
                len(os.listdir(f"{path.partition('/spool')[0]}/spool/0")),
            )
        )

    monkeypatch.setattr(os, "fsync", lambda fd: note("fsync", fd))
    monkeypatch.setattr(syncfs, "syncfs", lambda fd: note("syncfs", fd))
    return seen


def test_all_contents_are_synced_before_the_first_name_and_the_names_once(spool, letter, one_sync, syncs):
    accept(spool, letter)
    *contents, names = syncs
    assert names == ("fsync", "/0", 3)
    assert [(what, count) for what, _, count in contents] == ([("syncfs", 0)] if one_sync else [("fsync", 0)] * 3)


def test_a_sync_that_fails_leaves_nothing_of_any_message(spool, letter, monkeypatch, one_sync):
    def fail(_fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(*((syncfs, "syncfs", fail) if one_sync else (os, "fsync", fail)))
    with pytest.raises(SpoolError, match="sync"):
        accept(spool, letter)
    assert files(spool) == []


def test_a_name_that_cannot_be_made_takes_all_of_them_back(spool, letter, monkeypatch, one_sync):
    link = os.link

    def fail_at_the_end(source, target):
        if len(os.listdir(f"{spool.root}/0")) == 2:
            full()
        link(source, target)

    monkeypatch.setattr(os, "link", fail_at_the_end)
    with pytest.raises(SpoolError, match="No space left"):
        accept(spool, letter)
    assert files(spool) == []


def test_a_message_that_the_disk_does_not_take_is_no_part_of_it(spool, letter, monkeypatch, one_sync):
    with spool.batch() as batch:
        batch.accept(letter(), [MESSAGE], NOW)
        with monkeypatch.context() as disk:
            disk.setattr(os, "fchmod", full)
            with pytest.raises(SpoolError):
                batch.accept(letter(), [MESSAGE], NOW)
    assert len(files(spool)) == 1


def test_who_takes_a_day_for_a_batch_is_refused_since_others_may_sweep_it_by_then(tmp_path, letter):
    time = [0.0]
    store = FileStore(tmp_path / "spool", this_owner(), boot_clock=lambda: time[0])
    store.create(1)

    def take_a_day():
        with store.batch() as batch:
            batch.accept(letter(), [MESSAGE], NOW)
            time[0] = WRITING_TIME + 1

    with pytest.raises(SpoolError, match="took longer than 24 hours"):
        take_a_day()
    assert files(store) == []


def test_a_batch_for_a_spool_that_was_not_made_says_how_to_make_one(tmp_path, letter):
    store = FileStore(tmp_path / "none", this_owner())
    with pytest.raises(SpoolError, match="starting mailspoold makes it"):
        accept(store, letter)


# --- when one sync is enough


def test_nothing_is_written_through_a_symbolic_link_in_the_place_of_incoming(spool, tmp_path, letter):
    (tmp_path / "elsewhere").mkdir()
    os.rmdir(f"{spool.root}/incoming")
    os.symlink(tmp_path / "elsewhere", f"{spool.root}/incoming")
    with pytest.raises(SpoolError):
        accept(spool, letter)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("size", [10, 100_000], ids=["in memory", "on disk"])
def test_a_file_s_beginning_is_replaced_wherever_it_is_by_then(tmp_path, size):
    with fsops.new_file(str(tmp_path / "x")) as file:
        for piece in (b"blank", b"a" * size, b"b" * size):
            fsops.write(file, piece)
        fsops.rewrite(file, b"first")
    assert (tmp_path / "x").read_bytes() == b"first" + b"a" * size + b"b" * size


@pytest.mark.parametrize(
    ("release", "enough"), [("6.1.0-13-amd64", True), ("5.8", True), ("5.7.19", False), ("4.18.0-553.el8", False)]
)
def test_one_sync_is_enough_only_where_the_kernel_tells_its_errors(release, enough, monkeypatch):
    monkeypatch.setattr(syncfs, "_type", lambda _fd: 0xEF53)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "")))
    assert syncfs.is_enough(0) is enough


@pytest.mark.parametrize(
    ("type_", "enough"), [(0xEF53, True), (0x58465342, True), (0x6969, False), (0x65735546, False)]
)
def test_one_sync_is_enough_on_ext4_and_xfs_and_not_on_nfs_or_fuse(type_, enough, monkeypatch):
    monkeypatch.setattr(syncfs, "_type", lambda _fd: type_)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1.0", "", "")))
    assert syncfs.is_enough(0) is enough


def test_the_kernel_is_asked_and_its_errors_are_raised(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    syncfs.syncfs(fd)
    assert syncfs.is_enough(fd) in (True, False)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs.syncfs(fd)
