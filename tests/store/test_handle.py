# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Handles and nodes as Mail::Spool knows them: the same promises over each back end."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.config.load import make
from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.model.outcome import Attempt
from mailspool.model.tier import Tier
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.handle import Handle, Node
from mailspool.store.memory import MemoryStore
from mailspool.store.nodename import folder_of

START = 1_700_000_000
MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


class Clock:
    def __init__(self):
        self.time = float(START)

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["file system", "memory"])
def spool(request, tmp_path, clock):
    store = MemoryStore() if request.param == "memory" else FileStore(tmp_path / "spool", this_owner())
    settings = make(
        dequeue_dir=str(tmp_path / "spool"),
        run_dir=str(tmp_path / "run"),
        dequeue_periods=[0, 1800, 14400],
        dequeue_priority=[1, 1, 1],
        hostname="mail.test",
        mail_name="mail.test",
    )
    spool = Spool(settings, store=store, clock=clock)
    spool.create_dequeue_dirs()
    return spool


def send(spool, to="joe@a.example"):
    return spool.send_mail(to=to, from_="me@b.example", message=MESSAGE)


def opened(spool, tier):
    return spool.mail_spool_handle(spool.settings.tiers[tier]).open_spool()


def test_a_handle_yields_the_nodes_of_its_tier_oldest_first_and_then_none(spool, clock):
    first = send(spool)
    clock.time += 5
    second = send(spool)
    handle = opened(spool, 0)
    assert [handle.next_node().id, handle.next_node().id, handle.next_node()] == [first, second, None]


def test_a_node_tells_what_its_name_and_its_envelope_say(spool):
    message_id = send(spool, ["joe@a.example", "ann@b.example"])
    nodes = list(opened(spool, 0))
    assert [(node.id, node.time, node.to, node.from_, node.destination) for node in nodes] == [
        (message_id, START, "joe@a.example", "me@b.example", "a.example"),
        (message_id, START, "ann@b.example", "me@b.example", "b.example"),
    ]
    assert all(node.filehandle().read().endswith(MESSAGE[-9:]) for node in nodes)
    assert all(node.size > len(MESSAGE) for node in nodes)


def test_only_one_of_two_can_lock_a_node(spool):
    send(spool)
    (one,), (other,) = opened(spool, 0), opened(spool, 0)
    assert one.lock_node()
    assert not other.lock_node()
    assert other.lock_error
    with pytest.raises(ClaimLost):
        other.claim()


def test_a_locked_node_is_seen_by_nobody_until_it_is_released(spool):
    send(spool)
    (node,) = opened(spool, 0)
    node.claim()
    assert list(opened(spool, 0)) == []
    node.release()
    (again,) = opened(spool, 0)
    assert again.name == node.name


def test_a_node_that_falls_back_waits_the_next_tier_s_period_from_then_on(spool, clock):
    send(spool)
    clock.time += 100
    (node,) = opened(spool, 0)
    node.claim()
    name = f"{START + 100}-{node.node_id}-a.example"
    assert node.fallback_filename == f"{spool.dequeue_dir}/1/{folder_of(name)}/{name}"
    node.fallback()
    clock.time += 1799
    assert list(opened(spool, 1)) == []
    clock.time += 1
    (later,) = opened(spool, 1)
    assert (later.time, later.node_id) == (START + 100, node.node_id)


def test_on_the_last_tier_there_is_nothing_to_fall_back_to_but_itself(spool, clock):
    send(spool)
    (node,) = opened(spool, 0)
    node.claim()
    at = Location(State.QUEUED, 2, node.name)
    spool.store.move(node.location, at)
    clock.time += 14400
    (last,) = opened(spool, 2)
    assert (last.msh.fallback_dir, last.fallback_filename) == (None, None)
    last.claim()
    last.fallback()
    assert spool.store.names(2) == [f"{START + 14400}-{last.node_id}-a.example"]


def test_a_node_older_than_max_age_is_due_whatever_its_tier(spool, clock):
    send(spool)
    (node,) = opened(spool, 0)
    node.claim()
    clock.time += spool.max_age
    node.fallback()
    assert [later.node_id for later in opened(spool, 1)] == [node.node_id]


def test_a_node_that_is_deleted_is_gone_with_its_history(spool):
    send(spool)
    (node,) = opened(spool, 0)
    node.record([Attempt(START, 0, "mx.a.example", "4.2.0", "450 later")])
    node.claim()
    node.fallback()
    at = Location(State.QUEUED, 1, node.name)
    (again,) = [spool.node_at(at)]
    assert [attempt.text for attempt in again.history()] == ["450 later"]
    again.claim()
    again.delete_node()
    assert (list(spool.store.locations()), again.history()) == ([], [])


