# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How many workers a destination bears, and when it is left alone, under a simulated clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.supervisor.destination import FIRST_CONCURRENCY, LONGEST_COOL_DOWN, REMEMBERED, Destination
from mailspool.supervisor.job import Job

MOST = 10


def one(workers=0):
    destination = Destination()
    destination.waiting.extend(Job(f"0/{n}", "a", str(n)) for n in range(100))
    destination.workers = workers
    return destination


def test_it_begins_with_few_workers_and_gets_more_with_each_batch_of_which_it_takes_something():
    each = one()
    allowed = []
    for now in range(MOST):
        allowed.append(each.concurrency)
        each.took(now, MOST)
    assert allowed == list(range(FIRST_CONCURRENCY, MOST)) + [MOST] * FIRST_CONCURRENCY
    each.workers = MOST - 1
    assert each.may_have_more(MOST, 10.0)
    each.workers = MOST
    assert not each.may_have_more(MOST, 10.0)


def test_a_refusal_halves_what_a_known_one_bears_and_only_the_last_worker_s_makes_it_cool_down():
    each = one()
    for _ in range(MOST):
        each.took(0.0, MOST)
    bears = []
    while not each.cool_until:
        bears.append(each.concurrency)
        each.refused(1.0, 60.0, "busy")
    assert bears == [10, 5, 2, 1]
    assert each.cool_until == 61.0


def test_a_stranger_cools_down_at_its_first_refusal():
    each = one()
    each.refused(0.0, 60.0, "busy")
    assert not each.may_have_more(MOST, 59.0)
    assert each.may_have_more(MOST, 60.0)
    each.workers = 1
    assert not each.may_have_more(MOST, 60.0)


@pytest.mark.parametrize(("first", "then"), [(60.0, [60, 120, 240, 480, 960, 1920, 3600, 3600]), (7200.0, [7200] * 3)])
def test_each_cool_down_is_twice_as_long_as_the_last_up_to_an_hour(first, then):
    each, now, seen = one(), 0.0, []
    for _ in then:
        each.refused(now, first, "busy")
        seen.append(each.cool_until - now)
        now = each.cool_until
    assert seen == then
    each.took(now, MOST)
    for _ in range(FIRST_CONCURRENCY):
        each.refused(now, first, "busy")
    assert each.cool_until - now == first


def test_workers_that_had_set_out_before_do_not_make_the_cool_down_longer():
    each = one()
    for _ in range(5):
        each.refused(10.0, 60.0, "busy")
    assert each.cool_until == 70.0
    assert each.refusals == 1


def test_what_refused_is_remembered_for_a_while_after_its_cool_down_though_nothing_waits():
    each = Destination()
    each.refused(0.0, 60.0, "busy")
    assert not each.idle(60.0)
    assert each.idle(60.0 + REMEMBERED)


def test_how_it_refused_first_is_known_until_it_takes_something():
    each = one()
    each.refused(0.0, 60.0, "since noon: busy")
    each.refused(60.0, 60.0, "since one: still busy")
    assert each.refusal == "since noon: busy"
    each.took(200.0, MOST)
    assert each.refusal == ""


def test_what_waits_behind_the_probe_may_be_put_off_while_it_cools_down():
    each = one()
    assert not each.may_put_off(0.0)
    each.refused(0.0, 60.0, "busy")
    assert each.may_put_off(59.0)
    assert not each.may_put_off(60.0)
    each.workers = 1
    assert not each.may_put_off(59.0)
    each.workers = 0
    while len(each.waiting) > each.probe():
        each.waiting.pop()
    assert not each.may_put_off(59.0)


@given(st.lists(st.tuples(st.sampled_from(["took", "refused"]), st.integers(0, 5000))))
def test_whatever_happens_some_worker_may_go_there_within_the_longest_cool_down(story):
    each, now = one(), 0.0
    for what, seconds in story:
        now += seconds
        if what == "took":
            each.took(now, MOST)
        else:
            each.refused(now, 60.0, "busy")
        assert 1 <= each.concurrency <= MOST
        assert each.may_have_more(MOST, now + LONGEST_COOL_DOWN)
