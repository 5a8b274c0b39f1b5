# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check-mount` as it is called: what it tells, keeps and leaves behind, alone and with others."""

import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mailspool.cli.mount import run, trial
from mailspool.errors import SpoolError
from mailspool.store import fsops
from mailspool.store.claim import this_owner
from mailspool.store.mount import folder, passed
from mailspool.store.mount.mountinfo import Mount, mount_of
from tests.cli.conftest import BIN
from tests.running import ENVIRONMENT, eventually

HOST = this_owner().host


@pytest.fixture
def spool(house):
    """The directory, which is there, and has not been started in."""
    path = house.root / "spool"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def command(house, *words):
    return [sys.executable, str(BIN / "mailspool"), "check-mount", *words, "-c", str(house.config)]


def found(ran):
    return {(one["check"], one["level"]) for one in json.loads(ran.out)["findings"]}


def left_in(place):
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if "check-mount" in path.name)


# --- alone


def test_a_good_file_system_passes_and_the_result_is_kept(house, spool):
    ran = house.run("check-mount")
    assert (ran.code, ran.err) == (0, "")
    assert "0 problems, 1 warning\n" in ran.out  # what cannot be seen from here
    assert left_in(spool) == [f"hosts/check-mount.{HOST}"]
    kept = passed.read(str(spool), HOST)
    assert kept.problems == 0
    assert passed.lack(str(spool), HOST, mount_of(str(spool)), time.time()) == ""


