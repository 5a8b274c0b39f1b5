# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who is overdue, and who only slept with the machine: real workers, and a clock that is passed in."""

import mmap
import os
import selectors
import socket
import struct
import time

import pytest

from mailspool import log
from mailspool.log.writer import Stderr
from mailspool.model.limit import Limit
from mailspool.model.rules import Rules
from mailspool.model.target import Host
from mailspool.supervisor.child import Ended
from mailspool.supervisor.job import Appointment, Job, Limits, Result, Unshared
from mailspool.supervisor.pool import STALE, Pool
from mailspool.supervisor.processors import FRESH
from mailspool.supervisor.scout import Answer, Verdict
from mailspool.supervisor.station import KILL_GRACE, LOCAL_PATIENCE
from mailspool.supervisor.worker import LETS_GO
from mailspool.supervisor.workers import MAX_SLOTS, SLEPT
from tests.running import eventually, is_running

HOST = Host("mx.example", "192.0.2.1", 25)


class Clock:
    """Passes only when told, also in the workers that were forked before."""

    def __init__(self):
        self._shared = mmap.mmap(-1, 8)

    def __call__(self):
        return struct.unpack("d", self._shared[:])[0]

    def pass_(self, seconds):
        self._shared[:] = struct.pack("d", self() + seconds)


class Waiting:
    """Work that does not end by itself. lease: fresh while a test says so."""

    owners = 1

    def __init__(self):
        self.lease = Unshared()

    def limits(self):
        return Limits(workers=4, per_destination=2, cool_down=60.0, tick=20.0, worker_jobs=1000, shutdown=30.0)

    def perform(self, jobs, station):
        time.sleep(60.0)
        return [Result.SETTLED] * len(jobs)

    def idle(self):
        pass


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(clock):
    selector = selectors.DefaultSelector()
    one = Pool(Waiting(), selector, clock, lambda: one.close_in_child(), lambda serial, how: None)
    yield one
    for worker in [*one.workers, *one.workers.stuck]:
        os.kill(worker.pid, 9)
        one.ended(Ended(*os.waitpid(worker.pid, 0)))
    selector.close()


class HangingUp(Waiting):
    """Work that closes the connection that comes with its order, and then does not end by itself."""

    def perform(self, jobs, station):
        station.connection_to(HOST.address, HOST.port).close()
        return super().perform(jobs, station)


