# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One waiting period and its dice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.tier import AHEAD, Tier, make_tiers

tiers = st.builds(Tier, st.integers(0, 6), st.floats(0, 1e6), st.integers(1, 500), st.booleans())


def test_a_tier_of_priority_one_is_always_looked_at_and_needs_no_dice():
    def no_dice(_sides):
        raise AssertionError

    assert all(Tier(0, 0, priority, last=False).roll(no_dice) for priority in (1, 0))


def test_of_all_throws_exactly_one_looks():
    tier = Tier(3, 0, 25, last=False)
    assert [n for n in range(25) if tier.roll(lambda _sides, n=n: n)] == [0]


def test_the_dice_have_as_many_sides_as_the_priority_says():
    thrown = []
    Tier(3, 0, 25, last=False).roll(lambda sides: thrown.append(sides) or 1)
    assert thrown == [25]


@given(tiers, st.floats(0, 4e9), st.floats(0, 4e9))
def test_a_node_is_due_once_it_has_waited_and_stays_due(tier, entered, passed):
    now = entered + passed
    if tier.is_due(entered, now):
        assert tier.is_due(entered, now + 1)
    assert tier.is_due(entered, now) == (entered + tier.wait <= now)


@given(tiers, st.floats(1, 4e9), st.floats(1, 4e9))
def test_a_node_from_the_future_is_due_now_unless_another_clock_may_just_be_ahead(tier, now, ahead):
    if ahead > AHEAD + 1:
        assert tier.is_due(now + ahead, now)
    elif ahead < AHEAD - 1:
        assert tier.due_at(now + ahead, now) == now + ahead + tier.wait


@given(tiers, st.floats(-4e9, 4e9))
def test_a_node_of_time_zero_is_due_now_whatever_the_tier(tier, now):
    assert tier.is_due(0, max(now, 1e9))


def test_the_periods_and_priorities_make_tiers_of_which_one_is_the_last():
    made = make_tiers((0, 1800, 14400), (1, 3, 9))
    assert made == (Tier(0, 0, 1, last=False), Tier(1, 1800, 3, last=False), Tier(2, 14400, 9, last=True))
    assert make_tiers((), ()) == ()


def test_periods_and_priorities_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        make_tiers((0, 1800), (1,))
