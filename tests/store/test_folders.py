# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A tier's folders: whatever happens to them, each node that is due is seen, and what waits is not read."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailspool.errors import ClaimLost, SpoolError
from mailspool.model.tier import Tier
from mailspool.store import fsops
from mailspool.store.base import Location, State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.nodename import folder_of, is_folder, new_id
from mailspool.store.waiting import Waiting

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nworld\r\n"
NOW = 1_700_000_000
EVERYTHING = Waiting(1, 0, 0)
TIER = Tier(1, 14_400.0, 1, last=False)
MAX_AGE = 432_000


def queued(name, tier=1):
    return Location(State.QUEUED, tier, name)


def waiting(now):
    return Waiting(*TIER.waiting(now), now - MAX_AGE)


@pytest.fixture
def enter(spool, letter):
    """Put a node into tier 1 as a worker does that let it fall back at that time. Returns its name."""

    def put(time=NOW, arrived=NOW, tier=1):
        (name,) = spool.accept(letter(message_id=new_id(arrived, os.urandom)), [MESSAGE], arrived)
        later = f"{time}-{name.partition('-')[2]}"
        spool.move(spool.claim(queued(name, 0), f"w1.{later.partition('.')[0]}"[:57]), queued(later, tier))
        return later

    return put


@pytest.fixture
def tier(spool):
    return Path(spool.root, "1")


def inside(name):
    return f"{folder_of(name)}/{name}"


def stand_in(tier):
    """All that is in a tier, as paths; folders too if they are empty."""
    return sorted(
        str(path.relative_to(tier)) for path in tier.rglob("*") if not path.is_dir() or not any(path.iterdir())
    )


def noted(monkeypatch):
    """The names of directories that are read from now on."""
    read = []
    for function in ("read_names", "read_folder"):
        real = getattr(fsops, function)
        monkeypatch.setattr(fsops, function, lambda path, real=real: (read.append(Path(path).name), real(path))[1])
    return read


# --- where they stand


def test_who_falls_back_stands_in_the_folder_of_its_time(spool, enter, tier):
    name, other = enter(), enter(NOW + 1000)
    assert stand_in(tier) == sorted([inside(name), inside(other)])
    assert sorted(spool.names(1)) == sorted([name, other])
    assert {path.stat().st_mode & 0o7777 for path in tier.iterdir()} == {0o700}


def test_what_has_no_time_stands_directly_in_its_tier(spool, enter, tier):
    name = spool.move(queued(enter()), queued("0-A.0-a.example")).name
    assert name in stand_in(tier)


def test_tier_0_has_no_folders(spool, enter):
    name = enter(tier=2)
    spool.move(queued(name, 2), queued(name, 0))
    assert os.listdir(f"{spool.root}/0") == [name]


def test_a_folder_is_made_durable_before_a_node_goes_there(spool, enter, tier, monkeypatch):
    done = []

    def noted(name, call):
        monkeypatch.setattr(fsops, name, lambda *paths: (done.append((name, *map(Path, paths))), call(*paths))[1])

    (name,) = [enter(tier=2)]
    for step in ("make_directory", "sync_directory", "rename_to_new"):
        noted(step, getattr(fsops, step))
    spool.move(queued(name, 2), queued(name))
    steps = [(step, path) for step, *_, path in done if step != "rename_to_new" or path.parent.parent == tier]
    assert steps[-3:] == [("make_directory", tier / folder_of(name)), ("sync_directory", tier), done[-1][::2]]
    assert done[-1][2] == tier / inside(name)


STEPS = {
    "claimed": lambda store, at: store.claim(at, "w1.1"),
    "held": lambda store, at: store.move(at, at._replace(state=State.HELD)),
    "in a deeper tier": lambda store, at: store.move(at, at._replace(tier=2)),
    "in tier 0": lambda store, at: store.move(at, at._replace(tier=0)),
    "in quarantine": lambda store, at: store.quarantine(at, "why"),
}


def by_hand(spool, name, place):
    os.rename(f"{spool.root}/1/{inside(name)}", f"{spool.root}/{place}")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("hand", [False, True], ids=["in its folder", "directly in its tier"])
