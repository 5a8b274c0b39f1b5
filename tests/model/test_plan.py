# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The arithmetic of the schedule, against dice that are really thrown."""

import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailspool.model.plan import Looks, plan, sum_within
from mailspool.model.tier import Tier, make_tiers

SEED_PERIODS = (0, 1800, 14400, 28800, 57600, 86400, 172800)
SEED_PRIORITIES = (1, 3, 9, 25, 50, 100, 200)

looks = st.builds(Looks, st.integers(1, 300), st.floats(0.1, 600), st.integers(1, 20))


def waited(look, dice):
    """One wait: each host ticks at its own moment, and rolls at each tick until it looks."""
    tier = Tier(1, 0, look.priority, last=False)
    ticks = []
    for _ in range(look.hosts):
        tick = dice.random()
        while not tier.roll(dice.randrange):
            tick += 1
        ticks.append(tick)
    return look.timeout * min(ticks)


@pytest.mark.parametrize(("priority", "mean"), [(0, 10), (1, 10), (3, 50), (200, 3990)])
def test_the_mean_of_one_host_counts_half_a_tick_until_the_first(priority, mean):
    assert Looks(priority, 20).mean == pytest.approx(mean)


@given(looks, st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_mean_and_percentiles_are_what_dice_give(look, seed):
    look = look._replace(priority=min(look.priority, 25), hosts=min(look.hosts, 5))
    dice = random.Random(seed)
    thrown = [waited(look, dice) for _ in range(2000)]
    assert fmean(thrown) == pytest.approx(look.mean, rel=0.12)
    for chance in (0.5, 0.95, 0.99):
        within = look.within(chance)
        assert sum(each <= within for each in thrown) / 2000 == pytest.approx(chance, abs=0.06)


@given(looks, st.floats(0.01, 0.999))
def test_a_percentile_is_where_the_chance_of_a_longer_wait_is_the_rest(look, chance):
    assert look.beyond(look.within(chance)) == pytest.approx(1 - chance, abs=1e-6)


@given(looks, st.floats(0, 1e5), st.floats(0, 1e5))
def test_the_longer_the_wait_the_smaller_its_chance_and_more_hosts_make_it_smaller(look, one, more):
    assert 0 <= look.beyond(one + more) <= look.beyond(one) + 1e-12 <= 1 + 1e-9
    assert look._replace(hosts=look.hosts + 1).beyond(one) <= look.beyond(one) + 1e-12
    assert look._replace(hosts=look.hosts + 1).mean < look.mean


@given(st.lists(looks, min_size=1, max_size=4), st.integers(0, 9))
@settings(max_examples=6, deadline=None)
def test_waits_one_after_the_other_add_up_as_with_dice(several, seed):
    several = [look._replace(priority=min(look.priority, 20), hosts=min(look.hosts, 3)) for look in several]
    dice = random.Random(seed)
    thrown = [sum(waited(look, dice) for look in several) for _ in range(1000)]
    for chance in (0.95, 0.99):
        within = sum_within(several, chance)
        assert sum(each <= within for each in thrown) / 1000 == pytest.approx(chance, abs=0.04)


def test_the_default_schedule_gives_up_in_its_last_tier_before_the_fifth_day():
    made = plan(make_tiers(SEED_PERIODS, SEED_PRIORITIES), 20, 432000)
    assert [one.tier for one in made.tries] == list(range(7))
    assert made.tries[0] == (0, 0, 0, 0, 0)
    assert made.tries[1].mean == pytest.approx(1850)
    assert not made.by_age
    assert 361800 < made.tries[-1].mean < made.tries[-1].within_95 < made.tries[-1].within_99 < 432000


def test_a_first_tier_that_waits_is_not_poked():
    (first,) = plan(make_tiers((60,), (1,)), 20, 432000).tries
    assert first.mean == pytest.approx(70)


def test_the_maximum_age_ends_a_wait_and_the_tiers_behind_it_are_not_reached():
    made = plan(make_tiers((0, 600, 7200, 60), (1, 1, 1, 1)), 20, 3600)
    assert made.by_age
    assert [one.tier for one in made.tries] == [0, 1, 2]
    assert made.tries[-1].mean == pytest.approx(3610)


def test_without_any_age_the_first_try_is_the_last():
    assert len(plan(make_tiers((0, 600), (1, 1)), 20, 0).tries) == 1


periods = st.lists(st.floats(0, 1e6), min_size=1, max_size=5)


@given(
    periods,
    st.lists(st.integers(1, 500), min_size=5, max_size=5),
    st.floats(0.1, 1e4),
    st.floats(0, 1e6),
    st.integers(1, 9),
)
@settings(deadline=None, max_examples=30)
def test_tries_come_one_after_the_other_and_percentiles_in_their_order(waits, priorities, timeout, max_age, hosts):
    made = plan(make_tiers(tuple(waits), tuple(priorities[: len(waits)])), timeout, max_age, hosts)
    assert 1 <= len(made.tries) <= len(waits)
    assert [one.tier for one in made.tries] == list(range(len(made.tries)))
    for one in made.tries:
        assert one.within_95 <= one.within_99
    means = [one.mean for one in made.tries]
    assert means == sorted(means)
    assert all(mean < max_age for mean in means[:-1])
