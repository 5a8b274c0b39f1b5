# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How an attempt ended."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.outcome import Attempt, Deferred, Delivered, Failed, Outcome

attempts = st.builds(Attempt, st.floats(0, 4e9), st.integers(0, 6), st.text(), st.text(), st.text(), st.floats(0, 1e6))


@given(attempts)
def test_an_attempt_is_one_line_of_json_and_reads_back(attempt):
    line = msgspec.json.encode(attempt)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Attempt) == attempt


@pytest.mark.parametrize("verdict", [Delivered, Deferred, Failed])
def test_each_verdict_is_an_outcome_and_none_is_another(verdict):
    outcome = verdict("x.0.0", "host", "text")
    assert isinstance(outcome, Outcome)
    assert [isinstance(outcome, other) for other in (Delivered, Deferred, Failed)].count(True) == 1
    assert all(other("x.0.0", "host", "text") != outcome for other in {Delivered, Deferred, Failed} - {verdict})


def test_an_outcome_never_changes():
    with pytest.raises(AttributeError):
        Failed("5.1.1", "", "no").status = "2.0.0"


def test_a_deferral_is_no_refusal_unless_it_says_so():
    assert not Deferred("4.0.0", "", "later").refused