def test_a_node_goes_its_way_from_wherever_it_stands(spool, enter, step, hand):
    name = enter()
    if hand:
        by_hand(spool, name, f"1/{name}")
    at = STEPS[step](spool, queued(name))
    assert list(spool.locations()) == [at]
    with spool.open(at).file as file:
        assert file.read() == MESSAGE
    assert spool.peek(at, 2) == b'{"'
    assert spool.envelope(at).recipients
    spool.delete(at)
    assert list(spool.locations()) == []


@pytest.mark.parametrize(
    "call", [lambda store, at: store.open(at), lambda store, at: store.peek(at, 1), *STEPS.values()]
)
def test_what_is_gone_is_gone_from_both_places(spool, enter, call):
    name = enter()
    spool.delete(queued(name))
    with pytest.raises(ClaimLost):
        call(spool, queued(name))


# --- what is seen


def test_what_waits_is_not_read_and_what_may_be_due_is(spool, enter, tier, monkeypatch):
    waits, due, old = enter(NOW - 5000), enter(NOW - 14_400), enter(NOW - 5000, NOW - MAX_AGE - 60)
    os.utime(tier / folder_of(waits), (NOW, NOW))
    spool.look(1, waiting(NOW))  # counts
    read = noted(monkeypatch)
    found, depth = spool.look(1, waiting(NOW))
    assert (sorted(found), depth) == (sorted([due, old]), 3)
    assert sorted(read) == sorted(["1", folder_of(due), folder_of(old)])
    assert folder_of(waits) not in read


def test_a_far_future_that_a_wrong_clock_wrote_is_seen(spool, enter):
    name = enter(NOW + 86_400 * 400)
    assert spool.look(1, waiting(NOW)) == ([name], 1)


def test_another_schedule_counts_for_what_waits_already(spool, enter):
    name = enter(NOW - 3000)
    assert spool.look(1, waiting(NOW)) == ([], 1)
    assert spool.look(1, Waiting(NOW - 1800, NOW, NOW - MAX_AGE)) == ([name], 1)  # dequeue_periods
    assert spool.look(1, waiting(NOW)._replace(arrived=NOW + 60)) == ([name], 1)  # max_age


def test_what_an_administrator_moved_by_hand_is_seen_where_he_put_it(spool, enter):
    first, second, third = enter(NOW - 14_400), enter(NOW - 14_400 * 2), enter(NOW - 14_400 * 3)
    by_hand(spool, first, f"1/{first}")
    by_hand(spool, second, f"2/{second}")
    os.rename(f"{spool.root}/1/{folder_of(third)}", f"{spool.root}/0/{folder_of(third)}")
    assert [spool.look(tier, waiting(NOW)) for tier in (0, 1, 2)] == [([third], 1), ([first], 1), ([second], 1)]
    for tier, name in enumerate((third, first, second)):
        assert spool.claim(queued(name, tier), f"w1.{tier}").node == name


def test_a_spool_without_folders_is_read_as_it_is(spool, enter, tier):
    name, waits = enter(NOW - 14_400), enter(NOW - 60)
    for each in (name, waits):
        by_hand(spool, each, f"1/{each}")
        (tier / folder_of(each)).rmdir()
    assert spool.look(1, waiting(NOW)) == ([name], 2)


def test_the_depth_of_a_tier_follows_what_comes_and_goes_however_fast(spool, enter):
    names = [enter(NOW - 60) for _ in range(5)]
    for left in range(5, 0, -1):
        assert spool.look(1, waiting(NOW)) == ([], left)
        spool.delete(queued(names.pop()))


def test_a_folder_that_has_not_changed_is_not_read_again(spool, enter, tier, monkeypatch):
    name = enter(NOW - 60)
    os.utime(tier / folder_of(name), (NOW, NOW))  # else it could have changed since without a trace
    assert spool.look(1, waiting(NOW)) == ([], 1)
    read = noted(monkeypatch)
    assert (spool.look(1, waiting(NOW)), read) == (([], 1), [tier.name])


