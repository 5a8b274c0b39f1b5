# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which directories the daemon refuses, with what words; each command that it names mends what it names."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mailspool.errors import SpoolError
from mailspool.supervisor import places
from mailspool.supervisor.places import Place, faults

ME = os.geteuid()
root = pytest.mark.skipif(ME != 0, reason="only root gives things away")


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "above" / "spool"
    path.mkdir(0o700, parents=True)
    return Place("dequeue_dir", str(path), 0o027)


def only(found):
    (one,) = found
    return one


def mend(fault):
    """Run the command at the fault's end, as an administrator would."""
    subprocess.run(["/bin/sh", "-c", fault.rpartition(": ")[2]], check=True)


def test_a_directory_of_our_own_is_good_and_one_that_is_not_there_is_no_fault(place):
    assert list(faults(place, ME)) == []
    os.rmdir(place.path)
    assert list(faults(place, ME)) == []
    assert list(faults(place._replace(path=f"{place.path}/a/b/c"), ME)) == []


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o777, "write"), (0o720, "write"), (0o705, "look into"), (0o701, "look into"), (0o500, "not even its owner")],
)
def test_a_spool_whose_mode_is_open_is_refused_until_it_is_mended(place, mode, words):
    os.chmod(place.path, mode)
    fault = only(faults(place, ME))
    assert fault.startswith(f"dequeue_dir: {place.path} has mode {mode:04o}, which lets ")
    assert words in fault
    mend(fault)
    assert list(faults(place, ME)) == []


def test_a_run_dir_as_systemd_makes_it_is_good(place):
    os.chmod(place.path, 0o755)
    assert list(faults(places.own_places(place.path, "/nowhere")[0], ME)) == []


def test_who_may_write_above_could_exchange_it(place):
    above = os.path.dirname(place.path)
    os.chmod(above, 0o777)
    fault = only(faults(place, ME))
    assert fault.startswith(f"dequeue_dir: {above} may be written by anybody")
    mend(fault)
    assert list(faults(place, ME)) == []


def test_above_a_sticky_directory_such_as_tmp_is_good(place):
    os.chmod(os.path.dirname(place.path), 0o1777)
    assert list(faults(place, ME)) == []


@root
def test_an_owner_above_who_is_neither_root_nor_the_user_could_exchange_it(place):
    above = os.path.dirname(place.path)
    os.chown(above, 1, 1)
    fault = only(faults(place, ME))
    assert re.match(rf"dequeue_dir: {above} belongs to \w+, who could put something else in its place: ", fault)
    assert list(faults(place, 1)) != []  # it is root's own, below
    mend(fault)
    assert list(faults(place, ME)) == []


@root
def test_a_directory_of_another_s_is_refused_until_it_is_given_back(place):
    os.chown(place.path, 1, 1)
    fault = only(faults(place, ME))
    assert "belongs to daemon, the daemon is root: chown -R root " in fault
    mend(fault)
    assert list(faults(place, ME)) == []