class Computing(Waiting):
    """Work that wants a processor all the time, but for jobs called so it does not end by itself."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def perform(self, jobs, station):
        if jobs[0].group == "endless":
            return super().perform(jobs, station)
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        self._clock.pass_(0.001)
        return [Result.DELIVERED] * len(jobs)


def at_work(pool):
    pool.dispatch.offer([Job("0/a", "a.example", "g")])
    pool.assign()
    (worker,) = pool.workers
    eventually(lambda: worker.slot.read().until < float("inf"))
    return worker


def turns(pool, clock, seconds):
    """The parent's loop, which never sleeps for longer than 10 s."""
    for _ in range(int(seconds // 10)):
        clock.pass_(10)
        pool.kill_overdue()


def test_who_is_overdue_is_killed_once_its_own_alarm_had_its_chance(pool, clock):
    worker = at_work(pool)
    turns(pool, clock, LOCAL_PATIENCE)
    assert is_running(worker.pid)
    turns(pool, clock, KILL_GRACE + 10)
    eventually(lambda: not is_running(worker.pid))


def test_nobody_keeps_a_connection_open_that_the_worker_it_waited_for_has_closed(pool):
    pool.work, pool.dispatch.scouted = HangingUp(), True
    ours, theirs = socket.socketpair()
    pool.dispatch.offer([Job("0/a", "a.example", "g")])
    (question,) = pool.dispatch.questions(pool._clock())
    pool.dispatch.answered(Answer(question.number, Verdict.SPEAKS, HOST), theirs, pool._clock())
    pool.assign()
    ours.settimeout(30)
    with ours:
        assert ours.recv(1) == b""


def unkillable(worker, monkeypatch):
    """As one that is in a system call on a file server that does not answer."""
    monkeypatch.setattr(worker, "signal", lambda number: None)


def test_the_place_of_a_worker_that_cannot_be_killed_is_free_five_seconds_after_its_deadline(pool, clock, monkeypatch):
    worker = at_work(pool)
    unkillable(worker, monkeypatch)
    clock.pass_(worker.slot.read().until - KILL_GRACE - clock())  # its deadline
    pool.workers._last_turn = clock()
    for _ in range(20):
        assert len(pool.workers) == 1
        clock.pass_(0.25)
        pool.kill_overdue()
    assert len(pool.workers) == 0
    pool.dispatch.offer([Job("0/b", "b.example", "h")])
    pool.assign()
    assert len(pool.workers) == 1


def test_who_is_stuck_is_still_awaited_and_what_it_had_claimed_is_recovered_once_it_has_ended(pool, clock, monkeypatch):
    abandoned = []
    monkeypatch.setattr(pool, "_abandoned", lambda serial, how: abandoned.append(serial))
    worker = at_work(pool)
    unkillable(worker, monkeypatch)
    turns(pool, clock, LOCAL_PATIENCE + 40)
    assert (len(pool.workers), abandoned) == (0, [])
    monkeypatch.undo()
    monkeypatch.setattr(pool, "_abandoned", lambda serial, how: abandoned.append(serial))
    worker.signal(9)
    assert pool.ended(Ended(*os.waitpid(worker.pid, 0)))
    assert abandoned == [worker.serial]
    assert len(pool.workers._scoreboard._free) == 2 * MAX_SLOTS


def test_stuck_workers_do_not_fill_the_machine(pool, clock, monkeypatch):
    monkeypatch.setattr("mailspool.supervisor.worker.Worker.signal", lambda *_: None)
    for n in range(12):
        pool.dispatch.offer([Job(f"0/{n}", f"{n}.example", str(n))])
        pool.assign()
        for worker in pool.workers:
            eventually(lambda worker=worker: worker.slot.read().until < float("inf"))
        turns(pool, clock, LOCAL_PATIENCE + 40)
    assert (len(pool.workers), len(pool.workers.stuck)) == (0, 8)  # twice as many as there may be


def test_nobody_is_killed_for_the_time_in_which_the_machine_stood_still(pool, clock):
    worker = at_work(pool)
    clock.pass_(365 * 86400)  # some hypervisors let the monotonic clock jump; Linux stops it in suspend
    pool.kill_overdue()
    assert min(pool.next_events()) == KILL_GRACE
    clock.pass_(KILL_GRACE - 1)
    pool.kill_overdue()
    assert is_running(worker.pid)
    clock.pass_(2)
    pool.kill_overdue()
    eventually(lambda: not is_running(worker.pid))


def test_the_parent_s_own_sleep_is_no_standstill_of_the_machine():
    from mailspool.supervisor.supervisor import LONGEST_SLEEP

    assert LONGEST_SLEEP * 2 < SLEPT


def test_neither_the_clock_nor_the_alarm_runs_while_the_machine_is_suspended():
    assert time.get_clock_info("monotonic").implementation == "clock_gettime(CLOCK_MONOTONIC)"


def test_a_worker_that_cannot_be_heard_is_let_go_and_the_parent_goes_on(pool, clock, monkeypatch):
    def no_watch(*_):
        raise OSError(28, "no watch is left")

    monkeypatch.setattr(pool._selector, "register", no_watch)
    pool.dispatch.offer([Job("0/a", "a.example", "g")])
    pool.assign()
    (worker,) = pool.workers
    assert pool.ended(Ended(*os.waitpid(worker.pid, 0)))
    assert worker.closed
    assert len(pool.dispatch) == 1
    monkeypatch.undo()
    clock.pass_(SLEPT)
    pool.assign()
    assert pool.active == 1


def test_while_the_lease_is_not_fresh_nothing_is_begun_and_it_is_said_once(pool, capfd, monkeypatch):
    monkeypatch.setattr(log, "_writer", Stderr("line"))
    pool.work.lease.fresh = False
    pool.dispatch.offer([Job("0/a", "a.example", "g")])
    for _ in range(3):
        pool.assign()
    assert len(pool.workers) == 0
    assert [alarm["subject"] for alarm in pool.alarms.lines()] == ["lease"]
    assert min(pool.next_events()) == STALE  # nobody tells when it is fresh again
    pool.work.lease.fresh = True
    at_work(pool)
    assert pool.alarms.lines() == []
    told = capfd.readouterr().err
    assert (told.count("lease is not renewed"), told.count("works again")) == (1, 1)


def grant(pool, **limit):
    """As a reload does it; a destination would get two workers without."""
    pool.work.limits = lambda: Waiting().limits()._replace(workers=12, rules=Rules({"*": Limit(**limit)}))
    pool.renew(pool.work)


def test_what_a_reload_grants_counts_for_all_workers_together(pool):
    grant(pool, concurrency=1)
    pool.dispatch.offer(Job(f"0/{n}", "a.example", str(n)) for n in range(4))
    pool.assign()
    assert len(pool.workers) == 1
    pool.dispatch.offer([Job("0/b", "b.example", "b")])
    pool.assign()
    assert sorted(worker.destination for worker in pool.workers) == ["a.example", "b.example"]
    grant(pool, concurrency=2)
    pool.dispatch.offer(Job(f"0/{n}", "a.example", str(n)) for n in range(4, 8))
    pool.assign()
    assert [worker.destination for worker in pool.workers].count("a.example") == 2


def test_a_session_that_may_still_be_open_counts_and_then_makes_room(pool, clock):
    grant(pool, concurrency=1)
    worker = at_work(pool)
    worker.reported(clock(), 0.0)
    worker.leaving = True  # it gets nothing more, and has not said goodbye
    pool.dispatch.offer([Job("0/other", "a.example", "other")])
    pool.assign()
    assert len(pool.workers) == 1
    assert min(pool.next_events()) <= LETS_GO
    clock.pass_(LETS_GO)
    pool.assign()
    assert len(pool.workers) == 2


def test_an_appointment_is_kept_in_time(pool, clock):
    pool.appointments.add([Appointment(Job("1/a", "a.example", "g"), 300.0)], clock())
    pool.assign()
    assert len(pool.workers) == 0
    assert min(pool.next_events()) == pytest.approx(300.0)
    clock.pass_(300.0)
    pool.assign()
    assert [worker.destination for worker in pool.workers] == ["a.example"]


@pytest.fixture
def computing(clock):
    """A pool on one processor, each of whose workers wants it all the time."""
    selector = selectors.DefaultSelector()
    one = Pool(Computing(clock), selector, clock, lambda: None, lambda serial, how: None, processors=1)
    yield one
    for worker in [*one.workers]:
        os.kill(worker.pid, 9)
        one.ended(Ended(*os.waitpid(worker.pid, 0)))
    selector.close()


def test_no_further_worker_is_forked_while_those_at_work_keep_the_processors_busy(computing, clock):
    pool = computing
    pool.dispatch.offer([Job("0/a", "a.example", "g"), Job("0/b", "b.example", "g")])
    pool.assign()
    assert pool.active == 2
    for worker in pool.workers:
        pool.hear(worker)
    pool.dispatch.offer([Job(f"0/{name}", f"{name}.example", "endless") for name in "cde"])
    pool.assign()
    assert (pool.active, len(pool.workers)) == (2, 2)  # who is there goes on
    assert [held.rule for _, held in pool.dispatch.held_back(clock())] == ["processors"]
    assert min(pool.next_events()) <= FRESH
    clock.pass_(FRESH)  # they wait for something
    pool.assign()
    assert pool.active == 3


def test_while_no_worker_has_reported_each_is_taken_for_half_a_processor(computing, clock):
    pool = computing
    pool.dispatch.offer([Job(f"0/{name}", f"{name}.example", "endless") for name in "abc"])
    pool.assign()
    assert pool.active == 2
    clock.pass_(FRESH)  # they wait for something
    pool.assign()
    assert pool.active == 3


def test_a_new_worker_is_taken_to_do_as_the_others(computing):
    pool = computing
    pool.dispatch.offer([Job("0/a", "a.example", "g")])
    pool.assign()
    (first,) = pool.workers
    pool.hear(first)
    first.leaving = True  # so that the next one is a new one
    pool.dispatch.offer([Job("0/b", "b.example", "endless"), Job("0/c", "c.example", "endless")])
    pool.assign()
    assert (pool.active, len(pool.workers)) == (1, 2)
