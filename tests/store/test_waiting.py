# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a look leaves out unread: a folder's name tells of all its nodes what their own names would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.store.nodename import elsewhere, folder_of, is_folder, new_id, of_folder, place
from mailspool.store.waiting import Waiting

NOW = 1_763_841_986
NAME = f"{NOW}-00T3X1K2F8Q0ZL5M1N7B.0-x.example"
HOUR, DAYS = 3600, 86400

dice = st.binary(min_size=8, max_size=8)
seconds = st.integers(-20 * DAYS, 20 * DAYS)
bounds = st.builds(lambda *parts: Waiting(*(NOW + part for part in parts)), seconds, seconds, seconds)


@st.composite
def node_names(draw):
    random, arrived = draw(dice), NOW + draw(seconds)
    return f"{NOW + draw(seconds)}-{new_id(arrived, lambda _: random)}.0-x.example"


def test_a_folder_is_called_as_its_nodes_begin():
    assert folder_of(NAME) == "1763841-00T3"
    assert is_folder(folder_of(NAME))
    assert not is_folder(NAME)


@pytest.mark.parametrize(
    "name",
    [
        f"0-{NAME.partition('-')[2]}",
        "5-A.0-a.example",
        f"99999999999-{NAME.partition('-')[2]}",
        "1763841986-0t3x.0-x.example",
        "1763841986-00T.0-x.example",
        "١٧٦٣٨٤١٩٨٦-00T3X1K2.0-x.example",
        "1763841-00T3",
        "README",
        "",
    ],
)
def test_what_does_not_tell_when_it_entered_and_arrived_has_no_folder(name):
    assert folder_of(name) == ""
    assert (place(3, name), elsewhere(3, name)) == (name, "")


@given(st.lists(node_names() | st.text(max_size=30)))
def test_a_folder_is_that_of_those_who_have_it(names):
    for folder in filter(None, map(folder_of, names)):
        assert of_folder(folder, names) == [name for name in names if folder_of(name) == folder]


def test_a_node_is_put_into_its_folder_but_in_tier_0_and_may_be_found_in_either_place():
    inside = f"{folder_of(NAME)}/{NAME}"
    assert (place(1, NAME), elsewhere(1, NAME)) == (inside, NAME)
    assert (place(0, NAME), elsewhere(0, NAME)) == (NAME, inside)


@given(bounds, st.lists(node_names(), max_size=20))
def test_a_folder_is_left_out_only_with_nodes_that_all_wait(waiting, names):
    for name in waiting.outside(names):
        assert not waiting.covers(folder_of(name))


@given(bounds, node_names())
def test_a_folder_whose_time_is_over_holds_only_what_has_waited_long_enough(waiting, name):
    if waiting.is_past(folder_of(name)):
        assert int(name[:10]) < waiting.first
        assert not waiting.covers(folder_of(name))


@given(st.integers(1000, 30 * DAYS), st.integers(0, 30 * DAYS), dice)
def test_a_folder_waits_when_all_that_could_be_in_it_do(entered, arrived, random):
    """But for a second, the folder's own 1,000, and the 13 hours between arrivals that its name does not tell apart."""
    name = f"{NOW + entered}-{new_id(NOW + arrived, lambda _: random)}.0-x.example"
    assert Waiting(NOW, NOW + 31 * DAYS, NOW + arrived - 13 * HOUR).covers(folder_of(name))


@pytest.mark.parametrize("waiting", [Waiting(NOW, NOW - 1, 0), Waiting(0, NOW, 0), Waiting(NOW, NOW, 36**7)])
def test_where_nothing_surely_waits_all_is_read(waiting):
    assert list(waiting.outside([NAME, "README"])) == [NAME, "README"]
    assert not waiting.covers(folder_of(NAME))
    assert not waiting.is_past(folder_of(NAME))
