# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What single files can on a good file system, and what is told of one that cannot."""

import errno
import os

import pytest

from mailspool.cli.mount import crew, files
from mailspool.errors import SpoolError
from mailspool.store import fsops
from tests.cli.mount.conftest import levels

CHECKS = [files.durable, files.links, files.names, files.appended]


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_file_system_passes(find, check):
    assert levels(find(check)) == ["ok"]


def test_the_time_of_a_durable_file_is_told(find):
    ((_, text, _),) = find(files.durable)
    assert text.startswith("write, fsync, close and fsync of the directory: ")
    assert " ms a file" in text


def test_slow_syncs_are_told(find, monkeypatch):
    monkeypatch.setattr(files, "SLOW", 0.0)
    ((level, text, fix),) = find(files.durable)
    assert level == "warning"
    assert "each accepted message waits so long" in text
    assert fix


@pytest.mark.parametrize("step", ["sync", "close", "sync_directory"])
def test_an_error_of_a_sync_is_not_passed_over(find, monkeypatch, step):
    def fail(*_):
        raise SpoolError(f"cannot sync it: {os.strerror(errno.EIO)}")

    real = getattr(fsops, step)
    monkeypatch.setattr(
        fsops, step, lambda thing: fail() if "durable" in getattr(thing, "name", thing) else real(thing)
    )
    if step == "sync_directory":
        monkeypatch.setattr(fsops, step, fail)
    with pytest.raises(SpoolError, match="Input/output error"):
        find(files.durable)


def test_what_was_synced_and_is_not_there_is_told(find, monkeypatch):
    read = fsops.read
    monkeypatch.setattr(fsops, "read", lambda path: read(path)[:-1] + b"\0")
    ((level, text, fix),) = find(files.durable)
    assert level == "problem"
    assert "has another content" in text
    assert fix


def test_a_file_system_without_links_is_told(find, monkeypatch):
    def cannot(source, target):
        raise fsops.CannotLink(f"cannot link {target}: Operation not permitted")

    monkeypatch.setattr(fsops, "link", cannot)
    ((level, text, fix),) = find(files.links)
    assert level == "warning"
    assert text.startswith("there are no hard links: ")
    assert "each recipient has a copy" in fix


def test_few_links_are_counted(find, monkeypatch):
    link = fsops.link

    def few(source, target):
        if target.endswith(".8"):
            raise fsops.CannotLink(f"cannot link {target}: Too many links")
        link(source, target)

    monkeypatch.setattr(fsops, "link", few)
    ((level, text, _),) = find(files.links)
    assert level == "warning"
    assert text.startswith("a file has at most 8 names: ")


def test_a_link_that_dies_with_the_first_name_is_told(find, monkeypatch):
    """As where a link is made of a symbolic one."""
    monkeypatch.setattr(fsops, "link", os.symlink)
    with pytest.raises(SpoolError, match="no regular file"):
        find(files.links)


def test_a_copy_is_no_link_but_one_that_is_cut_short_is_told(find, monkeypatch):
    unlink = fsops.unlink

    def cut_all(path):
        with open(path, "w"):  # all links of it
            pass
        unlink(path)

    monkeypatch.setattr(fsops, "unlink", cut_all)
    ((level, text, _),) = find(files.links)
    assert level == "problem"
    assert "is not as good" in text


def test_names_that_cannot_be_long_are_told(find, monkeypatch):
    rename = fsops.rename

    def short(source, target):
        if len(os.path.basename(target)) > 143:
            raise SpoolError(f"cannot rename {source}: File name too long")
        rename(source, target)

    monkeypatch.setattr(fsops, "rename", short)
    ((level, text, _),) = find(files.names)
    assert level == "problem"
    assert text.startswith("a name of 255 octets cannot be: ")


def test_names_that_are_changed_are_told(find, monkeypatch):
    rename = fsops.rename
    monkeypatch.setattr(fsops, "rename", lambda source, target: rename(source, target.replace(":", "_")))
    ((level, text, _),) = find(files.names)
    assert level == "problem"
    assert "is seen otherwise than it was made" in text


def test_case_that_does_not_matter_is_told(find, monkeypatch):
    there = fsops.is_there
    monkeypatch.setattr(fsops, "is_there", lambda path: there(path) or there(path.replace("case-A", "case-a")))
    ((level, text, _),) = find(files.names)
    assert (level, text) == ("warning", "upper and lower case are the same here")


def lossy(path, data):
    if not data.endswith(b"7.\n"):
        with open(path, "ab") as file:
            file.write(data)


def test_lost_lines_are_counted_and_of_one_host_a_warning(find, monkeypatch):
    monkeypatch.setattr(fsops, "append", lossy)
    ((level, text, fix),) = find(files.appended)
    assert level == "warning"
    assert text == f"{5 * files.RACERS} of {50 * files.RACERS} lines appended to one file are lost"
    assert "log_file" in fix


def test_lost_lines_of_several_hosts_are_what_the_spool_expects(find, monkeypatch):
    monkeypatch.setattr(fsops, "append", lossy)
    for ((level, text, _),) in find(files.appended, hosts=2):
        assert level == "ok"
        assert "lost, as on NFS: no file of the spool has two writers" in text


def test_a_child_that_fails_fails_the_check(find, monkeypatch):
    def fail(path, data):
        raise SpoolError(f"cannot append to {path}: No space left on device")

    monkeypatch.setattr(fsops, "append", fail)
    with pytest.raises(SpoolError, match="No space left on device"):
        find(files.appended)
    assert crew.call(lambda: 1, int, 30.0) == 1
