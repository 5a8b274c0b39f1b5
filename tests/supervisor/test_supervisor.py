# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The whole parent, in a forked child, with work that is no mail: files in a directory that workers remove."""

import errno
import json
import os
import re
import signal
import socket
import sys
import time
import traceback
from itertools import count
from pathlib import Path

import pytest

from mailspool import log
from mailspool.errors import ConfigError, SpoolError
from mailspool.model.phase import Phase
from mailspool.supervisor import control, dispatch, looks, pause, shutdown, station, supervisor, trigger
from mailspool.supervisor.job import FAULT, UNSHARED, Job, Limits, Reload, Result
from mailspool.supervisor.pool import Pool
from mailspool.supervisor.supervisor import Supervisor
from tests.running import children_of, eventually, is_running, title_of

LONG = 60.0


class Chores:
    """A job is a file `DESTINATION-WHAT-N` in `todo/`; it is claimed by moving it to `claimed/SERIAL~NAME`.

    WHAT: do (done at once), wait (until `gate` is there; TERM lets it finish), final (the same, past the final
    dot), deaf (the same, and TERM is not heard), die (kills its worker, the first time), poison (kills its worker,
    and cannot be recovered while `unrecoverable-poison` is there), hang (ignores its deadline), fault (a local
    fault while `broken` is there).
    """

    def __init__(self, folder, **changes):
        self.folder = folder
        self.changes = changes
        for name in ("todo", "claimed", "done", "run"):
            (folder / name).mkdir(exist_ok=True)

    def limits(self):
        standard = Limits(workers=4, per_destination=2, cool_down=60.0, tick=3600.0, worker_jobs=1000, shutdown=LONG)
        return standard._replace(**self.changes)

    def jobs(self, look):
        if (self.folder / "unreadable").exists():
            raise SpoolError("the directory cannot be read")
        if (self.folder / "bug").exists():
            raise ValueError("an override's bug")
        hung = self.folder / "hung-look"
        while hung.exists() and hung.read_text() in ("", str(os.getpid())):
            time.sleep(0.005)
        for name in sorted(os.listdir(self.folder / "todo")):
            yield Job(name, name.partition("-")[0], name)

    lease = UNSHARED
    owners = 1

    def begin_anew(self):
        raise AssertionError("nobody takes us for dead")

    def take_lease(self):
        raise AssertionError("nobody takes us for dead")

    def end(self):
        pass

    def preload(self):
        pass

    def reload(self):
        if (self.folder / "bad").exists():
            raise ConfigError(["workers: -1 is wrong"])
        if (self.folder / "bug").exists():
            raise ValueError("an override's bug")
        return Reload(
            type(self)(self.folder, **{**self.changes, "workers": 2}), ["workers: 4 -> 2"], ["run_dir: a -> b"]
        )

    def services(self):
        return []

    def summary(self):
        return {"workers_allowed": self.limits().workers}

    def deferred(self):
        return 12

    def perform(self, jobs, station):
        results = []
        for job in jobs:
            if station.finishing:
                results.append(Result.RETURNED)
                continue
            results.append(self.one(job.key, station))
        return results

    def one(self, name, station):
        claim = self.folder / "claimed" / f"{station.serial}~{name}"
        try:
            (self.folder / "todo" / name).rename(claim)
        except FileNotFoundError:
            return Result.SETTLED
        what = name.split("-")[1]
        try:
            with station.deadline(0.2 if what == "hang" else LONG, "chore"):
                getattr(self, what)(name, station)
        except BaseException as error:
            claim.rename(self.folder / "todo" / name)
            if isinstance(error, OSError):
                station.alarm(FAULT, str(error))
                return Result.FAULT
            if type(error).__name__ == "ShutdownRequested":
                return Result.RETURNED
            raise
        claim.rename(self.folder / "done" / name)
        return Result.DELIVERED

    def do(self, name, station):
        pass

    def wait(self, name, station):
        station.watch(Phase.CONTENT, "mx", LONG)
        while not (self.folder / "gate").exists():
            time.sleep(0.005)

    def final(self, name, station):
        station.watch(Phase.FINAL, "mx", LONG)
        while not (self.folder / "gate").exists():
            time.sleep(0.005)

    def die(self, name, station):
        if not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def deaf(self, name, station):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.wait(name, station)

    def poison(self, name, station):
        os.kill(os.getpid(), signal.SIGKILL)

    def hang(self, name, station):
        if not (self.folder / "hung").exists():
            (self.folder / "hung").touch()
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            time.sleep(LONG)

    def fault(self, name, station):
        if (self.folder / "broken").exists():
            raise OSError("no space left on device")

    def idle(self):
        pass

    def recover(self):
        for claim in (self.folder / "claimed").iterdir():
            claim.rename(self.folder / "todo" / claim.name.partition("~")[2])

    def rearrange(self):
        (self.folder / "rearranged").touch()

    def recover_worker(self, serial, end):
        if (self.folder / "unrecoverable").exists():
            raise SpoolError("the disk does not answer")
        for claim in (self.folder / "claimed").glob(f"{serial}~*"):
            if "poison" in claim.name and (self.folder / "unrecoverable-poison").exists():
                raise ValueError("a bug")
            claim.rename(self.folder / "todo" / claim.name.partition("~")[2])

    # --- the test's side

    def add(self, *names):
        for name in names:
            (self.folder / "todo" / name).touch()

    def names(self, place):
        return sorted(path.name for path in (self.folder / place).iterdir())

    def make(self, name):
        (self.folder / name).touch()

    def remove(self, name):
        (self.folder / name).unlink()