def test_nodes_of_one_message_may_share_what_one_of_them_has_opened(spool):
    send(spool, ["joe@a.example", "ann@a.example"])
    one, other = opened(spool, 0)
    other.adopt(one.open())
    assert other.to == "ann@a.example"
    one.close()
    assert other.reopen().file.read().endswith(b"world\r\n")


def test_what_is_no_node_goes_to_quarantine_as_soon_as_a_handle_meets_it(spool, tmp_path):
    if isinstance(spool.store, MemoryStore):
        with pytest.raises(Unreadable):
            spool.mail_spool_node(opened(spool, 0), "lock.tmp")
        return
    (tmp_path / "spool" / "0" / "lock.tmp").write_bytes(b"")
    assert list(opened(spool, 0)) == []
    (location,) = spool.store.locations()
    assert (location.state, location.name) == (State.QUARANTINED, "lock.tmp")
    assert "not a node name" in spool.store.reason(location)


def test_what_cannot_be_put_aside_keeps_no_node_back(spool, tmp_path, monkeypatch):
    if isinstance(spool.store, MemoryStore):
        return
    send(spool)
    (tmp_path / "spool" / "0" / "lock.tmp").write_bytes(b"")

    def full(*_):
        raise SpoolError("no space left on device")

    monkeypatch.setattr(spool.store, "quarantine", full)
    assert [node.to for node in opened(spool, 0)] == ["joe@a.example"]


def test_a_name_that_does_not_tell_when_its_message_arrived_goes_to_quarantine(spool, clock, tmp_path):
    if isinstance(spool.store, MemoryStore):
        return
    send(spool)
    (tmp_path / "spool" / "0" / f"{int(clock()) + 9}-abc.0-a.example").write_bytes(b"")
    assert [node.to for node in opened(spool, 0)] == ["joe@a.example"]
    assert State.QUARANTINED in {at.state for at in spool.store.locations()}


# --- what is left out before anything is parsed

times = st.one_of(
    st.sampled_from([0, 1, 10**9 - 1, 10**9, 10**10 - 1, 10**10, 10**12 - 1]),
    st.integers(-20_000, 20_000).map(START.__add__),
    st.integers(-1_000_000, 1_000_000).map(START.__add__),
)
ids = st.one_of(
    st.builds(nodename.new_id, times.map(float), st.binary(min_size=8, max_size=8).map(lambda dice: lambda _: dice)),
    st.builds(lambda made, more: made + more, st.just("00T3X1K2F8Q0ZL5M1N7B"), st.from_regex("[0-9A-Za-z]{0,50}")),
    st.from_regex(r"[0-9A-Za-z]{0,22}"),
)
destinations = st.sampled_from(["a.example", "[IPv6:2001:db8::1]", "#" + "0" * 32, "A.example", "", "a\n", "-"])
tier_names = st.one_of(
    st.builds("{}-{}.{}-{}".format, times, ids, st.sampled_from(["0", "7", "01", "x", ""]), destinations),
    st.builds("{}{}".format, times, st.sampled_from(["", "-", ".tmp", "0-0.0-a", "/"])),
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40),
)


class Looked:
    """What a handle asks of its spool."""

    def __init__(self, now, max_age):
        self.now, self.max_age = lambda: now, max_age


def is_surely_waiting(handle, name):
    try:
        return not Node(handle, name).can_process()
    except Unreadable:
        return False


@given(
    st.lists(tier_names, max_size=20),
    st.sampled_from([0.0, 0.2, 1800.0, 14400.0, 1e9]),
    st.sampled_from([0.0, 3600.0, 432000.0, 1e10]),
    st.floats(-20_000, 20_000).map(lambda seconds: START + seconds) | st.floats(0, 1e11),
)
def test_what_a_look_leaves_out_unparsed_is_a_node_that_waits(names, wait, max_age, now):
    handle = Handle(Looked(now, max_age), Tier(3, wait, 1, last=False))
    left_out = set(names) - set(handle.waiting().outside(names))
    assert all(is_surely_waiting(handle, name) for name in left_out)


@given(st.integers(2, 1798), st.integers(2, 431_990))
def test_of_those_that_wait_a_look_leaves_out_all(entered, arrived):
    handle = Handle(Looked(START + 0.5, 432_000.0), Tier(1, 1800.0, 1, last=False))
    message = nodename.new_id(START - max(arrived, entered), os.urandom)
    assert not handle.waiting().outside([f"{START - entered + 2}-{message}.0-a.example"])
