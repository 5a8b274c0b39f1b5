# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How slow a peer may be, under a simulated clock."""

from hypothesis import given
from hypothesis import strategies as st

from mailspool.smtp.pace import Pace

moves = st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 100)), min_size=1, max_size=30)


def test_nothing_is_too_slow_that_has_not_begun():
    pace = Pace(1000.0)
    assert pace.until(60.0) == float("inf")
    pace.begin(5.0)
    pace.move(1)
    pace.rest()
    assert pace.until(60.0) == float("inf")


def test_without_a_rate_nothing_is_too_slow():
    pace = Pace(0.0)
    pace.begin(5.0)
    assert pace.until(60.0) == float("inf")


@given(moves, st.floats(1, 1e6), st.floats(0, 300))
def test_who_is_in_time_has_kept_the_rate_but_for_the_grace(moves, rate, grace):
    pace, now, octets = Pace(rate), 100.0, 0
    for more, seconds in moves:
        pace.begin(now)
        pace.move(more)
        octets += more
        now += seconds
        in_time = now <= pace.until(grace)
        assert in_time == (now <= 100.0 + grace + octets / rate)
