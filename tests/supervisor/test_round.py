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


def test_who_is_let_in_in_vain_or_changes_behind_an_obstacle_comes_back_to_where_it_stood():
    round_, now = Round[str](), 0.0
    for name in "abcd":
        round_.put(name, now, now)
        round_.put_behind(name, "wall")
    for _ in range(3):
        round_.let_in("wall", 2)
        assert list(round_) == ["a", "b"]
        round_.put_behind("b", "wall")
        round_.put("a", now, now)
        round_.put_behind("a", "wall")
        round_.put("c", now, now)
        round_.put_behind("c", "wall")
    assert round_.behind("wall") == 4
    for name in "abcd":
        round_.let_in("wall", 1)
        assert list(round_) == [name]
        round_.discard(name)
    assert round_.obstacles == []
    round_.put("a", now, now)
    round_.put_behind("a", "wall")  # it has had its turn
    round_.put("e", now, now)
    assert (list(round_), round_.behind("wall")) == (["e"], 1)


def test_who_waits_behind_an_obstacle_has_a_turn_when_it_is_let_in_and_those_behind_others_wait_on():
    one = Round()
    for name in "abcde":
        one.put(name, 0.0, 0.0)
    for name in "abd":
        one.put_behind(name, "wall")
    one.put_behind("e", "ditch")
    assert (list(one), len(one), "a" in one, one.behind("wall")) == (["c"], 5, True, 3)
    one.let_in("wall", 2)
    assert (list(one), one.behind("wall"), one.obstacles) == (["c", "a", "b"], 1, ["wall", "ditch"])
    one.let_in("wall", -1)
    one.put("d", 0.0, 0.0)  # something else is known of it now
    one.discard("e")
    assert (list(one), one.obstacles, len(one)) == (["c", "a", "b", "d"], [], 4)


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