def test_the_directory_itself_is_no_link_and_the_real_one_is_named(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(place.path)
    fault = only(faults(place._replace(path=str(link)), ME))
    assert fault == (f'dequeue_dir: {link} is a symbolic link: name the directory itself: dequeue_dir = "{place.path}"')


def test_a_component_above_may_be_a_link_as_var_run_is(place, tmp_path):
    (tmp_path / "var").symlink_to("above/../above")
    assert list(faults(place._replace(path=f"{tmp_path}/var/spool"), ME)) == []


@root
def test_a_link_above_of_somebody_else_s_is_refused_for_he_may_turn_it(place, tmp_path):
    (tmp_path / "var").symlink_to("above")
    os.lchown(tmp_path / "var", 1, 1)
    fault = only(faults(place._replace(path=f"{tmp_path}/var/spool"), ME))
    assert f"{tmp_path}/var belongs to daemon" in fault
    mend(fault)
    assert list(faults(place._replace(path=f"{tmp_path}/var/spool"), ME)) == []


def test_where_a_link_leads_is_looked_at_too(place, tmp_path):
    open_one = tmp_path / "open"
    open_one.mkdir()
    open_one.chmod(0o777)
    (tmp_path / "var").symlink_to(open_one)
    assert "open may be written by anybody" in only(faults(place._replace(path=f"{tmp_path}/var/spool"), ME))


def test_links_that_lead_in_a_circle_end(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "Too many levels" in only(faults(Place("run_dir", f"{tmp_path}/a/run", 0), ME))


def test_a_file_in_the_place_is_no_directory(place):
    os.rmdir(place.path)
    open(place.path, "w").close()
    fault = only(faults(place, ME))
    assert f"{place.path} is no directory" in fault
    mend(fault)
    assert list(faults(place, ME)) == []


@root
def test_a_read_only_file_system_is_refused_until_it_is_mounted_anew(place):
    code = (
        "import os, subprocess, sys; from mailspool.supervisor import places\n"
        "place = places.Place('dequeue_dir', sys.argv[1], 0o027)\n"
        "(fault,) = places.faults(place, 0)\nprint(fault)\n"
        "subprocess.run(['/bin/sh', '-c', fault.rpartition(': ')[2]], check=True)\n"
        "print(list(places.faults(place, 0)))"
    )
    script = f'mount -t tmpfs -o ro,mode=700 none {place.path} && exec "$0" -c "$1" {place.path}'
    done = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", script, sys.executable, code], capture_output=True, text=True
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    first, second = done.stdout.splitlines()
    assert first == (
        f"dequeue_dir: {place.path}: its file system is mounted read-only: mount -o remount,rw {place.path}"
    )
    assert second == "[]"


def test_who_is_started_by_the_unit_is_told_that_it_may_be_the_unit_which_makes_its_place_read_only(place, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)  # only root is not started so
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert f"or the unit lacks ReadWritePaths={place.path} (systemctl edit" in only(faults(place, ME))


@root
def test_who_cannot_get_to_its_place_is_told_which_folder_is_closed(public_path):
    closed = public_path / "closed"
    (closed / "spool").mkdir(parents=True)
    closed.chmod(0o700)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setuid(1)
            told = list(faults(Place("dequeue_dir", f"{closed}/spool", 0o027), 1))
            status = int(told != [f"dequeue_dir: {closed} is closed to daemon: chmod a+x {closed}"])
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_every_fault_is_told_at_once(place):
    os.chmod(place.path, 0o777)
    with pytest.raises(SpoolError) as raised:
        places.prepare((place, place._replace(option="run_dir")), None)
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == ["dequeue_dir", "run_dir"]


def test_what_is_missing_is_made_for_its_user_alone_and_its_parents_for_all(tmp_path):
    old = os.umask(0o077)
    try:
        places.prepare((Place("run_dir", f"{tmp_path}/a/b/run", 0o022),), None)
    finally:
        os.umask(old)
    assert [os.stat(f"{tmp_path}/{path}").st_mode & 0o777 for path in ("a", "a/b", "a/b/run")] == [0o755, 0o755, 0o700]


def test_a_log_file_that_is_there_is_left_as_it_is_and_none_is_made_through_a_link(tmp_path):
    (tmp_path / "log").write_text("old\n")
    os.chmod(tmp_path / "log", 0o640)
    places.make_log_file(str(tmp_path / "log"), None)
    assert (tmp_path / "log").read_text() == "old\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    places.make_log_file(str(tmp_path / "link"), None)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(SpoolError, match=r"log_file: cannot write .*/link"):
        places.check_log_file(str(tmp_path / "link"))


def test_a_log_file_that_cannot_be_is_refused_with_what_mends_it(tmp_path):
    with pytest.raises(SpoolError, match=f"there is no {tmp_path}/none: mkdir -p {tmp_path}/none$"):
        places.make_log_file(f"{tmp_path}/none/mailspool.log", None)
    with pytest.raises(SpoolError, match=f'is a directory: name a file in it: log_file = "{tmp_path}/mailspool.log"$'):
        places.check_log_file(str(tmp_path))
