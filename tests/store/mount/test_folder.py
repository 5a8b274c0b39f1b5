# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Private folders of check-mount: whose they are, and that they go when, and only when, nobody can be using them."""

import os

import pytest

from mailspool.errors import SpoolError
from mailspool.store.claim import this_owner
from mailspool.store.mount import folder

ME = this_owner()
DEAD = ME._replace(boot="0" * 32)
OTHER = ME._replace(host="elsewhere", boot="1" * 32)


def make(place, owner, age=0.0):
    path = folder.make(str(place), str(owner))
    with open(f"{path}/file", "w") as file:
        file.write("text")
    seconds = os.stat(path).st_mtime - age
    os.utime(path, (seconds, seconds))
    return path


def test_a_folder_is_made_once_and_removed_with_all_that_is_in_it(tmp_path):
    path = make(tmp_path, ME)
    os.mkdir(f"{path}/inner")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("stays")
    os.symlink(tmp_path / "outside", f"{path}/inner/link")
    with pytest.raises(SpoolError, match="it is there already"):
        folder.make(str(tmp_path), str(ME))
    folder.remove(path)
    assert os.listdir(tmp_path) == ["outside"]
    assert (tmp_path / "outside" / "file").read_text() == "stays"
    folder.remove(path)  # again: nothing to do


def test_owners_are_those_who_have_a_folder(tmp_path):
    make(tmp_path, OTHER)
    make(tmp_path, ME)
    for name in ("check-mount.host", "check-mount~summary", str(ME), f"check-mount~summary~{ME}"):
        (tmp_path / name).touch()
    assert folder.owners(str(tmp_path)) == sorted([str(ME), str(OTHER)])


def test_what_a_killed_run_of_this_host_left_is_removed_at_once(tmp_path):
    make(tmp_path, ME)
    make(tmp_path, DEAD)
    for draft in ("check-mount.host", "check-mount~summary"):
        (tmp_path / f"{draft}~{DEAD}").touch()
        (tmp_path / draft).touch()
    names = {f"{name}~{DEAD}" for name in ("check-mount", "check-mount.host", "check-mount~summary")}
    assert set(folder.sweep(str(tmp_path), ME, [])) == names
    assert set(os.listdir(tmp_path)) == {f"check-mount~{ME}", "check-mount.host", "check-mount~summary"}


def test_another_hosts_folder_stays_until_its_run_must_have_ended(tmp_path):
    make(tmp_path, ME)
    make(tmp_path, OTHER, age=folder.OLD - 60)
    old = make(tmp_path, OTHER._replace(pid=7), age=folder.OLD + 60)
    assert list(folder.sweep(str(tmp_path), ME, [])) == [os.path.basename(old)]


def test_who_was_heard_of_just_now_is_left_alone_whatever_we_think_of_it(tmp_path):
    make(tmp_path, ME)
    make(tmp_path, DEAD)
    assert list(folder.sweep(str(tmp_path), ME, [str(DEAD)])) == []


def test_what_is_not_understood_is_left_alone(tmp_path):
    make(tmp_path, ME)
    for name in (f"notes~{DEAD}", "check-mount~", "check-mount~x", str(DEAD)):
        (tmp_path / name).touch()
    assert list(folder.sweep(str(tmp_path), ME, [])) == []
