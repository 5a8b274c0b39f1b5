# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whoever lives is never taken for dead, whatever delays it and us alike; whoever is dead is found out."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mailspool.store.observer import Observer

LEASE, SLOW, BEAT = 60.0, 20.0, 5.0


def looks(observer, sign, times):
    """What is told of "a" at each of these times, at which a look takes no time."""
    return [observer.look({"a": sign}, now, now)["a"] for now in times]


def test_what_stands_still_grows_old_from_the_first_look_on():
    assert looks(Observer(SLOW), 1, [100, 110, 125, 140]) == [0, 10, 25, 40]


def test_what_moves_is_young_again():
    observer = Observer(SLOW)
    assert looks(observer, 1, [0, 10, 20]) == [0, 10, 20]
    assert looks(observer, 2, [30, 40]) == [0, 10]


def test_who_has_moved_since_the_look_before_is_known_once():
    observer, moved = Observer(SLOW), []
    for now, sign in ((0, 1), (10, 2), (20, 2), (60, 3), (70, None)):
        observer.look({"a": sign, "b": 5}, now, now)
        moved.append(observer.moved)
    assert moved == [(), ("a",), (), (), ("a",)]  # of what came before a late look nothing counts


def test_what_has_no_lease_is_watched_in_the_same_way():
    observer = Observer(SLOW)
    assert looks(observer, 1, [0, 10]) == [0, 10]
    assert looks(observer, None, [20, 30, 40]) == [0, 10, 20]


def test_what_is_gone_and_comes_back_begins_anew():
    observer = Observer(SLOW)
    looks(observer, 1, [0, 10])
    assert observer.look({}, 20, 20) == {}
    assert looks(observer, 1, [30]) == [0]


def test_a_look_that_comes_late_or_takes_long_makes_everybody_begin_anew():
    late, slow = Observer(SLOW), Observer(SLOW)
    assert looks(late, 1, [0, 15, 30, 51, 60]) == [0, 15, 30, 0, 9]
    looks(slow, 1, [0, 15, 30])
    assert slow.look({"a": 1}, 35, 51) == {"a": 0}  # its answers are of 51, or long before
    assert looks(slow, 1, [60]) == [9]


def test_only_the_time_between_two_readings_counts_not_the_time_that_they_took():
    observer = Observer(SLOW)
    observer.look({"a": 1}, 0, 8)
    assert observer.look({"a": 1}, 10, 18) == {"a": 2}


def life(dice):
    """A beat every five seconds at the latest, but for times in which the file server answers nobody; and looks.

    Returns the times at which the counter moved, and the looks as (began, ended).
    """
    now, away = 0.0, []
    for _ in range(dice.randrange(4)):
        now += dice.uniform(1, 200)
        away.append((now, now := now + dice.choice([dice.uniform(1, SLOW), dice.uniform(SLOW, 600)])))
    until = now + 200

    def reached(moment):
        """When what is asked of the server at a moment is done."""
        return next((end for begin, end in away if begin <= moment < end), moment)

    beats, now = [], 0.0
    while now < until:
        beats.append(now := reached(now + dice.uniform(0.5, BEAT)))
    looks, now = [], dice.uniform(0, 30)
    while now < until:
        began = now + dice.uniform(1, 12)
        looks.append((began, now := reached(began) + dice.uniform(0, 1)))
    return beats, looks


@given(st.integers(0, 1 << 64))
def test_who_lives_is_never_dead_however_long_the_server_is_away(seed):
    dice = Random(seed)
    beats, looks = life(dice)
    observer = Observer(SLOW)
    for began, ended in looks:
        read = dice.uniform(began, ended)
        assert observer.look({"a": sum(beat <= read for beat in beats)}, began, ended)["a"] < LEASE


@given(st.lists(st.tuples(st.floats(1, 15), st.floats(0, 4)), min_size=20))
def test_who_is_dead_is_known_to_be_after_the_lease_time_and_one_look(spacings):
    observer, now = Observer(SLOW), 0.0
    for pause, takes in spacings:
        began, now = now + pause, now + pause + takes
        known = observer.look({"a": 7}, began, now)["a"] >= LEASE
        if began >= LEASE + 19:  # the end of the first look, which is when the counter was seen
            assert known


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 30), st.integers(0, 2)), max_size=30))
def test_nothing_is_told_to_have_stood_still_longer_than_it_was_seen_to(rounds):
    observer, now, first = Observer(SLOW), 0.0, {}
    for pause, takes, counter in rounds:
        began, now = now + pause, now + pause + takes
        if first.get("counter") != counter:
            first = {"counter": counter, "at": now}
        assert observer.look({"a": counter}, began, now)["a"] <= max(0.0, began - first["at"])
