# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Services under the real supervisor: kept running, replaced, told to end, and gone with their parent."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.running import children_of, eventually, is_running, title_of
from tests.supervisor.test_supervisor import Chores, Running


class Clerk:
    """Writes its pid down when it begins; ends at TERM, after `slow` is gone; dies while `broken` is there."""

    name = "clerk"
    to_the_end = False

    def __init__(self, folder, generation):
        self.folder, self.generation = folder, generation
        self.read, self.write = os.pipe()

    def run(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        held_open = os.readlink(f"/proc/self/fd/{self.read}")
        begun = self.folder / f"begun-{os.getpid()}"
        draft = begun.with_name(f"draft-{os.getpid()}")
        draft.write_text(f"{self.generation} {held_open}")
        draft.rename(begun)  # who sees it can read it
        if (self.folder / "broken").exists():
            os._exit(7)
        signal.sigwait({signal.SIGTERM})
        while (self.folder / "slow").exists():
            time.sleep(0.005)

    def close(self, *, unlink):
        os.close(self.read)
        os.close(self.write)
        if unlink:
            (self.folder / "closed").touch()


class Office(Chores):
    def services(self):
        return [Clerk(self.folder, self.changes.get("workers", 4))]


@pytest.fixture
def office(tmp_path):
    one = Running(Office(tmp_path))
    eventually(lambda: begun(tmp_path))
    yield one
    if not one.ended():
        children = children_of(one.pid)
        one.send(signal.SIGKILL)
        one.end()
        eventually(lambda: not any(map(is_running, children)))


def begun(folder):
    return {int(path.name.partition("-")[2]) for path in folder.glob("begun-*")}


def clerks(office):
    return [each["pid"] for each in office.status()["services"] if each["role"] == "clerk"]


def test_a_service_runs_in_a_child_with_its_title_and_stands_in_the_status(office, tmp_path):
    (pid,) = begun(tmp_path)
    assert title_of(pid) == "mailspool: clerk"
    assert clerks(office) == [pid]


def test_a_service_that_dies_is_started_again_and_what_it_holds_open_stays(office, tmp_path):
    (first,) = begun(tmp_path)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(begun(tmp_path)) == 2)
    assert not (tmp_path / "closed").exists()
    assert "service clerk" in office.log


def test_a_service_that_keeps_dying_is_given_longer_and_longer_pauses(office, tmp_path):
    (tmp_path / "broken").touch()
    (first,) = begun(tmp_path)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(begun(tmp_path)) == 3)
    assert office.log.count("local fault") == 1
    (tmp_path / "broken").unlink()
    office.add("a-do-1")
    office.done("a-do-1")


def test_at_the_end_a_service_finishes_and_nothing_is_left(office, tmp_path):
    (tmp_path / "slow").touch()
    (pid,) = begun(tmp_path)
    office.send(signal.SIGTERM)
    eventually(lambda: (tmp_path / "closed").exists())
    assert is_running(pid)
    assert not office.ended()
    (tmp_path / "slow").unlink()
    assert office.end() == 0
    assert not is_running(pid)


def test_a_service_dies_with_its_supervisor(office, tmp_path):
    (pid,) = begun(tmp_path)
    office.send(signal.SIGKILL)
    eventually(lambda: not is_running(pid))


def test_a_reload_starts_the_new_one_at_once_and_lets_the_old_one_finish(office, tmp_path):
    (tmp_path / "slow").touch()
    (old,) = begun(tmp_path)
    office.send(signal.SIGHUP)
    eventually(lambda: len(begun(tmp_path)) == 2)
    (new,) = begun(tmp_path) - {old}
    assert is_running(old)
    assert (tmp_path / f"begun-{new}").read_text().startswith("2 ")
    (tmp_path / "slow").unlink()
    eventually(lambda: not is_running(old))
    assert "local fault" not in office.log
    assert eventually(lambda: old not in clerks(office))
    assert clerks(office) == [new]


def test_workers_hold_nothing_of_a_service_open(office, tmp_path):
    office.add("a-wait-1")
    (worker,) = eventually(office.workers)
    eventually(lambda: office.work.names("claimed"))  # it is at work, and has let go of all that is not its own
    (clerk,) = begun(tmp_path)
    theirs = {os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir()}
    assert (tmp_path / f"begun-{clerk}").read_text().split()[1] not in theirs
    (tmp_path / "gate").touch()


# --- what workers rely on


class Watchman:
    """Hears no TERM."""

    name, to_the_end = "watchman", True

    def run(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
        signal.pause()

    def close(self, *, unlink):
        pass


class Guarded(Office):
    watchman = Watchman()

    def services(self):
        return [self.watchman, *super().services()]

    def end(self):
        (self.folder / "ended").touch()


@pytest.fixture
def guarded(tmp_path):
    one = Running(Guarded(tmp_path))
    eventually(lambda: watchmen(one) and begun(tmp_path))
    yield one
    if not one.ended():
        one.send(signal.SIGKILL)
        one.end()


def watchmen(running):
    return [each["pid"] for each in running.status()["services"] if each["role"] == "watchman"]


def test_what_workers_rely_on_goes_on_over_a_reload(guarded, tmp_path):
    before = watchmen(guarded)
    guarded.send(signal.SIGHUP)
    eventually(lambda: len(begun(tmp_path)) == 2)
    assert watchmen(guarded) == before


def test_what_workers_rely_on_stays_until_they_have_ended_and_is_even_started_again(guarded, tmp_path):
    (watchman,) = watchmen(guarded)
    guarded.add("a-wait-1")
    guarded.at_work()
    guarded.send(signal.SIGTERM)
    eventually(lambda: not clerks(guarded))
    assert watchmen(guarded) == [watchman]
    os.kill(watchman, signal.SIGKILL)
    (second,) = eventually(lambda: watchmen(guarded) if watchmen(guarded) != [watchman] else None)
    assert not (tmp_path / "ended").exists()
    (tmp_path / "gate").touch()
    assert guarded.end() == 0
    assert (tmp_path / "done/a-wait-1").exists()
    assert (tmp_path / "ended").exists()
    eventually(lambda: not is_running(second))


def test_a_supervisor_that_is_killed_ends_nothing(guarded, tmp_path):
    (watchman,) = watchmen(guarded)
    guarded.send(signal.SIGKILL)
    guarded.end()
    eventually(lambda: not is_running(watchman))
    assert not (tmp_path / "ended").exists()
