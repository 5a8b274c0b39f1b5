# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How many workers each may have, and what is in the way of one more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.supervisor.destination import Destination
from mailspool.supervisor.job import Job, Limits
from mailspool.supervisor.shares import PATIENT, STRANGERS, AtWork, Obstacle, Shares, share_out

FEW = Shares(destination=4, address=3, strangers=6, stranger=2)


def limits(**changes):
    standard = Limits(workers=20, per_destination=10, cool_down=60.0, tick=20.0, worker_jobs=1000, shutdown=30.0)
    return standard._replace(**changes)


def one(address="", *, patient=False):
    destination = Destination()
    destination.address = address
    destination.waiting.append(Job("0/a", "a.example", "g", patient=patient))
    return destination


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200), st.floats(0.01, 1.0))
def test_everybody_gets_some_and_nobody_but_all_strangers_together_more_than_half(workers, each, host, part):
    shares = share_out(limits(workers=workers, per_destination=each, per_host=host, unproven_share=part))
    assert min(shares) >= 1
    assert max(shares.destination, shares.address, shares.stranger) <= max(1, workers // 2)
    assert shares.strangers <= workers
    assert shares.stranger <= max(1, shares.strangers // 3)


def test_the_workers_are_shared_out_as_configured():
    assert share_out(limits()) == Shares(destination=10, address=10, strangers=15, stranger=5)
    assert share_out(limits(per_destination=3, per_host=4)) == Shares(3, 4, 15, 3)


@pytest.mark.parametrize(
    ("each", "stranger", "at_work", "obstacle"),
    [
        (one("192.0.2.1"), False, AtWork(FEW, {"192.0.2.1": 3}, 0, 0), Obstacle("max_per_host", "192.0.2.1")),
        (one("192.0.2.2"), False, AtWork(FEW, {"192.0.2.1": 3}, 6, 2), None),
        (one(), True, AtWork(FEW, {}, 6, 0), STRANGERS),
        (one(patient=True), True, AtWork(FEW, {}, 5, 2), PATIENT),
        (one(), True, AtWork(FEW, {}, 5, 2), None),
    ],
)
def test_what_is_in_the_way_is_what_others_have_used_up_and_it_is_told(each, stranger, at_work, obstacle):
    assert at_work.obstacle(each, stranger=stranger) == obstacle
    if obstacle:
        assert at_work.room_behind(obstacle) == 0
        assert at_work.told(obstacle).rule == obstacle.rule


def test_as_many_may_go_as_there_is_room_for():
    at_work = AtWork(FEW, {"192.0.2.1": 1}, 2, 1)
    room = [at_work.room_behind(each) for each in (Obstacle("max_per_host", "192.0.2.1"), STRANGERS, PATIENT)]
    assert room == [2, 4, 1]
