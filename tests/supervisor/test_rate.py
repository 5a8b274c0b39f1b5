# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A token bucket, with a simulated clock."""

from hypothesis import given
from hypothesis import strategies as st

from mailspool.supervisor.rate import Bucket

limits = st.integers(1, 5000)
pauses = st.lists(st.floats(0, 90, allow_nan=False), max_size=60)


@given(limits, pauses, st.integers(1, 100))
def test_no_minute_sees_more_than_the_limit(limit, pauses, greed):
    bucket, now, gone = Bucket(), 1000.0, []
    for pause in pauses:
        now += pause
        count = min(greed, bucket.left(limit, now))
        bucket.spend(count, limit, now)
        gone.append((now, count))
    for start, _ in gone:
        assert sum(count for at, count in gone if start <= at < start + 59.99) <= limit


@given(limits)
def test_who_takes_all_it_gets_gets_the_whole_limit_but_for_what_it_holds(limit):
    bucket, now, gone = Bucket(), 0.0, 0
    while now < 600.0:
        now += bucket.wait(limit, now)
        count = bucket.left(limit, now)
        assert count > 0
        bucket.spend(count, limit, now)
        gone += count
    assert gone >= 10 * (limit - limit // 60)


def test_what_did_not_go_is_given_back():
    bucket = Bucket()
    bucket.spend(1, 30, 0.0)
    assert (bucket.left(30, 0.0), bucket.wait(30, 0.0)) == (0, 2.0)
    bucket.spend(-1, 30, 0.0)
    assert (bucket.left(30, 0.0), bucket.wait(30, 0.0)) == (1, 0.0)


def test_what_is_owed_flows_in_first():
    bucket = Bucket()
    bucket.spend(3, 60, 0.0)
    assert bucket.left(60, 2.0) == 0
    assert bucket.left(60, 2.5) == 1


def test_a_share_of_less_than_one_a_minute_takes_minutes():
    bucket = Bucket()
    bucket.spend(1, 0.5, 0.0)
    assert bucket.left(0.5, 119.0) == 0
    assert bucket.left(0.5, 120.0) == 1


def test_a_full_one_is_as_good_as_new():
    bucket = Bucket()
    assert bucket.is_full(30, 0.0)
    bucket.spend(1, 30, 0.0)
    assert not bucket.is_full(30, 1.0)
    assert bucket.is_full(30, 3.0)


def test_a_clock_that_steps_back_gives_nothing_away():
    bucket = Bucket()
    bucket.spend(1, 30, 100.0)
    assert bucket.left(30, 50.0) == 0
