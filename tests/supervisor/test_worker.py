# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A worker's place: what may interrupt it, and when; each in a forked child with real signals."""

import contextlib
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from mailspool.errors import DeadlineExceeded, ShutdownRequested
from mailspool.model.phase import Phase
from mailspool.supervisor.child import EXIT_BROKEN
from mailspool.supervisor.job import Job, Order, Result
from mailspool.supervisor.scoreboard import Scoreboard
from mailspool.supervisor.signals import Signals
from mailspool.supervisor.station import KILL_GRACE, LOCAL_PATIENCE, MAX_ALARM, MAX_ALARMS
from mailspool.supervisor.worker import fork_worker
from tests.running import eventually, is_running, title_of

JOB = Job("0/a", "a.example", "g")
LONG = 30.0  # seconds that a child would take if nothing interrupted it


def pause():
    """Until a signal's handler has run: its exception, if it raises one, comes out here."""
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        time.sleep(0.001)


class Doing:
    """Work that does in a worker what the test says, and tells its first words through a pipe."""

    def __init__(self, do):
        self._do = do
        self._reader, self._writer = os.pipe()
        self.idled = 0

    def perform(self, jobs, station):
        return self._do(jobs, station, self.say)

    def idle(self):
        self.say("idle")

    def say(self, word):
        os.write(self._writer, word.encode() + b"\n")

    def heard(self):
        """The next words."""
        return os.read(self._reader, 4096).decode().split()


@pytest.fixture
def start():
    """start(do): a forked worker, and its work; ended after the test."""
    board, workers = Scoreboard(8), []

    def fork(do):
        work = Doing(do)
        worker = fork_worker(work, len(workers) + 1, board.take(), time.monotonic, lambda: None)
        workers.append(worker)
        return worker, work

    yield fork
    for worker in workers:
        worker.signal(signal.SIGKILL)
        if not worker.closed:
            worker.retire()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(worker.pid, 0)


def end_of(worker):
    """Its exit code, or the negative signal."""
    return os.waitstatus_to_exitcode(eventually(lambda: reaped(worker))[1])


def reaped(worker):
    pid, status = os.waitpid(worker.pid, os.WNOHANG)
    return (pid, status) if pid else None


def result_of(worker):
    """What it reports of one job."""
    worker.give(Order([JOB]))
    (result,) = worker.report().results
    return result


def delivering(act):
    """Work that delivers by doing this: the deadline makes it a refusal, a shutdown gives the job back."""

    def do(_jobs, station, say):
        try:
            act(station, say)
        except DeadlineExceeded:
            return [Result.REFUSED]
        except ShutdownRequested:
            return [Result.RETURNED]
        return [Result.DELIVERED]

    return do


def settled(jobs, _station, _say):
    return [Result.SETTLED] * len(jobs)


def alarming(jobs, station, _say):
    for n in range(40):
        station.alarm("mx:587", f"{n} " + "ä" * 4000)
        station.alarm(f"mx{n}:587", "x")
    return [Result.SETTLED] * len(jobs)


def test_alarms_go_with_the_report_of_the_batch_once_each_and_bounded(start):
    worker, _ = start(alarming)
    for _ in range(2):
        worker.give(Order([JOB] * 1000))
        results, alarms, *_ = worker.report()
        assert len(results) == 1000
        assert alarms["mx:587"] == ("39 " + "ä" * 4000)[:MAX_ALARM]
        assert len(alarms) == MAX_ALARMS


def test_it_does_its_batch_reports_and_waits_for_the_next(start):
    worker, _ = start(settled)
    for _ in range(3):
        worker.give(Order([JOB, JOB]))
        assert worker.report().results == [Result.SETTLED, Result.SETTLED]


def test_it_ends_when_its_channel_is_closed(start):
    worker, work = start(settled)
    worker.retire()
    assert end_of(worker) == 0
    assert work.heard() == ["idle"]


def test_without_jobs_it_lets_go_of_its_session_and_goes_on(start):
    worker, work = start(settled)
    result_of(worker)
    assert work.heard() == ["idle"]
    assert result_of(worker) is Result.SETTLED


@pytest.mark.parametrize("rested", [False, True])
def test_term_ends_an_idle_worker_at_once(start, rested):
    worker, work = start(settled)
    result_of(worker)
    if rested:
        assert work.heard() == ["idle"]
        eventually(lambda: title_of(worker.pid).endswith("idle"))
    worker.signal(signal.SIGTERM)
    assert end_of(worker) == 0


def test_term_lets_it_finish_what_is_begun(start):
    @delivering
    def do(station, say):
        with station.deadline(LONG):
            say("begun")
            while not station.finishing:
                time.sleep(0.001)

    worker, work = start(do)
    worker.give(Order([JOB]))
    assert work.heard() == ["begun"]
    worker.signal(signal.SIGTERM)
    assert worker.report().results == [Result.DELIVERED]
    assert end_of(worker) == 0


