# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who claims has a lease, and nothing that commits us is begun once it is not fresh."""

from pathlib import Path

import pytest

from mailspool import log
from mailspool.delivery.lease import keep_up, leased, take_lease
from mailspool.delivery.work import SpoolWork
from mailspool.errors import SpoolError
from mailspool.log.writer import Stderr
from mailspool.model.phase import Phase
from mailspool.spool import Spool
from mailspool.store import fsops
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.lease import Lease, leaseholders, read_lease
from mailspool.store.memory import MemoryStore
from mailspool.supervisor.job import UNSHARED, Result
from tests.running import eventually


def send(spool, to="joe@x.example"):
    return spool.send_mail(to=to, from_="me@y.example", message="Subject: hello\n\nworld\n")


# --- nothing is begun


class Frozen:
    """A station whose host freezes when a phase begins, before anything of it is done."""

    def __init__(self, station, clock, phase):
        self._station, self._clock, self._phase = station, clock, phase

    def __getattr__(self, name):
        return getattr(self._station, name)

    def watch(self, phase, host, seconds):
        self._station.watch(phase, host, seconds)
        if phase is self._phase:
            self._clock.now += 100


@pytest.fixture
def sink(sinks):
    """A server that is told one command after the other, so that each is waited for."""
    return sinks(extensions=("SIZE 0",))


@pytest.fixture
def spool(make_spool, sink, clock):
    one = make_spool(sink=sink)
    one.lease = Lease(one.store.root, one.store.owner, 60.0, clock)
    one.lease.create()
    return one


@pytest.fixture
def lines(capfd, monkeypatch):
    monkeypatch.setattr(log, "_writer", Stderr("line"))
    return lambda: capfd.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("frozen_in", "begun"),
    [(Phase.RCPT, "DATA"), (Phase.DATA, "FINAL"), (Phase.RESOLVE, "CONNECT")],
)
def test_who_was_frozen_for_too_long_does_not_go_on(spool, sink, clock, station, jobs_of, frozen_in, begun):
    spool.hosts = ("mx.x.example",)
    send(spool)
    if frozen_in is Phase.RESOLVE:  # the smarthost of a test is an address
        clock.now += 100
    where = station()
    assert SpoolWork(spool).perform(jobs_of(spool), Frozen(where, clock, frozen_in)) == [Result.FAULT]
    assert Phase[begun] not in where.phases
    assert sink.mails == []
    (at,) = spool.store.locations()
    assert at.state is State.QUEUED
    assert spool.store.history(at.name.split("-")[1]) == []  # no verdict on the mail
    spool.lease.beat()
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED]


def test_what_was_delivered_before_the_freeze_is_settled(spool, sink, clock, station, jobs_of):
    send(spool)
    assert SpoolWork(spool).perform(jobs_of(spool), Frozen(station(), clock, Phase.FINAL)) == [Result.DELIVERED]
    assert list(spool.store.locations()) == []


def test_what_was_refused_before_the_freeze_is_reported_by_whoever_has_it_then(spool, sink, clock, station, jobs_of):
    send(spool, "never@x.example")  # 550 to RCPT
    where = Frozen(station(), clock, Phase.RCPT)
    assert SpoolWork(spool).perform(jobs_of(spool), where) == [Result.FAULT]
    (at,) = spool.store.locations()  # no report
    assert at.state is State.QUEUED
    assert "never" in spool.store.open(at).envelope.recipients[0].address
    spool.lease.beat()
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.SETTLED]
    (report,) = spool.store.locations()
    assert spool.store.open(report).envelope.sender == ""


def test_a_spool_that_is_not_shared_needs_no_lease():
    spool = Spool(store=MemoryStore(), smarthost="127.0.0.1:9")
    take_lease(spool)
    assert spool.lease is None
    assert SpoolWork(spool).lease is UNSHARED
    SpoolWork(spool).end()
    assert spool.dequeue()["delivered"] == 0


# --- kept up


class Server:
    """A file server that a test takes away: fsops.overwrite, and how long the beats of `keep_up` wait."""

    def __init__(self, monkeypatch, answers):
        self._overwrite, self._answers = fsops.overwrite, iter(answers)
        monkeypatch.setattr(fsops, "overwrite", self)

    def __call__(self, path, data):
        if not self._answer:
            raise SpoolError("the file server is away")
        self._overwrite(path, data)

    def wait(self, seconds):
        assert seconds == 5
        self._answer = next(self._answers, None)
        return self._answer is None


def test_a_beat_that_fails_is_followed_by_the_next_and_said_once(spool, clock, monkeypatch, lines):
    server = Server(monkeypatch, [True, False, False, False, True, True])
    keep_up(spool.lease, server.wait)
    assert read_lease(spool.store.root, str(this_owner())) == 3
    failed, works = lines()
    assert failed.endswith('lease not renewed, will try again error="the file server is away" fresh_for="50 s"')
    assert "works again" in works


def test_who_has_lost_its_lease_beats_no_more(spool, monkeypatch, lines):
    server = Server(monkeypatch, [True] * 10)
    Path(spool.store.root, "hosts", str(this_owner())).unlink()
    keep_up(spool.lease, server.wait)
    assert spool.lease.lost
    assert ["lease_lost" in line for line in lines()] == [True]
    assert leaseholders(spool.store.root) == []


def test_a_process_without_a_supervisor_has_a_lease_for_as_long_as_it_claims(make_spool, sink):
    spool = make_spool(sink=sink, lease_time=3.0)
    seen = []

    class Looking(Spool):
        def log_usage(self, size, purpose):
            if purpose == "Send":
                before = read_lease(self.store.root, str(this_owner()))
                eventually(lambda: read_lease(self.store.root, str(this_owner())) > before)
                seen.append(self.lease.fresh)

    for _ in range(2):  # the second pass of one process too
        send(spool)
        assert Looking(spool.settings).dequeue()["delivered"] == 1
    assert seen == [True, True]
    assert leaseholders(spool.store.root) == []
    send(spool)
    assert spool.dequeue()["delivered"] == 1
    assert spool.lease is None


def test_no_lease_no_claim(make_spool, sink):
    spool = make_spool(sink=sink)
    send(spool)
    Path(spool.store.root, "hosts").rmdir()
    with pytest.raises(SpoolError, match="hosts"):
        spool.dequeue()
    assert spool.lease is None
    assert [at.state for at in spool.store.locations()] == [State.QUEUED]


def test_a_lease_that_cannot_be_taken_away_is_left_to_others(make_spool, lines, monkeypatch):
    spool = make_spool()
    monkeypatch.setattr(Lease, "end", refuse)
    with leased(spool):
        pass
    assert leaseholders(spool.store.root) == [str(this_owner())]
    assert any("lease left behind" in line for line in lines())
    assert spool.lease is None
    monkeypatch.undo()
    assert spool.dequeue()["delivered"] == 0  # the next pass is somebody else's, and takes the lease for a dead one's
    assert leaseholders(spool.store.root) == []


def test_who_cannot_begin_anew_leaves_no_lease_in_the_way_of_the_next_try(spool, monkeypatch):
    work = SpoolWork(spool)
    with monkeypatch.context() as broken:
        broken.setattr(fsops, "sync_directory", refuse)
        broken.setattr(fsops, "unlink", refuse)
        with pytest.raises(SpoolError):
            work.begin_anew().take_lease()
    anew = work.begin_anew()
    anew.take_lease()
    assert str(anew.lease.owner) == f"{this_owner()}.3"
    anew.recover()
    assert leaseholders(spool.store.root) == [f"{this_owner()}.3"]


def refuse(_lease):
    raise SpoolError("the file server is away")
