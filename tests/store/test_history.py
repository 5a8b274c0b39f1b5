# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A history gives back what was put into it, whatever a crash tore."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import SpoolError
from mailspool.model.outcome import Attempt
from mailspool.store import history

finite = st.floats(allow_nan=False, allow_infinity=False)
attempts = st.lists(
    st.builds(Attempt, finite, st.integers(0, 9), *[st.text(st.characters(codec="utf-8"))] * 3, finite), max_size=4
)


@given(first=attempts, second=attempts)
def test_every_attempt_comes_back_in_order(tmp_path_factory, first, second):
    path = str(tmp_path_factory.mktemp("history") / "A.0")
    history.append(path, first)
    history.append(path, second)
    assert history.read(path) == first + second


def test_a_history_torn_anywhere_gives_the_whole_lines_and_those_that_are_added_to_it(tmp_path):
    path = tmp_path / "A.0"
    three = [Attempt(float(n), n, "mx", "4.0.0", f"line\n{n}") for n in range(3)]
    history.append(str(path), three)
    whole, later = path.read_bytes(), Attempt(3.0, 3, "mx", "4.0.0", "later")
    ends = [n for n in range(1, len(whole)) if whole[n : n + 1] == b"\n"]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        left = three[: sum(end <= length for end in ends)]
        assert history.read(str(path)) == left
        history.append(str(path), [later])
        assert history.read(str(path)) == [*left, later]


def test_zeros_that_a_power_cut_left_are_passed_over(tmp_path):
    path = tmp_path / "A.0"
    path.write_bytes(b"\0" * 100 + b"\n")
    history.append(str(path), [Attempt(1.0, 0, "", "", "x")])
    assert [a.text for a in history.read(str(path))] == ["x"]


def test_nothing_to_record_makes_no_file(tmp_path):
    history.append(str(tmp_path / "A.0"), [])
    assert list(tmp_path.iterdir()) == []


def test_a_history_that_is_no_file_is_not_followed(tmp_path):
    (tmp_path / "A.0").symlink_to(tmp_path / "secret")
    with pytest.raises(SpoolError, match=r"A\.0"):
        history.append(str(tmp_path / "A.0"), [Attempt(1.0, 0, "", "", "x")])
    assert not (tmp_path / "secret").exists()