names = st.builds(
    "{}-{}.0-x.example".format,
    st.sampled_from([0, 10**9 - 1, 10**10]) | st.integers(-40_000, 40_000).map(NOW.__add__),
    st.builds(
        lambda arrived, dice: new_id(arrived, lambda _: dice),
        st.integers(NOW - 2 * MAX_AGE, NOW),
        st.binary(min_size=8, max_size=8),
    ),
)


@given(st.lists(names, unique=True, max_size=12), st.integers(-40_000, 40_000), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_stands_wherever_a_look_sees_all_that_is_due(tmp_path_factory, some, shift, data):
    tier = tmp_path_factory.mktemp("spool") / "1"
    store = FileStore(tier.parent, this_owner())
    for name in some:
        places = [path for path in (name, inside(name)) if path[0] != "/"]
        path = tier / data.draw(st.sampled_from(places))
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    now = NOW + shift
    found, depth = store.look(1, waiting(now))
    due = {each for each in some if TIER.is_due(int(each.partition("-")[0]), now)}
    old = {each for each in some if int(each.partition("-")[2][:7], 36) <= now - MAX_AGE}
    assert due | old <= set(found) <= set(some) == set(store.names(1))
    assert depth == len(some)


# --- folders that come and go


def test_a_look_takes_an_empty_folder_away_once_its_time_is_over_and_no_other(spool, tier):
    past, present, ahead = (
        folder_of(f"{NOW + at}-{new_id(NOW, os.urandom)}.0-x") for at in (-20_000, -60, 86_400 * 90)
    )
    for folder in (past, present, ahead):
        (tier / folder).mkdir()
    (tier / "folder").mkdir()
    assert spool.names(1) == ["folder"]
    assert len(list(tier.iterdir())) == 4  # looking for oneself changes nothing
    spool.look(1, waiting(NOW))
    assert {path.name for path in tier.iterdir()} == {present, ahead, "folder"}


def test_a_folder_that_another_host_takes_away_while_it_is_read_holds_nothing(spool, enter, tier, monkeypatch):
    name, gone = enter(NOW - 14_400), tier / folder_of(f"{NOW - 30_000}-{new_id(NOW, os.urandom)}.0-x")
    gone.mkdir()
    listdir = os.listdir

    def overtaken(place):
        if isinstance(place, int) and gone.samefile(f"/proc/self/fd/{place}"):
            gone.rmdir()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))  # as NFS puts it
        return listdir(place)

    monkeypatch.setattr(os, "listdir", overtaken)
    assert spool.look(1, waiting(NOW)) == ([name], 1)
    assert not gone.exists()


def test_a_folder_that_cannot_be_taken_away_keeps_nothing_back(spool, enter, tier, monkeypatch):
    name = enter(NOW - 30_000)
    (tier / folder_of(f"{NOW - 20_000}-{new_id(NOW, os.urandom)}.0-x")).mkdir()

    def refuse(path):
        raise SpoolError(path)

    monkeypatch.setattr(fsops, "remove_directory", refuse)
    assert spool.look(1, waiting(NOW)) == ([name], 1)


class Lookout:
    """Takes every empty folder of the tier away, just before those calls to the kernel that have these numbers."""

    CALLS = ("rename", "mkdir", "open", "fsync", "chmod", "fchmod", "close", "lstat")

    def __init__(self, monkeypatch, tier, when):
        self._tier, self._when = tier, when
        self.calls = 0
        self._rmdir, self._listdir = os.rmdir, os.listdir
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._before(getattr(os, name)))

    def _before(self, call):
        def called(*args, **kwargs):
            if self._when(self.calls):
                for folder in filter(is_folder, self._listdir(self._tier)):
                    with suppress(OSError):  # there is a node in it
                        self._rmdir(f"{self._tier}/{folder}")
            self.calls += 1
            return call(*args, **kwargs)

        return called


def fall_back_beside(monkeypatch, spool, letter, tier, when, *, made):
    """Once; returns the number of calls, and where the node is then."""
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    claim = spool.claim(queued(name, 0), "w1.1")
    if made:
        (tier / folder_of(name)).mkdir()
    with monkeypatch.context() as patch:
        lookout = Lookout(patch, tier, when)
        spool.move(claim, queued(name))
    assert list(spool.locations()) == [queued(name)]
    (place,) = (path for path in stand_in(tier) if path.endswith(name))
    spool.delete(queued(name))
    for folder in tier.iterdir():
        folder.rmdir()
    return lookout.calls, place == inside(name)