def test_after_term_nothing_new_is_begun(start):
    def do(jobs, station, say):
        say("begun")
        while not station.finishing:
            time.sleep(0.001)
        try:
            with station.deadline(LONG):
                return [Result.DELIVERED]
        except ShutdownRequested:
            return [Result.RETURNED]

    worker, work = start(do)
    worker.give(Order([JOB]))
    assert work.heard() == ["begun"]
    worker.signal(signal.SIGTERM)
    assert worker.report().results == [Result.RETURNED]


@pytest.mark.parametrize("phase", [phase for phase in Phase if Phase.IDLE < phase < Phase.SEAL])
def test_quit_interrupts_every_phase_before_the_seal(start, phase):
    @delivering
    def do(station, say):
        with station.deadline(LONG):
            station.watch(phase, "mx", LONG)
            say("begun")
            pause()

    worker, work = start(do)
    worker.give(Order([JOB]))
    work.heard()
    worker.signal(signal.SIGINT)
    assert worker.report().results == [Result.RETURNED]


def test_the_deadline_interrupts_before_the_final_dot(start):
    @delivering
    def do(station, _say):
        with station.deadline(0.05):
            station.watch(Phase.CONTENT, "mx", LONG)
            pause()

    worker, _ = start(do)
    assert result_of(worker) is Result.REFUSED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM])
@pytest.mark.parametrize("phase", [Phase.SEAL, Phase.FINAL, Phase.QUIT])
def test_from_the_seal_on_nothing_interrupts(start, number, phase):
    @delivering
    def do(station, say):
        with station.deadline(0.05):
            station.watch(phase, "mx", LONG)
            say("begun")
            until = time.monotonic() + 0.2  # past the budget
            while time.monotonic() < until or not (station.finishing or number == signal.SIGALRM):
                time.sleep(0.001)

    worker, work = start(do)
    worker.give(Order([JOB]))
    work.heard()
    worker.signal(number)
    assert worker.report().results == [Result.DELIVERED]


def test_on_the_next_host_the_rest_of_the_budget_counts_again(start):
    @delivering
    def do(station, _say):
        with station.deadline(0.05):
            station.watch(Phase.FINAL, "one", LONG)
            time.sleep(0.1)
            station.watch(Phase.CONNECT, "two", LONG)
            pause()

    worker, _ = start(do)
    assert result_of(worker) is Result.REFUSED


def test_claiming_and_settling_are_never_interrupted(start):
    def do(jobs, station, say):
        with station.deadline(0.02):
            pass
        say("settling")
        until = time.monotonic() + 0.1
        while time.monotonic() < until or not station.finishing:
            time.sleep(0.001)
        return [Result.SETTLED]

    worker, work = start(do)
    worker.give(Order([JOB]))
    work.heard()
    worker.signal(signal.SIGINT)
    assert worker.report().results == [Result.SETTLED]
    assert end_of(worker) == 0


def test_a_storm_of_signals_around_a_deadline_only_ever_ends_in_one_of_its_two_errors(start):
    def do(jobs, station, say):
        say("begun")
        results = []
        for n in range(len(jobs)):
            try:
                with station.deadline(0.0005):
                    station.watch(Phase(1 + n % 9), "mx", LONG)
                    time.sleep(0.0001)
                results.append(Result.SETTLED)
            except DeadlineExceeded:
                results.append(Result.REFUSED)
            time.sleep(0.0006)  # an alarm left armed would go off here
        return results

    worker, work = start(do)
    worker.give(Order([JOB] * 150))
    work.heard()
    results = worker.report().results
    assert results is not None
    assert len(results) == 150


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
def test_who_leaves_a_deadline_is_not_interrupted_on_the_way(start, number):
    def do(jobs, station, say):
        def strike(frame, event, _arg):
            if event == "call" and frame.f_code.co_name == "__exit__":
                sys.setprofile(None)
                station.handlers[number](number, frame)

        with station.deadline(LONG):
            sys.setprofile(strike)
        say("settling")
        os.read(gate, 1)
        return [Result.DELIVERED]

    gate, key = os.pipe()
    worker, work = start(do)
    worker.give(Order([JOB]))
    work.heard()
    assert worker.slot.read().phase is Phase.SETTLE
    os.write(key, b"x")
    assert worker.report().results == [Result.DELIVERED]


def test_the_parent_reads_by_when_it_must_have_gone_on(start):
    @delivering
    def do(station, say):
        with station.deadline(100.0):
            station.watch(Phase.MAIL, "mx.example", 50.0)
            say("mail")
            os.read(gate, 1)
            station.watch(Phase.SEAL, "mx.example", 0.0)
            say("seal")
            os.read(gate, 1)
            station.watch(Phase.FINAL, "mx.example", 600.0)
            say("final")
            os.read(gate, 1)
        say("settle")
        os.read(gate, 1)

    gate, key = os.pipe()
    worker, work = start(do)
    began = time.monotonic()
    worker.give(Order([JOB]))
    budget, final, local = 100.0, 600.0, LOCAL_PATIENCE  # a seal that hangs on a file server is within the budget
    waits = {Phase.MAIL: budget, Phase.SEAL: budget, Phase.FINAL: final, Phase.SETTLE: local}
    for phase, seconds in waits.items():
        work.heard()
        entry = worker.slot.read()
        assert (entry.phase, entry.host) == (phase, "mx.example")
        assert seconds + KILL_GRACE <= entry.until - began < seconds + KILL_GRACE + 20
        os.write(key, b"x")
    assert worker.report().results == [Result.DELIVERED]
    assert worker.slot.read().until == float("inf")