def test_each_area_is_told(house, spool):
    ran = house.run("check-mount", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    areas = {one["check"] for one in told["findings"]}
    tried = {"clock", "fsync", "links", "names", "listing", "rename", "link", "create", "append", "uid"}
    assert areas == tried | {"mount", "unseen", "room", "result"}
    assert told["mount"]["point"]
    assert told["directory"] == str(spool)


def test_another_directory_is_tried_and_keeps_nothing(house, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = house.run("check-mount", str(elsewhere), "--json")
    assert ran.code == 0
    assert ("result", "ok") not in found(ran)
    assert list(elsewhere.iterdir()) == []


def test_of_a_spool_that_is_not_there_its_parent_is_tried_and_that_is_said(house):
    ran = house.run("check-mount", "-o", f"dequeue_dir={house.root}/later")
    assert ran.code == 0
    assert f"{house.root}/later is mounted, which is not" in " ".join(ran.out.split())
    assert left_in(house.root) == []


def test_where_not_even_the_parent_is_it_says_how_to_make_it(house):
    ran = house.run("check-mount", f"{house.root}/not/there")
    assert ran.code == 75
    assert f"there is no {house.root}/not/there and no {house.root}/not to try: mkdir -p {house.root}/not" in ran.err


def test_beside_a_running_owner_s_files_nothing_is_touched(house, spool):
    message, at = house.node()
    ran = house.run("check-mount")
    assert ran.code == 0
    assert house.store.find(message) == [at]
    assert house.run("fsck").code == 0


def test_what_may_take_long_is_shown_as_it_goes_on(house, spool, monkeypatch):
    """By `terminal.watched`, whose tests are in test_terminal.py."""
    shown = []

    def watched(items, what):
        for item in items:
            shown.append((what, item.area))
            yield item

    monkeypatch.setattr(run, "watched", watched)
    assert house.run("check-mount").code == 0
    assert {("trying", "fsync"), ("trying", "rename"), ("trying", "listing")} <= set(shown)


def test_a_problem_ends_with_1_and_takes_the_pass_away(house, spool, monkeypatch):
    assert house.run("check-mount").code == 0

    def fail(path):
        raise SpoolError(f"cannot sync the directory {path}: Input/output error")

    monkeypatch.setattr(run.checks.files.fsops, "sync_directory", lambda path: fail(path) if "~" in path else None)
    ran = house.run("check-mount", "--json")
    assert ran.code == 1
    assert ("fsync", "problem") in found(ran)
    assert passed.read(str(spool), HOST).problems == 1
    assert "was found not fit" in passed.lack(str(spool), HOST, mount_of(str(spool)), time.time())


def test_what_hangs_is_told_in_time_and_the_rest_is_tried(house, spool, monkeypatch):
    def hang(path):
        time.sleep(60)

    monkeypatch.setattr(run.checks, "SECONDS", 3.0)
    monkeypatch.setattr(fsops, "sync_directory", lambda path: hang(path) if "~" in path else None)
    ran = house.run("check-mount", "--json")
    assert ran.code == 1
    assert {("fsync", "problem"), ("rename", "ok")} <= found(ran)


def test_a_read_only_file_system_is_told_and_nothing_is_tried(house, spool):
    words = " ".join(command(house, "--json"))
    script = f"mount -t tmpfs -o ro,mode=0700 none {spool} && exec {words}"
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    told = {(one["check"], one["level"]): one for one in json.loads(ran.stdout)["findings"]}
    assert told["mount", "problem"]["fix"] == f"mount -o remount,rw {spool}"
    assert "Read-only file system" in told["folder", "problem"]["text"]
    assert ("rename", "ok") not in told


def test_a_network_file_system_says_what_its_server_must_do(house, spool, monkeypatch):
    mount = Mount(str(spool), "nfs4", "srv:/export", ("rw", "vers=4.2", "soft"), ("rw",))
    monkeypatch.setattr(run.mountinfo, "mount_of", lambda _: mount)
    ran = house.run("check-mount", "--json")
    assert ran.code == 1
    texts = {one["fix"] for one in json.loads(ran.out)["findings"]}
    assert {"mount it hard", "on the server: exportfs -v; the line of this export must say sync"} <= texts
    assert passed.read(str(spool), HOST).source == "srv:/export"


def test_it_is_done_by_the_daemons_user_and_what_root_gives_him_too(house):
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        spool = Path(top, "spool")
        spool.mkdir(mode=0o700)
        os.chown(spool, nobody.pw_uid, nobody.pw_gid)
        ran = house.run("check-mount", "-o", "user=nobody", "-o", f"dequeue_dir={spool}")
        assert (ran.code, ran.err) == (0, "")
        assert f"what uid {nobody.pw_uid} makes belongs to it" in ran.out
        assert f"gives them to uid {nobody.pw_uid}" in " ".join(ran.out.split())
        assert "the daemon's user reads what root gave it" in ran.out
        assert {path.stat().st_uid for path in spool.rglob("*")} == {nobody.pw_uid}
        assert left_in(spool) == [f"hosts/check-mount.{HOST}"]
        later = house.run("check-mount", "-o", "user=nobody", "-o", f"dequeue_dir={top}/later")
        assert (later.code, later.err) == (0, "")
        assert os.listdir(top) == ["spool"]


def test_without_the_daemons_user_root_tries_and_says_so(house, spool):
    ran = house.run("check-mount", "-o", "user=no-such-user")
    assert ran.code == 0
    assert "there is no user 'no-such-user'" in " ".join(ran.out.split())


# --- what is left behind


def test_an_interrupt_leaves_nothing(house, spool):
    with subprocess.Popen(command(house, "--peers", "2"), env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        eventually(lambda: folder.owners(str(spool / "hosts")))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT
    eventually(lambda: left_in(spool) == [])


def test_what_a_killed_run_left_is_no_fault_told_by_fsck_and_removed_by_the_next(house, spool):
    house.spool.create_dequeue_dirs()
    with subprocess.Popen(command(house, "--peers", "2"), env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        (owner,) = eventually(lambda: folder.owners(str(spool / "hosts")))
        eventually(lambda: (spool / f"hosts/check-mount~{owner}/hello").exists())
        assert house.run("fsck").code == 0  # it runs
        process.kill()
    ran = house.run("fsck")
    assert "is of a check-mount that was killed; --repair: remove it" in ran.out
    ran = house.run("check-mount")
    assert f"removed check-mount~{owner}, which a killed run has left" in " ".join(ran.out.split())
    assert left_in(spool) == [f"hosts/check-mount.{HOST}"]
    assert house.run("fsck").code == 0


def test_fsck_mends_it_too(house, spool):
    house.spool.create_dequeue_dirs()
    dead = this_owner()._replace(boot="0" * 32)
    folder.make(str(spool / "hosts"), str(dead))
    (spool / f"hosts/check-mount~{dead}/file").touch()
    (spool / "hosts/check-mount~notes").touch()
    ran = house.run("fsck", "--repair", "--yes")
    assert left_in(spool) == ["hosts/check-mount~notes"]  # foreign: left alone
    assert ran.code == 1


# --- with others


@pytest.fixture
def together(house, spool):
    """together(*words for each): the runs, all at once."""

    def start(*runs):
        made = [
            subprocess.Popen(
                command(house, *words), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for words in runs
        ]
        return [(*process.communicate(timeout=100), process.returncode) for process in made]

    return start


def test_several_at_once_race_and_each_tells_what_it_found(together, spool):
    ran = together(*[("--peers", "3", "--json")] * 3)
    for out, err, code in ran:
        assert code == 0, out + err
        assert "waiting at most 2m for 2 other runs of check-mount --peers 3" in err
        told = [(one["check"], one["text"]) for one in json.loads(out)["findings"]]
        assert sum(area == "peers" and text.endswith("found no problem") for area, text in told) == 2
        assert any(area == "rename" and "12 processes on 3 hosts" in text for area, text in told)
        assert sum(area == "listing" for area, _ in told) == 2
    assert left_in(spool) == [f"hosts/check-mount.{HOST}", "hosts/check-mount~summary"]
    summary = json.loads((spool / "hosts/check-mount~summary").read_text())
    assert len(summary["hosts"]) == 3
    assert passed.read(str(spool), HOST).peers == 3


def test_who_waits_in_vain_ends_with_75_and_keeps_the_pass_there_is(house, spool):
    assert house.run("check-mount").code == 0
    before = passed.read(str(spool), HOST)
    ran = house.run("check-mount", "--peers", "2", "--wait", "1s")
    assert ran.code == 75
    assert "only 1 of 2 came within 1 s" in ran.err
    assert passed.read(str(spool), HOST) == before
    assert left_in(spool) == [f"hosts/check-mount.{HOST}"]


def test_one_that_ends_in_the_midst_is_told_by_the_other(house, spool):
    place, doomed = str(spool / "hosts"), this_owner()
    folder.make(place, str(doomed))
    trial.greet(place, doomed)
    with subprocess.Popen(
        command(house, "--peers", "2", "--json"), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as other:
        part = trial.meet(place, doomed, 2, 60.0)
        fsops.close(fsops.create(f"{part.folder}/mine"))
        part.say("mine.ready")
        eventually(lambda: "clocks" in fsops.read_names(part.folder_of(*part.others)))  # it waits for ours
        folder.remove(folder.path_of(place, str(doomed)))
        out, _ = other.communicate(timeout=100)
    assert other.returncode == 1
    texts = [one["text"] for one in json.loads(out)["findings"] if one["level"] == "problem"]
    assert any(f"{HOST} (pid {doomed.pid}) has left before" in text for text in texts)


@pytest.mark.parametrize("wait", ["0", "2h", "soon"])
def test_the_wait_is_bounded(house, wait):
    ran = house.run("check-mount", "--peers", "2", "--wait", wait)
    assert ran.code == 64
    assert "--wait" in ran.err
