# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A lease moves while its owner lives, is never made twice, and is not fresh once its owner may be taken for dead."""

import errno
import os
import signal
from pathlib import Path

import pytest

from mailspool.errors import LeaseLost, LeaseStale, SpoolError, Unreadable
from mailspool.store import fsops
from mailspool.store.claim import this_owner
from mailspool.store.lease import BEATS, LATE, LONGEST_BEAT, MARGIN, Lease, beat_interval, leaseholders, read_lease

ME = this_owner()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lease(spool, clock):
    made = Lease(spool.root, ME, 60.0, clock)
    made.create()
    return made


def path(spool):
    return Path(spool.root, "hosts", str(ME))


def counter(spool):
    return read_lease(spool.root, str(ME))


# --- the file


def test_each_beat_moves_the_counter_that_others_read(spool, lease):
    seen = [counter(spool)]
    for _ in range(3):
        lease.beat()
        seen.append(counter(spool))
    assert seen == [0, 1, 2, 3]
    assert len(path(spool).read_bytes()) == 23


def test_a_lease_that_is_gone_is_not_made_anew(spool, lease):
    path(spool).unlink()
    with pytest.raises(LeaseLost, match="taken for dead"):
        lease.beat()
    assert counter(spool) is None
    assert lease.lost
    assert not lease.fresh


def test_a_file_server_that_has_forgotten_the_lease_took_it_away(spool, lease, monkeypatch):
    monkeypatch.setattr(os, "open", refuse(errno.ESTALE))
    with pytest.raises(LeaseLost):
        lease.beat()


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync", "close"])
def test_a_beat_that_fails_is_no_loss_and_counts_for_nothing(spool, lease, clock, monkeypatch, call):
    before = lease.left
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse(errno.EIO))
        with pytest.raises(SpoolError) as error:
            lease.beat()
    assert not isinstance(error.value, LeaseLost)
    assert (lease.left, lease.lost) == (before, False)
    lease.beat()
    assert counter(spool) == 1


def refuse(number):
    def call(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return call


def test_a_lease_is_made_once(lease):
    with pytest.raises(fsops.Exists):
        lease.create()


def test_a_lease_that_cannot_be_made_durable_is_not_there(spool, clock, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    lease = Lease(spool.root, ME, 60.0, clock)
    with pytest.raises(SpoolError):
        lease.create()
    assert leaseholders(spool.root) == []
    assert not lease.fresh


def test_an_owner_that_ends_leaves_no_lease_even_if_others_removed_it_first(spool, lease):
    lease.end()
    assert leaseholders(spool.root) == []
    lease.end()


# --- what others see


def test_only_owners_are_named(spool, lease):
    for name in (f"{ME}~roll-call", ".nfs0001", "README", str(ME.next())):
        Path(spool.root, "hosts", name).write_text("")
    assert sorted(leaseholders(spool.root)) == [str(ME), str(ME.next())]


def test_a_lease_that_is_just_being_made_stands_at_nothing(spool):
    path(spool).touch()
    assert counter(spool) == 0


@pytest.mark.parametrize("content", ["1 2\n", "2 00000000000000000001\n", "1 00000000000000000001\n\n", "{}"])
def test_what_is_no_lease_of_this_version_is_not_guessed_at(spool, content):
    path(spool).write_text(content)
    with pytest.raises(Unreadable):
        counter(spool)


def test_a_lease_is_neither_a_link_nor_a_pipe(spool, lease):
    path(spool).rename(f"{spool.root}/elsewhere")
    path(spool).symlink_to(f"{spool.root}/elsewhere")
    with pytest.raises(SpoolError):
        lease.beat()
    path(spool).unlink()
    os.mkfifo(path(spool))
    with pytest.raises(SpoolError):
        lease.beat()
    with pytest.raises(Unreadable):
        counter(spool)
    assert read_lease(f"{spool.root}/none", str(ME)) is None


# --- fresh


def test_nothing_is_fresh_before_the_lease_is_made(spool, clock):
    lease = Lease(spool.root, ME, 60.0, clock)
    assert not lease.fresh
    with pytest.raises(LeaseStale):
        lease.check()


def test_a_lease_is_fresh_until_a_margin_before_others_may_take_its_owner_for_dead(lease, clock):
    clock.now += 60 * (1 - MARGIN) - 0.001
    lease.check()
    clock.now += 0.002
    assert not lease.fresh
    with pytest.raises(LeaseStale, match="not fresh"):
        lease.check()
    lease.beat()
    lease.check()


def test_it_counts_from_when_a_beat_was_begun_however_late_the_file_server_answers(lease, clock, monkeypatch):
    overwrite = fsops.overwrite

    def hang(*args):
        clock.now += 55
        overwrite(*args)

    monkeypatch.setattr(fsops, "overwrite", hang)
    lease.beat()
    assert lease.left == pytest.approx(-5)


def test_it_is_late_when_two_beats_are_missing_long_before_it_is_not_fresh(lease, clock):
    clock.now += LATE * lease.interval
    assert not lease.late
    clock.now += 0.1
    assert lease.late
    assert lease.fresh
    lease.beat()
    assert not lease.late


def test_a_child_that_beats_keeps_it_fresh_for_its_whole_family_and_one_that_loses_it_tells_all(spool, clock):
    lease = Lease(spool.root, ME, 60.0, clock)
    lease.create()
    clock.now += 1000
    in_child(lease.beat)
    assert lease.fresh
    assert counter(spool) == 1
    in_child(lease.beat)  # another one, after the first was killed: it goes on counting
    assert counter(spool) == 2
    path(spool).unlink()
    in_child(lease.beat)
    assert lease.lost


def in_child(task):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            task()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("lease_time", [3.0, 20.0, 60.0, 3600.0])
def test_most_beats_may_fail_before_anybody_is_taken_for_dead(lease_time):
    assert beat_interval(lease_time) * BEATS <= lease_time
    assert beat_interval(lease_time) <= LONGEST_BEAT
