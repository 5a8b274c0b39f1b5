# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The dead of other hosts are recovered after the lease time and not before; nobody who lives, and nobody twice."""

import os
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailspool.errors import ClaimLost, LeaseLost, SpoolError
from mailspool.model.envelope import Envelope, Recipient
from mailspool.store import fsops, recover, rollcall
from mailspool.store.base import Location, State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.lease import Lease
from mailspool.store.nodename import new_id
from mailspool.store.rollcall import RollCall
from mailspool.store.rounds import Rounds
from tests.conftest import Clock
from tests.store import crash

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
NOW = 1_700_000_000
LEASE = 60.0
ELSEWHERE = this_owner()._replace(host="elsewhere", boot="0" * 32)


class World:
    """This host's rounds and another host's owner, on one spool, under one clock."""

    def __init__(self, spool, clock):
        self.spool, self.clock, self.moved = spool, clock, 0
        self.living = []  # how many owners, at each round
        self.other = FileStore(spool.root, ELSEWHERE)
        self.lease = Lease(spool.root, ELSEWHERE, LEASE, clock)
        self.rounds = self.another()

    def another(self, spool=None):
        """The rounds of one more owner."""
        return Rounds(
            spool or self.spool,
            LEASE,
            lambda: RollCall("1", "2", 3, self.clock()),
            self._count,
            self.living.append,
            sleep=self.sleep,
            dice=lambda: 0.5,
            now=lambda: NOW,
            clock=self.clock,
        )

    def _count(self):
        self.moved += 1

    def sleep(self, seconds):
        self.clock.now += seconds

    def watch(self, seconds, beat=False):
        """Rounds for so long; the other owner beats meanwhile, or not."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            if beat:
                self.lease.beat()
            self.rounds.go()
            self.clock.now += 7.5

    def hosts(self):
        return sorted(os.listdir(f"{self.spool.root}/hosts"))


@pytest.fixture
def world(spool, clock):
    return World(spool, clock)


@pytest.fixture
def claimed(world, letter):
    """A claim of the other owner, under its lease."""
    (world.name,) = world.spool.accept(letter(), [MESSAGE], NOW)
    world.lease.create()
    rollcall.write(world.spool.root, str(ELSEWHERE), RollCall("1", "2", 3, 4.0))
    world.claim = world.other.claim(queued(world.name), "w1.1")
    return world


def queued(name, tier=0):
    return Location(State.QUEUED, tier, name)


def test_who_beats_keeps_its_claims_for_ever(claimed):
    claimed.watch(10 * LEASE, beat=True)
    assert list(claimed.spool.locations()) == [claimed.claim]
    assert claimed.moved == 0


def test_who_stops_is_recovered_after_the_lease_time_and_not_before(claimed):
    claimed.watch(100, beat=True)
    claimed.watch(LEASE - 7.5)
    assert list(claimed.spool.locations()) == [claimed.claim]
    claimed.watch(15)
    assert list(claimed.spool.locations()) == [queued(claimed.name)]
    assert claimed.hosts() == []
    assert os.listdir(f"{claimed.spool.root}/claimed") == []
    assert claimed.moved == 1
    claimed.watch(3 * LEASE)
    assert claimed.moved == 1


def test_who_was_only_frozen_finds_its_lease_and_its_node_gone_and_harms_nobody(claimed):
    claimed.watch(LEASE + 15)
    with pytest.raises(SpoolError, match="taken for dead"):
        claimed.lease.beat()
    other = claimed.other
    for act in (other.seal, other.delete, lambda at: other.move(at, queued(claimed.name, 1))):
        with pytest.raises(ClaimLost):
            act(claimed.claim)
    with pytest.raises(ClaimLost):
        other.claim(queued(claimed.name), "w1.2")
    assert list(claimed.spool.locations()) == [queued(claimed.name)]
    assert claimed.hosts() == []


def test_a_sealed_claim_comes_back_with_a_line_that_a_second_copy_is_possible(claimed):
    claimed.other.seal(claimed.claim)
    claimed.watch(LEASE + 15)
    (attempt,) = claimed.spool.history(claimed.name.split("-")[1])
    assert "a second copy is possible" in attempt.text
    assert (attempt.time, attempt.tier, attempt.status) == (NOW, 0, "4.3.0")
    assert list(claimed.spool.locations()) == [queued(claimed.name)]


def test_time_in_which_we_did_not_look_condemns_nobody(claimed):
    for _ in range(20):
        claimed.rounds.go()
        claimed.clock.now += LEASE * 2  # a frozen host, or a file server that was away
    assert list(claimed.spool.locations()) == [claimed.claim]


def test_a_look_that_the_server_held_up_condemns_nobody(claimed, monkeypatch):
    claimed.watch(LEASE - 15)
    read = fsops.read_dated

    def slow(path, octets):
        claimed.clock.now += 300
        return read(path, octets)

    monkeypatch.setattr(fsops, "read_dated", slow)
    claimed.rounds.go()
    monkeypatch.undo()
    claimed.watch(LEASE - 7.5)
    assert list(claimed.spool.locations()) == [claimed.claim]


def test_claims_whose_lease_vanished_are_recovered_after_the_same_time(claimed):
    claimed.watch(LEASE - 15)
    os.unlink(f"{claimed.spool.root}/hosts/{ELSEWHERE}")
    claimed.watch(LEASE - 7.5)
    assert list(claimed.spool.locations()) == [claimed.claim]
    claimed.watch(15)
    assert list(claimed.spool.locations()) == [queued(claimed.name)]


def test_an_owner_without_lease_and_claims_is_left_its_directories(world, letter):
    (name,) = world.spool.accept(letter(), [MESSAGE], NOW)
    world.other.move(world.other.claim(queued(name), "w1.1"), queued(name, 1))
    world.watch(5 * LEASE)
    assert world.other.claim(queued(name, 1), "w1.2")


def test_what_an_ended_owner_said_of_itself_goes_with_it(world):
    rollcall.write(world.spool.root, str(ELSEWHERE), RollCall("1", "2", 3, 4.0))
    Path(world.spool.root, "hosts", "README").write_text("mine")
    world.watch(LEASE + 15)
    assert world.hosts() == ["README"]


def test_owners_of_this_host_that_run_no_more_are_recovered_at_once(world, letter):
    (name,) = world.spool.accept(letter(), [MESSAGE], NOW)
    dead = this_owner()._replace(start=1)
    FileStore(world.spool.root, dead).claim(queued(name), "w1.1")
    Lease(world.spool.root, dead, LEASE, world.clock).create()
    world.rounds.go()
    assert list(world.spool.locations()) == [queued(name)]
    assert (world.hosts(), world.moved) == ([], 1)


def test_a_host_that_bears_our_name_is_not_our_own_past_while_its_lease_moves_and_is_told(world, letter, caplog):
    (name,) = world.spool.accept(letter(), [MESSAGE], NOW)
    namesake = this_owner()._replace(boot="1" * 32)
    claim = FileStore(world.spool.root, namesake).claim(queued(name), "w1.1")
    world.lease = Lease(world.spool.root, namesake, LEASE, world.clock)
    world.lease.create()
    world.watch(3 * LEASE, beat=True)
    assert list(world.spool.locations()) == [claim]
    (alarm,) = world.rounds._alarms.lines()
    assert alarm["text"] == f"{namesake} lives and has this host's name: give each host one of its own"
    world.watch(LEASE + 15)
    assert list(world.spool.locations()) == [queued(name)]


def test_one_of_our_own_past_whose_lease_goes_late_is_no_namesake(world):
    past = Lease(world.spool.root, this_owner()._replace(boot="1" * 32), LEASE, world.clock)
    past.create()
    rollcall.write(world.spool.root, str(past.owner), RollCall("1", "2", 3, 4.0))
    world.watch(20)
    os.unlink(f"{world.spool.root}/hosts/{past.owner}")
    world.watch(20)
    assert world.rounds._alarms.lines() == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(9))  # the steps of "recover" in docs/spool-format.md
def test_a_recovery_that_was_cut_short_anywhere_is_finished_by_any_other_host(claimed, number, when):
    claimed.other.seal(claimed.claim)
    draft = Path(claimed.spool.root, "incoming", f"A~{ELSEWHERE}")
    draft.write_bytes(b"half")
    life = crash.run(lambda: None, lambda *_: recover_elsewhere(claimed), crash.Moment(number, when))
    assert life.killed
    third = World(FileStore(claimed.spool.root, this_owner()._replace(host="third")), claimed.clock)
    third.watch(2 * LEASE)
    assert list(third.spool.locations()) == [queued(claimed.name)]
    assert third.hosts() == []
    claimed.clock.now += recover.ABANDONED
    third.rounds.go()
    assert not draft.exists()


def recover_elsewhere(world):
    return list(recover.recover_owner(world.spool, world.spool.root, str(ELSEWHERE), NOW))


@pytest.mark.parametrize("step", ["unlink", "rename"])
def test_what_nfs_denies_though_it_was_done_is_done(claimed, monkeypatch, step):
    do, denied = getattr(fsops, step), []

    def deny(*paths):
        do(*paths)
        denied.append(paths)
        raise ClaimLost(f"cannot {step} {paths[0]}: No such file or directory")

    Path(claimed.spool.root, "incoming", f"A~{ELSEWHERE}").write_bytes(b"half")
    monkeypatch.setattr(fsops, step, deny)
    claimed.watch(LEASE + 15)
    assert denied
    assert list(claimed.spool.locations()) == [queued(claimed.name)]
    assert claimed.hosts() == os.listdir(f"{claimed.spool.root}/incoming") == []
    assert claimed.rounds._alarms.lines() == []


def test_a_lease_that_moves_in_the_last_moment_is_believed(claimed, monkeypatch):
    claimed.watch(LEASE - 7.5)
    look = claimed.rounds._owners.look

    def look_and_beat(*arguments):
        claimed.lease.beat()
        return look(*arguments)

    monkeypatch.setattr(claimed.rounds._owners, "look", look_and_beat)
    claimed.watch(20)
    assert list(claimed.spool.locations()) == [claimed.claim]


def test_a_lease_of_another_version_is_not_judged_and_keeps_nobody_else_back(claimed):
    strange = ELSEWHERE._replace(pid=7)
    Path(claimed.spool.root, "hosts", str(strange)).write_bytes(b"2 what comes later\n")
    claimed.watch(LEASE + 15)
    assert list(claimed.spool.locations()) == [queued(claimed.name)]
    assert claimed.hosts() == [str(strange)]


def test_as_long_as_a_lease_cannot_be_removed_its_claims_stay(claimed, monkeypatch):
    unlink = fsops.unlink

    def refuse(path):
        if path.endswith(f"hosts/{ELSEWHERE}"):
            raise SpoolError(f"cannot unlink {path}: Permission denied")
        unlink(path)

    monkeypatch.setattr(fsops, "unlink", refuse)
    claimed.watch(LEASE + 30)
    assert list(claimed.spool.locations()) == [claimed.claim]
    monkeypatch.undo()
    claimed.watch(15)
    assert list(claimed.spool.locations()) == [queued(claimed.name)]


def test_a_claim_that_cannot_go_back_keeps_no_other_back_and_is_tried_again(claimed, letter):
    (name,) = claimed.spool.accept(letter(), [MESSAGE], NOW)
    stuck = claimed.other.claim(queued(name), "w1.2")
    in_the_way = Path(claimed.spool.path(queued(name)))
    in_the_way.write_bytes(b"another")
    claimed.watch(LEASE + 15)
    assert set(claimed.spool.locations()) == {stuck, queued(name), queued(claimed.name)}
    in_the_way.unlink()
    claimed.watch(LEASE + 15)
    assert set(claimed.spool.locations()) == {queued(name), queued(claimed.name)}


@pytest.mark.parametrize("step", range(8))
def test_two_hosts_that_recover_the_same_owner_at_once_lose_and_double_nothing(claimed, letter, monkeypatch, step):
    names = claimed.spool.accept(letter("a@a.example", "b@b.example", "c@c.example"), [MESSAGE], NOW)
    for n, name in enumerate(names):
        claimed.other.claim(queued(name), f"w2.{n}")
    second = claimed.another(FileStore(claimed.spool.root, this_owner()._replace(host="third")))
    steps = {name: getattr(fsops, name) for name in ("unlink", "sync_directory", "rename", "remove_directory")}
    taken = []

    def overtaken(name):
        """Just before this step of the first, the second goes a whole round."""

        def overtaken_step(*paths):
            taken.append(name)
            if len(taken) == step + 1:
                with monkeypatch.context() as free:
                    for each, function in steps.items():
                        free.setattr(fsops, each, function)
                    second.go()
            return steps[name](*paths)

        return overtaken_step

    for _ in range(8):
        claimed.rounds.go()
        second.go()
        claimed.clock.now += 7.5
    for name in steps:
        monkeypatch.setattr(fsops, name, overtaken(name))
    claimed.rounds.go()
    assert len(taken) > step
    assert set(claimed.spool.locations()) == {queued(name) for name in (*names, claimed.name)}
    assert claimed.hosts() == []


# --- incoming/


def test_what_nobody_can_be_writing_any_more_is_swept_and_nothing_else(world):
    drafts = [f"A~{ELSEWHERE}", f"B~{this_owner()}", "README", "C~somebody"]
    for name in drafts:
        Path(world.spool.root, "incoming", name).write_bytes(b"half")
    world.rounds.go()
    world.clock.now += recover.ABANDONED - 1
    Path(world.spool.root, "incoming", f"D~{ELSEWHERE}").write_bytes(b"half")
    world.rounds.go()
    assert len(os.listdir(f"{world.spool.root}/incoming")) == 5
    world.clock.now += 1
    world.rounds.go()
    assert sorted(os.listdir(f"{world.spool.root}/incoming")) == ["C~somebody", f"D~{ELSEWHERE}", "README"]


def test_a_dead_owners_drafts_go_with_it(claimed):
    Path(claimed.spool.root, "incoming", f"A~{ELSEWHERE}").write_bytes(b"half")
    claimed.watch(LEASE + 15)
    assert os.listdir(f"{claimed.spool.root}/incoming") == []


# --- the roll-call


def test_the_roll_is_called_once_a_minute_while_our_lease_is_there(world):
    path = Path(world.spool.root, "hosts", f"{world.spool.owner}~rollcall")
    world.rounds.go()
    assert not path.exists()
    mine = Lease(world.spool.root, world.spool.owner, LEASE, world.clock)
    mine.create()
    world.rounds.go()
    assert rollcall.read(world.spool.root, str(world.spool.owner))[0] == RollCall("1", "2", 3, 1000.0)
    world.clock.now += 59
    world.rounds.go()
    assert rollcall.read(world.spool.root, str(world.spool.owner))[0].clock == 1000
    world.clock.now += 1
    world.rounds.go()
    assert rollcall.read(world.spool.root, str(world.spool.owner))[0].clock == 1060
    mine.end()
    assert not path.exists()
    world.clock.now += 60
    world.rounds.go()
    assert not path.exists()


def test_rounds_are_spaced_by_dice_within_the_time_that_a_look_may_take(world):
    class Enough(BaseException):
        pass

    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise Enough

    rolls = iter([0.0, 0.5, 1.0])
    world.rounds._sleep, world.rounds._dice = sleep, lambda: next(rolls)
    with pytest.raises(Enough):
        world.rounds.run()
    assert pauses == [5.0, 7.5, 10.0]


# --- many hosts


class Member:
    """One of several hosts on a spool: its clock is its own, and it stands still now and then."""

    def __init__(self, root, number, offset, clock):
        self.store = FileStore(root, this_owner()._replace(host=f"host{number}", boot=f"{number:032x}"))
        self.clock = lambda: clock() + offset
        self.lease = Lease(root, self.store.owner, LEASE, self.clock)
        self.lease.create()
        self.rounds = Rounds(
            self.store,
            LEASE,
            lambda: RollCall("1", "2", 3, self.clock()),
            lambda: None,
            sleep=lambda _: None,
            dice=lambda: 0.5,
            now=self.clock,
            clock=self.clock,
        )
        self.frozen_until = clock()
        self.longest, self.ended = 0.0, False

    def live(self, now, dice):
        """Two and a half seconds of its life."""
        if now < self.frozen_until or self.ended:
            return
        try:
            self.lease.beat()
        except LeaseLost:
            self.ended = True
            return
        if dice.random() < 0.4:
            self.rounds.go()
        if dice.random() < 0.008:
            self.frozen_until = now + dice.uniform(5, 300)
            self.longest = max(self.longest, self.frozen_until - now)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1 << 64))
def test_many_hosts_with_clocks_of_their_own_take_no_living_one_for_dead_and_lose_nothing(seed):
    dice, clock = Random(seed), Clock()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # nobody cuts the power, and 800 beats take long
        root = f"{folder}/spool"
        FileStore(root, this_owner()).create(1)
        members = [Member(root, number, dice.uniform(-1e6, 1e9), clock) for number in range(4)]
        nodes = set()
        for member in members:
            envelope = Envelope(new_id(NOW, dice.randbytes), "me@b.example", (Recipient("joe@a.example"),), NOW)
            (name,) = member.store.accept(envelope, [MESSAGE], NOW)
            member.store.claim(queued(name), "w1.1")
            nodes.add(name)
        for _ in range(200):
            clock.now += 2.5
            for member in dice.sample(members, len(members)):
                member.live(clock.now, dice)
        places = list(members[0].store.locations())
        assert sorted(at.node for at in places) == sorted(nodes)
        for member in members:
            if member.longest < LEASE - 10:
                assert not member.ended
                assert list(member.store.claims(""))
            elif member.ended:
                assert not list(member.store.claims(""))


def test_those_who_live_are_counted_at_each_round(world):
    world.lease.create()
    world.watch(30.0, beat=True)
    assert set(world.living) == {2}
    world.watch(LEASE + 30.0)
    assert world.living[-1] == 1


def test_another_owner_of_this_boot_counts_and_so_does_a_host_that_just_came(world, spool):
    world.rounds.go()
    Lease(spool.root, spool.owner.next(), LEASE, world.clock).create()
    world.lease.create()
    world.rounds.go()
    assert world.living == [1, 3]