class Running:
    """A supervisor in a forked child."""

    def __init__(self, work, prepare=lambda: None):
        self.work, self.run_dir = work, str(work.folder / "run")
        self.pid = os.fork()
        self._status = None
        if not self.pid:
            self._serve(prepare)
        eventually(lambda: trigger.poke(self.run_dir))

    def _serve(self, prepare):
        code = 1
        try:
            os.dup2(os.open(self.work.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            log.configure("info", "stderr", "chores")
            prepare()
            Supervisor(self.work, self.run_dir, time.monotonic).run()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    @property
    def log(self):
        return (self.work.folder / "log").read_text()

    def poke(self):
        assert trigger.poke(self.run_dir)

    def add(self, *names):
        self.work.add(*names)
        self.poke()

    def status(self):
        return json.loads(control.ask(self.run_dir, "status"))

    def workers(self):
        return [each["pid"] for each in self.status()["workers"]]

    def send(self, number):
        os.kill(self.pid, number)

    def ended(self):
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status is not None

    def end(self):
        eventually(self.ended)
        return self._status

    def at_work(self):
        """Once a job is past the point up to which a shutdown gives it back untried."""
        eventually(lambda: [w for w in self.status()["workers"] if w["phase"] in ("CONTENT", "FINAL")])

    def done(self, *names):
        return eventually(lambda: self.work.names("done") == sorted(names), what=f"{names} in done")


@pytest.fixture
def run(tmp_path):
    """run(prepare=…, **limits): a supervisor that is ready; killed after the test."""
    running = []

    def start(prepare=lambda: None, **changes):
        running.append(Running(Chores(tmp_path, **changes), prepare))
        return running[-1]

    yield start
    for each in running:
        children = children_of(each.pid)
        if not each.ended():
            each.send(signal.SIGKILL)
        each.end()
        eventually(lambda: not any(map(is_running, children)))  # noqa: B023 - called at once


def test_a_poke_starts_work_at_once(run):
    one = run()
    one.add("a-do-1")
    one.done("a-do-1")


def test_all_jobs_are_done_each_once_by_no_more_workers_than_allowed(run):
    one = run(workers=3, per_destination=2)
    names = [f"{where}-do-{n:03}" for where in "abc" for n in range(100)]
    one.add(*names)
    one.done(*names)
    assert eventually(lambda: one.status()["delivered"] == 300)
    assert len(one.workers()) <= 3


def test_a_tick_looks_without_a_poke(run):
    one = run(tick=0.05)
    one.work.add("a-do-1")
    one.done("a-do-1")


def test_jobs_that_wait_keep_no_others_from_going(run):
    one = run()
    one.add(*(f"slow-wait-{n}" for n in range(50)))
    eventually(lambda: len(one.work.names("claimed")) == 1)
    one.add(*(f"b-do-{n}" for n in range(20)))
    one.done(*(f"b-do-{n}" for n in range(20)))
    assert len(one.work.names("claimed")) == 1


def test_the_status_says_who_works_where_and_what_waits(run):
    one = run()
    one.add("slow-wait-1")
    (entry,) = eventually(lambda: [w for w in one.status()["workers"] if w["phase"] == "CONTENT"])
    assert (entry["destination"], entry["host"], entry["worker"]) == ("slow", "mx", 1)
    status = one.status()
    assert (status["pid"], status["stopping"], status["workers_allowed"]) == (one.pid, False, 4)
    assert (status["generation"], status["paused"], status["log_drops"]) == (0, False, 0)
    assert (status["workers_wanted"], status["workers_actual"]) == (4, 1)


def test_the_title_says_who_is_active_what_failed_before_and_when_it_looks_next(run):
    one = run(tick=20.0)
    one.add("slow-wait-1")
    title = r"mailspool: supervisor \[1 active, 12 deferred, next look \d+s\]"
    eventually(lambda: re.fullmatch(title, title_of(one.pid)))


def test_systemd_knows_what_it_does_when_it_hears_that_it_is_ready(run, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(LONG)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        run()
        said = ""
        while "READY=1" not in said:
            said = systemd.recv(4096).decode()
    assert re.search(r"^STATUS=0 active, 12 deferred, next look \d+s$", said, re.MULTILINE)


def test_a_worker_s_title_says_which_phase_began_when(run):
    one = run()
    one.add("slow-wait-1")
    (worker,) = eventually(one.workers)
    title = r"mailspool: worker 1 chore → mx CONTENT since \d\d:\d\d:\d\d"
    eventually(lambda: re.fullmatch(title, title_of(worker)))


def test_an_unknown_request_is_answered(run):
    assert control.ask(run().run_dir, "make coffee") == "unknown request"


def test_a_client_that_says_nothing_does_not_stop_the_parent(run):
    one = run()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(one.run_dir + "/control")
        one.add("a-do-1")
        one.done("a-do-1")


def test_a_worker_retires_after_its_number_of_jobs(run):
    one = run(workers=2, per_destination=1, worker_jobs=5)
    for n in range(12):
        one.add(f"a-do-{n:02}")
        eventually(lambda n=n: len(one.work.names("done")) == n + 1)
    assert one.status()["workers"][-1]["worker"] >= 3
    assert "error" not in one.log


@pytest.mark.parametrize(
    ("module", "call", "number"),
    [(os, "fork", errno.EAGAIN), (os, "fork", errno.ENOMEM), (socket, "socketpair", errno.EMFILE)],
)
def test_a_fork_that_fails_is_said_once_backs_off_and_works_again(run, tmp_path, module, call, number):
    broken = tmp_path / "no-fork"
    real = getattr(module, call)

    def fails(*arguments):
        if broken.exists():
            with (tmp_path / "tries").open("a") as tries:
                tries.write("x")
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    def prepare():
        setattr(module, call, fails)
        pause.FIRST_PAUSE = 0.05

    one = run(prepare)
    one.add("a-wait-1")
    one.at_work()
    broken.touch()
    one.add("b-do-1")
    eventually(lambda: (tmp_path / "tries").exists() and len((tmp_path / "tries").read_text()) >= 3)
    eventually(lambda: one.log.count("what=fork error=") == 1)
    broken.unlink()
    one.done("b-do-1")
    eventually(lambda: "works again what=fork" in one.log)


def test_what_the_machine_lacks_where_nobody_expected_it_is_waited_out(run, tmp_path):
    missing = tmp_path / "no-memory"

    def prepare():
        real = Pool.kill_overdue

        def kill_overdue(self):
            if missing.exists():
                raise MemoryError
            real(self)

        Pool.kill_overdue = kill_overdue
        supervisor.FIRST_PAUSE = pause.FIRST_PAUSE = 0.05

    one = run(prepare)
    one.add("a-do-1")
    one.done("a-do-1")
    missing.touch()
    one.poke()
    eventually(lambda: "what=supervise error=MemoryError()" in one.log)
    missing.unlink()
    one.add("a-do-2")
    one.done("a-do-1", "a-do-2")
    eventually(lambda: "works again what=supervise" in one.log)


def test_a_look_that_fails_is_said_and_tried_again(run):
    one = run(lambda: setattr(pause, "FIRST_PAUSE", 0.05))
    one.work.make("unreadable")
    one.poke()
    eventually(lambda: "the directory cannot be read" in one.log)
    one.work.add("a-do-1")
    one.work.remove("unreadable")
    one.done("a-do-1")


def test_a_bug_in_an_overridden_look_does_not_end_the_daemon(run):
    one = run(lambda: setattr(pause, "FIRST_PAUSE", 0.05))
    one.work.make("bug")
    one.poke()
    eventually(lambda: "an override's bug" in one.log)
    one.work.add("a-do-1")
    one.work.remove("bug")
    one.done("a-do-1")


# --- a look that hangs, or dies


def lookouts(one):
    return [each["pid"] for each in one.status()["services"] if each["role"] == "lookout"]


@pytest.fixture
def hung(run, tmp_path):
    """hung(prepare, **limits): a supervisor whose lookout hangs while `hung-look` is there."""

    def start(*arguments, **changes):
        one = run(*arguments, **changes)
        one.add("a-do-0")
        one.done("a-do-0")
        (lookout,) = lookouts(one)
        (tmp_path / "draft").write_text(str(lookout))
        (tmp_path / "draft").rename(tmp_path / "hung-look")
        eventually(lambda: one.poke() or one.status()["looking"] > 0.1)
        return one

    return start


def test_while_a_look_hangs_the_supervisor_answers_and_ends_in_time(hung):
    one = hung()
    assert one.status()["pid"] == one.pid
    (lookout,) = lookouts(one)
    began = time.monotonic()
    one.send(signal.SIGTERM)
    assert one.end() == 0
    assert time.monotonic() - began < LONG
    eventually(lambda: not is_running(lookout))


def test_a_worker_that_ends_while_a_look_hangs_is_heard_and_its_claims_come_back(run):
    one = run(lambda: setattr(pause, "FIRST_PAUSE", 0.05))
    one.add("a-wait-1")
    one.at_work()
    one.work.make("hung-look")
    one.poke()
    os.kill(one.workers()[0], signal.SIGKILL)
    eventually(lambda: one.work.names("todo") == ["a-wait-1"])
    one.work.make("gate")
    one.work.remove("hung-look")
    one.done("a-wait-1")


def test_a_lookout_that_dies_is_replaced_and_what_it_looked_for_is_found(hung):
    one = hung(lambda: setattr(pause, "FIRST_PAUSE", 0.05))
    one.work.add("a-do-1")
    os.kill(*lookouts(one), signal.SIGKILL)
    one.done("a-do-0", "a-do-1")
    assert "the lookout ended by signal 9" in one.log


def test_a_lookout_that_does_not_answer_is_killed_and_replaced(hung):
    def impatient():
        looks.LOCAL_PATIENCE = pause.FIRST_PAUSE = 0.5

    one = hung(impatient)
    one.work.add("a-do-1")
    one.done("a-do-0", "a-do-1")
    assert one.log.count("lookout overdue, killed") == 1


def test_after_a_reload_another_lookout_looks_while_the_old_one_hangs(hung):
    one = hung()
    (before,) = lookouts(one)
    one.work.add("a-do-1")
    one.send(signal.SIGHUP)
    one.done("a-do-0", "a-do-1")
    assert is_running(before)
    one.work.remove("hung-look")
    eventually(lambda: not is_running(before))


def short_of_patience():
    pause.FIRST_PAUSE = dispatch.FAULT_REST = 0.05


def test_local_faults_of_two_in_a_row_pause_deliveries_until_they_are_over(run):
    one = run(short_of_patience, tick=0.05)
    one.work.make("broken")
    one.add("a-fault-1", "b-fault-2")
    eventually(lambda: "no space left on device" in one.log)
    one.work.remove("broken")
    one.done("a-fault-1", "b-fault-2")
    eventually(lambda: 'works again what="local fault"' in one.log)


def test_the_local_fault_of_one_keeps_no_others_from_going_and_it_is_tried_again(run):
    one = run(short_of_patience, tick=0.05)
    one.work.make("broken")
    one.add("a-fault-1")
    for n in range(5):
        one.add(f"a-do-{n}")
        eventually(lambda n=n: len(one.work.names("done")) == n + 1)
    assert (one.log.count("no space left on device"), one.log.count("works again")) == (1, 0)
    one.work.remove("broken")
    one.done("a-fault-1", *(f"a-do-{n}" for n in range(5)))
    eventually(lambda: 'works again what="local fault"' in one.log)


def test_a_worker_that_is_killed_loses_nothing_and_the_others_go_on(run):
    one = run(lambda: setattr(pause, "FIRST_PAUSE", 0.05))
    one.add("a-die-1", "b-do-1", "a-do-2")
    one.done("a-die-1", "b-do-1", "a-do-2")
    assert "signal 9" in one.log


def test_what_cannot_be_recovered_now_is_recovered_later(run):
    one = run(lambda: setattr(pause, "FIRST_PAUSE", 0.05))
    one.work.make("unrecoverable")
    one.add("a-die-1")
    eventually(lambda: "the disk does not answer" in one.log)
    one.work.remove("unrecoverable")
    one.done("a-die-1")


def test_what_cannot_be_recovered_keeps_back_nothing_that_another_worker_held(run):
    one = run()
    one.work.make("unrecoverable-poison")
    one.add("a-poison-1")
    eventually(lambda: "a bug" in one.log)
    one.add("b-die-1")
    one.done("b-die-1")


def test_a_worker_that_outlives_its_deadline_is_killed_and_what_it_held_comes_back(run):
    def prepare():
        station.KILL_GRACE = 0.2
        pause.FIRST_PAUSE = 0.05

    one = run(prepare)
    one.add("a-hang-1")
    one.done("a-hang-1")
    assert one.log.count("worker overdue, killed") == 1


def test_a_hung_worker_is_killed_although_others_report_all_the_time(run):
    one, numbers = run(lambda: setattr(station, "KILL_GRACE", 0.2)), count()
    one.add("a-hang-1")

    def killed_while_others_report():
        one.add(f"b-do-{next(numbers)}")
        return "worker overdue, killed" in one.log

    eventually(killed_while_others_report)


def test_a_child_of_somebody_else_is_reaped_in_silence(run, tmp_path):
    def prepare():
        pid = os.fork()
        if not pid:
            while not (tmp_path / "stranger").exists():
                time.sleep(0.005)
            os._exit(3)
        (tmp_path / "pid").write_text(str(pid))

    one = run(prepare)
    stranger = int((tmp_path / "pid").read_text())
    (tmp_path / "stranger").touch()
    eventually(lambda: not Path(f"/proc/{stranger}").exists())
    one.add("a-do-1")
    one.done("a-do-1")
    assert "ended" not in one.log


def test_a_bad_configuration_is_refused_and_the_old_one_stays(run):
    one = run()
    one.work.make("bad")
    one.send(signal.SIGHUP)
    eventually(lambda: "workers: -1 is wrong" in one.log)
    assert one.status()["workers_allowed"] == 4
    assert control.ask(one.run_dir, "reload").startswith("refused")
    one.add("a-do-1")
    one.done("a-do-1")


def test_a_reload_names_what_only_a_restart_changes_and_rearranges_what_stands_where_no_place_is_any_more(run):
    one = run()
    answer = "reloaded\nworkers: 4 -> 2\nrun_dir: a -> b, once mailspoold is restarted"
    assert control.ask(one.run_dir, "reload") == answer
    eventually(lambda: (one.work.folder / "rearranged").exists())
    assert 'unchanged until the next restart options="run_dir: a -> b"' in one.log
    assert one.status()["generation"] == 1


def test_ttin_and_ttou_make_it_one_worker_more_or_less_until_the_next_hup(run):
    one = run(workers=2)
    one.send(signal.SIGTTIN)
    eventually(lambda: one.status()["workers_wanted"] == 3)
    for wanted in (2, 1):
        one.send(signal.SIGTTOU)
        eventually(lambda wanted=wanted: one.status()["workers_wanted"] == wanted)
    one.send(signal.SIGTTOU)
    eventually(lambda: one.log.count("workers wanted workers=1") == 2)
    one.send(signal.SIGHUP)
    eventually(lambda: one.status()["workers_wanted"] == 2)


def test_a_worker_too_many_finishes_what_it_does_and_goes_and_an_idle_one_goes_first(run):
    one = run(workers=4)
    one.add("a-do-1", "b-wait-1")
    one.done("a-do-1")
    busy = [w["pid"] for w in one.status()["workers"] if w["destination"] == "b"]
    for wanted in (3, 2, 1):
        one.send(signal.SIGTTOU)
        eventually(lambda wanted=wanted: one.status()["workers_wanted"] == wanted)
    assert eventually(lambda: len(one.workers()) == 1 and one.workers()) == busy
    one.work.make("gate")
    one.done("a-do-1", "b-wait-1")


def test_winch_pauses_until_the_next_hup_and_lets_deliveries_in_progress_end(run):
    one = run(os.setsid)
    one.add("a-wait-1")
    one.at_work()
    for _ in range(2):
        one.send(signal.SIGWINCH)
        eventually(lambda: one.status()["paused"])
    eventually(lambda: title_of(one.pid).startswith("mailspool: supervisor [paused, 1 active"))
    one.add("b-do-1")
    one.work.make("gate")
    one.done("a-wait-1")
    eventually(lambda: not one.workers())
    assert eventually(lambda: one.status()["waiting"]) == 1
    assert one.work.names("todo") == ["b-do-1"]
    one.send(signal.SIGHUP)
    one.done("a-wait-1", "b-do-1")
    assert not one.status()["paused"]


def test_usr1_reopens_the_logs_of_all_and_interrupts_nothing(run, tmp_path):
    def note_it():
        reopened = log.reopen

        def reopen(ident=""):
            if not ident:  # a child's beginning gives one
                (tmp_path / f"reopened-{os.getpid()}").touch()
            reopened(ident)

        log.reopen = supervisor.reopen = reopen

    one = run(note_it)
    one.add("a-wait-1")
    one.at_work()
    one.send(signal.SIGUSR1)
    for pid in (one.pid, *one.workers()):
        eventually(lambda pid=pid: (tmp_path / f"reopened-{pid}").exists())
    one.work.make("gate")
    one.done("a-wait-1")


def test_a_bug_in_an_overridden_reload_does_not_end_the_daemon(run):
    one = run()
    one.work.make("bug")
    assert control.ask(one.run_dir, "reload").startswith("refused")
    one.work.remove("bug")
    assert control.ask(one.run_dir, "reload").startswith("reloaded")


def test_a_reload_lets_deliveries_in_progress_end(run):
    one = run()
    one.add("a-wait-1")
    one.at_work()
    (old,) = one.workers()
    one.send(signal.SIGHUP)
    eventually(lambda: one.status()["workers_allowed"] == 2)
    assert is_running(old)
    one.work.make("gate")
    one.done("a-wait-1")
    eventually(lambda: not is_running(old))
    one.add("a-do-2")
    one.done("a-do-2", "a-wait-1")


def test_a_worker_that_did_not_hear_that_it_shall_go_is_let_go_after_its_batch(run):
    one = run()
    one.add("a-deaf-1")
    one.at_work()
    (old,) = one.workers()
    one.send(signal.SIGHUP)
    eventually(lambda: one.status()["workers_allowed"] == 2)
    one.work.make("gate")
    one.done("a-deaf-1")
    eventually(lambda: not is_running(old))


def test_term_finishes_deliveries_in_progress_and_begins_no_more(run):
    one = run(workers=2, per_destination=1)
    one.add("a-wait-1", "a-wait-2", "a-wait-3")
    one.at_work()
    one.send(signal.SIGTERM)
    eventually(lambda: one.status()["stopping"])
    assert not one.ended()
    one.work.make("gate")
    assert one.end() == 0
    assert one.work.names("done") == ["a-wait-1"]
    assert one.work.names("todo") == ["a-wait-2", "a-wait-3"]
    assert one.work.names("claimed") == []


def test_who_looks_for_jobs_ends_when_no_more_are_begun(run):
    one = run()
    one.add("slow-wait-1")
    one.at_work()
    (lookout,) = [each["pid"] for each in one.status()["services"] if each["role"] == "lookout"]
    one.send(signal.SIGTERM)
    eventually(lambda: not is_running(lookout))
    assert not one.ended()
    one.work.make("gate")
    assert one.end() == 0


def test_when_the_time_to_stop_is_over_claims_are_given_back(run):
    one = run(shutdown=0.1)
    one.add("a-wait-1")
    one.at_work()
    one.send(signal.SIGTERM)
    assert one.end() == 0
    assert (one.work.names("todo"), one.work.names("claimed")) == (["a-wait-1"], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_give_claims_back_at_once(run, number):
    one = run()
    one.add("a-wait-1")
    one.at_work()
    began = time.monotonic()
    one.send(number)
    assert one.end() == 0
    assert time.monotonic() - began < shutdown.AT_ONCE
    assert (one.work.names("todo"), one.work.names("claimed")) == (["a-wait-1"], [])


def test_who_is_past_its_final_dot_is_waited_for_after_term_however_short_the_time(run):
    one = run(shutdown=0.05)
    one.add("a-final-1")
    one.at_work()
    one.send(signal.SIGTERM)
    eventually(lambda: "time to stop is over" in one.log)
    assert not one.ended()
    one.work.make("gate")
    assert one.end() == 0
    assert one.work.names("done") == ["a-final-1"]


def test_idle_workers_do_not_hold_up_the_end(run):
    one = run()
    one.add("a-do-1")
    one.done("a-do-1")
    eventually(lambda: title_of(one.workers()[0]).endswith("idle"))
    began = time.monotonic()
    one.send(signal.SIGTERM)
    assert one.end() == 0
    assert time.monotonic() - began < 5


def test_when_the_parent_is_killed_its_workers_die_and_a_new_one_recovers_at_once(run):
    one = run()
    one.add("a-wait-1", "b-wait-1")
    eventually(lambda: len(one.work.names("claimed")) == 2)
    workers = one.workers()
    one.send(signal.SIGKILL)
    one.end()
    eventually(lambda: not any(map(is_running, workers)))
    one.work.make("gate")
    run().done("a-wait-1", "b-wait-1")


def test_usr2_writes_the_scoreboard_to_the_log(run):
    one = run()
    one.add("slow-wait-1")
    one.at_work()
    one.send(signal.SIGUSR2)
    eventually(lambda: "scoreboard worker=1" in one.log)
    eventually(lambda: "waiting=0" in one.log)


# --- taken for dead


class Sign:
    """Lost while `lost` is there, late while `late` is."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def late(self):
        return (self.folder / "late").exists()

    @property
    def lost(self):
        return (self.folder / "lost").exists()

    @property
    def fresh(self):
        return not self.lost


class Mortal(Chores):
    def __init__(self, folder, **changes):
        super().__init__(folder, **changes)
        self.lease = Sign(folder)

    def begin_anew(self):
        return Heir(self.folder, **self.changes)


class Heir(Chores):
    def take_lease(self):
        while (self.folder / "hung-server").exists():
            time.sleep(0.005)
        if (self.folder / "no-server").exists():
            raise SpoolError("the file server is away")
        (self.folder / "anew").touch()


@pytest.fixture
def late(tmp_path):
    """The file server does not answer from the beginning, as long as this file is there."""
    file = tmp_path / "late"
    file.touch()
    return file


@pytest.fixture
def mortal(tmp_path):
    one = Running(Mortal(tmp_path))
    yield one
    if not one.ended():
        one.send(signal.SIGKILL)
        one.end()


def test_who_was_taken_for_dead_kills_its_workers_and_goes_on_as_another(mortal, tmp_path):
    mortal.add("a-final-1", "b-deaf-1")
    eventually(lambda: len(mortal.work.names("claimed")) == 2)
    before = mortal.workers()
    mortal.work.make("lost")
    mortal.work.make("gate")
    mortal.poke()
    eventually(lambda: (tmp_path / "anew").exists())
    eventually(lambda: not any(map(is_running, before)))
    mortal.done("a-final-1", "b-deaf-1")
    eventually(lambda: mortal.log.count("began anew") == 1)
    assert "local fault" not in mortal.log


def test_a_supervisor_does_not_look_where_it_would_hang_while_the_lease_waits_for_the_file_server(late, mortal):
    mortal.add("a-do-1")
    mortal.poke()
    eventually(lambda: "the file server does not answer" in mortal.log)
    assert mortal.work.names("done") == []
    assert mortal.status()["pid"] == mortal.pid
    late.unlink()
    mortal.done("a-do-1")
    assert mortal.log.count("the file server does not answer") == 1


def test_who_cannot_begin_anew_does_nothing_until_it_can(mortal, tmp_path):
    mortal.work.make("no-server")
    mortal.work.make("lost")
    mortal.poke()
    eventually(lambda: "the file server is away" in mortal.log)
    mortal.work.remove("no-server")
    mortal.add("a-do-1")
    mortal.done("a-do-1")
    assert mortal.log.count('what="begin anew" error=') == 1
    assert (tmp_path / "anew").exists()


def test_a_new_lease_that_hangs_on_the_file_server_keeps_the_supervisor_from_nothing_else(mortal):
    mortal.work.make("hung-server")
    mortal.work.make("lost")
    mortal.poke()
    eventually(lambda: [pid for pid in children_of(mortal.pid) if title_of(pid) == "mailspool: recover"])
    assert mortal.status()["pid"] == mortal.pid
    mortal.send(signal.SIGTERM)
    assert mortal.end() == 0


def test_who_is_taken_for_dead_while_it_stops_finishes_nothing(mortal, tmp_path):
    mortal.add("a-deaf-1")
    eventually(lambda: mortal.work.names("claimed"))
    mortal.send(signal.SIGTERM)
    eventually(lambda: mortal.status()["stopping"])
    mortal.work.make("lost")
    mortal.poke()
    assert mortal.end() == 0
    assert not (tmp_path / "anew").exists()
    assert mortal.work.names("done") == []