def test_hangups_from_a_terminal_are_the_parent_s_business(start):
    worker, _ = start(settled)
    assert result_of(worker) is Result.SETTLED
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        worker.signal(number)
    assert result_of(worker) is Result.SETTLED


def test_an_error_that_nobody_expected_ends_the_worker_and_says_so_by_its_exit_code(start):
    def do(jobs, station, say):
        raise RuntimeError("a bug")

    worker, _ = start(do)
    worker.give(Order([JOB]))
    assert worker.report() is None
    assert end_of(worker) == EXIT_BROKEN


def test_a_shutdown_that_reaches_where_nothing_may_be_interrupted_ends_the_worker_with_an_error(start):
    def do(jobs, station, say):
        raise ShutdownRequested

    worker, _ = start(do)
    worker.give(Order([JOB]))
    assert worker.report() is None
    assert end_of(worker) == EXIT_BROKEN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTOU])
def test_a_signal_in_a_worker_s_first_moment_is_heard_as_any_later_one(start, monkeypatch, number):
    real = os.getppid

    def first_thing_in_the_child():
        os.kill(os.getpid(), number)
        return real()

    monkeypatch.setattr("mailspool.supervisor.child.os.getppid", first_thing_in_the_child)
    worker, _ = start(settled)
    if number in (signal.SIGTERM, signal.SIGINT):
        assert end_of(worker) == 0
    else:
        assert result_of(worker) is Result.SETTLED


def test_the_parent_hears_what_came_while_it_forked(start, monkeypatch):
    real = os.fork

    def fork():
        os.kill(os.getpid(), signal.SIGUSR2)
        return real()

    monkeypatch.setattr("mailspool.supervisor.child.os.fork", fork)
    with Signals() as signals:
        worker, _ = start(settled)
        assert signals.take() == [signal.SIGUSR2]
    assert result_of(worker) is Result.SETTLED


def test_giving_to_a_worker_that_is_gone_raises(start):
    worker, _ = start(settled)
    worker.signal(signal.SIGKILL)
    eventually(lambda: not is_running(worker.pid))
    with pytest.raises(OSError):
        worker.give(Order([JOB]))
    assert worker.report() is None
    assert isinstance(worker.channel, socket.socket)


def test_the_title_says_what_has_lasted_also_where_no_signal_is_heard(start):
    @delivering
    def do(station, _say):
        with station.deadline(LONG, "tier 2"):
            station.watch(Phase.FINAL, "mx.example.org[192.0.2.25]:25", LONG)
            os.read(gate, 1)

    gate, key = os.pipe()
    worker, _ = start(do)
    worker.give(Order([JOB]))
    wanted = r"mailspool: worker 1 tier 2 → mx\.example\.org\[192\.0\.2\.25\]:25 FINAL since \d\d:\d\d:\d\d"
    eventually(lambda: re.fullmatch(wanted, title_of(worker.pid)))
    os.write(key, b"x")
    assert worker.report().results == [Result.DELIVERED]


def test_signals_are_for_who_waits_for_a_peer_and_not_for_who_shows_the_title(start):
    worker, _ = start(settled)

    def threads_that_hold_back(number):
        statuses = [path.read_text() for path in Path(f"/proc/{worker.pid}/task").glob("*/status")]
        masks = [int(re.search(r"SigBlk:\s*(\S+)", status)[1], 16) for status in statuses]
        return sorted(mask >> (number - 1) & 1 for mask in masks)

    for number in (signal.SIGALRM, signal.SIGTERM):
        eventually(lambda number=number: threads_that_hold_back(number) == [0, 1])


def test_a_budget_that_begins_while_a_longer_one_still_has_its_alarm_ends_in_its_own_time(start):
    @delivering
    def do(station, say):
        with station.deadline(LONG):
            pass
        say("next")
        with station.deadline(0.05):
            pause()

    worker, work = start(do)
    assert result_of(worker) is Result.REFUSED
    assert "next" in work.heard()


def test_the_alarm_of_a_budget_that_has_ended_cuts_no_other(start):
    def do(jobs, station, say):
        with station.deadline(0.02):
            pass
        began = time.monotonic()
        try:
            with station.deadline(0.1):
                pause()
        except DeadlineExceeded:
            return [Result.REFUSED if time.monotonic() - began >= 0.1 else Result.FAULT]
        return [Result.DELIVERED]

    worker, _ = start(do)
    assert result_of(worker) is Result.REFUSED


def test_the_parent_s_alarm_ends_a_delivery_for_which_others_wait_whatever_is_left_of_its_budget(start):
    @delivering
    def do(station, say):
        with station.deadline(LONG):
            say("begun")
            pause()

    worker, work = start(do)
    for _ in range(2):
        worker.give(Order([JOB]))
        work.heard()
        worker.signal(signal.SIGALRM)
        assert worker.report().results == [Result.REFUSED]