@pytest.mark.parametrize("made", [True, False], ids=["there is a folder", "there is none"])
def test_a_node_falls_back_though_its_folder_is_taken_away_at_any_moment(spool, letter, tier, monkeypatch, made):
    calls, in_folder = fall_back_beside(monkeypatch, spool, letter, tier, lambda _: False, made=made)
    assert in_folder
    for moment in range(calls):
        fall_back_beside(monkeypatch, spool, letter, tier, moment.__eq__, made=made)
    for first in range(calls):
        for second in range(first):
            fall_back_beside(monkeypatch, spool, letter, tier, (first, second).__contains__, made=made)


def test_a_node_falls_back_directly_into_its_tier_if_its_folder_is_taken_away_each_time(
    spool, letter, tier, monkeypatch
):
    _, in_folder = fall_back_beside(monkeypatch, spool, letter, tier, lambda _: True, made=False)
    assert not in_folder


@pytest.mark.parametrize("step", ["make_directory", "sync_directory"])
def test_a_disk_without_room_for_a_folder_keeps_no_node_back(spool, enter, tier, monkeypatch, step):
    (tier.parent / "2").mkdir(exist_ok=True)
    name = enter(tier=2)
    spool.move(queued(name, 2), queued("0-B.0-b.example"))  # the tier itself is known

    def full(path):
        raise SpoolError(f"{path}: no space left")

    monkeypatch.setattr(fsops, step, full)
    spool.move(queued("0-B.0-b.example"), queued(name))
    assert name in stand_in(tier)


def test_a_folder_that_the_server_calls_stale_is_made_again(spool, enter, tier, monkeypatch):
    name = enter(tier=2)
    rename, seen = os.rename, []

    def stale_once(source, target):
        if not seen:
            seen.append(target)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        rename(source, target)

    enter()
    monkeypatch.setattr(os, "rename", stale_once)
    spool.move(queued(name, 2), queued(name))
    assert inside(name) in stand_in(tier)


def test_a_name_that_is_taken_is_left_alone_in_a_folder_too(spool, enter):
    name = enter()
    spool.claim(queued(name), "w1.1")
    Path(spool.root, "1", inside(name)).write_bytes(b"in the way")
    with pytest.raises(fsops.Exists):
        spool.move(Location(State.CLAIMED, 1, f"{name}~w1.1", str(spool.owner)), queued(name))
    assert Path(spool.root, "1", inside(name)).read_bytes() == b"in the way"


PLANTED = {
    "file": lambda path: open(path, "x").close(),
    "fifo": os.mkfifo,
    "link": lambda path: os.symlink(os.path.dirname(os.path.dirname(path)), path),
    "link to nowhere": lambda path: os.symlink("/nowhere", path),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_what_is_called_as_a_folder_and_is_none_is_never_followed_and_keeps_no_node_back(spool, letter, plant):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    plant(f"{spool.root}/1/{folder_of(name)}")
    at = spool.move(spool.claim(Location(State.QUEUED, 0, name), "w1.1"), Location(State.QUEUED, 1, name))
    assert os.path.lexists(f"{spool.root}/1/{name}")
    assert list(spool.locations()) == [at]
    spool.open(at).file.close()
    assert spool.look(1, EVERYTHING) == ([name], 1)
    spool.delete(spool.claim(at, "w1.2"))
    assert list(spool.locations()) == []


def test_what_stands_behind_a_link_that_is_called_as_a_folder_is_no_node(spool, letter, tmp_path):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    outside = tmp_path / "outside"
    outside.mkdir()
    os.rename(spool.path(Location(State.QUEUED, 0, name)), outside / name)
    os.makedirs(f"{spool.root}/1", exist_ok=True)
    os.symlink(outside, f"{spool.root}/1/{folder_of(name)}")
    assert list(spool.locations()) == []
    assert spool.look(1, EVERYTHING) == ([], 0)
