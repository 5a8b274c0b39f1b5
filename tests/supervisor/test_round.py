# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Turns go in the order in which they came; who has none yet comes behind those that have, once its moment comes."""

from hypothesis import given
from hypothesis import strategies as st

from mailspool.supervisor.round import Round

NEVER = float("inf")


def test_who_is_put_again_keeps_its_turn():
    one = Round()
    for name in ("a", "b", "a"):
        one.put(name, 0.0, 0.0)
    assert list(one) == ["a", "b"]


def test_who_stands_aside_has_no_turn_and_comes_back_behind_the_others():
    one = Round()
    for name in ("a", "b"):
        one.put(name, 0.0, 0.0)
    one.put("a", 5.0, 0.0)
    assert (list(one), len(one), "a" in one, one.next_moment) == (["b"], 2, False, 5.0)
    assert list(one.due(4.9)) == []
    assert list(one.due(5.0)) == ["a"]
    assert (list(one), one.next_moment) == (["b", "a"], NEVER)


def test_only_the_last_word_counts():
    one = Round()
    one.put("a", 5.0, 0.0)
    one.put("a", NEVER, 0.0)
    assert list(one.due(9.0)) == []
    one.put("a", 20.0, 9.0)
    one.put("a", 0.0, 10.0)
    assert (list(one.due(20.0)), list(one)) == ([], ["a"])
    one.discard("a")
    assert (list(one), len(one)) == ([], 0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 1.0, 2.0, 5.0, NEVER, None]), st.booleans())))
def test_at_any_time_those_have_a_turn_whose_moment_has_come(steps):
    one, moments, now = Round(), dict[str, float](), 0.0
    for name, wait, later in steps:
        now += later
        for each in one.due(now):
            assert moments[each] <= now
        if wait is None:
            one.discard(name)
            moments.pop(name, None)
        else:
            moments[name] = now + wait
            one.put(name, now + wait, now)
        assert set(one) == {each for each, moment in moments.items() if moment <= now}
        assert len(one) == len(moments)
        assert one.next_moment == min((moment for moment in moments.values() if moment > now), default=NEVER)
