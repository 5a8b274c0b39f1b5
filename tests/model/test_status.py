# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Enhanced status codes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model import status
from mailspool.model.status import EXPIRED, as_permanent, parse_status

OURS = [value for name, value in vars(status).items() if name.isupper() and isinstance(value, str)]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 no such user", "5.1.1"),
        (550, "5.1.1", "5.1.1"),
        (250, "2.6.0 <id> queued", "2.6.0"),
        (550, "5.7.026 spam", "5.7.26"),
        (450, "5.1.1 the classes disagree", "4.0.0"),
        (550, "no such user 5.1.1", "5.0.0"),
        (550, "5.1.1.2 is an address", "5.0.0"),
        (550, "5.1.1000 is none", "5.0.0"),
        (550, "5.1 is none", "5.0.0"),
        (550, "5.１.1 is none", "5.0.0"),
        (421, "", "4.0.0"),
    ],
)
def test_a_status_counts_only_where_it_begins_the_text_and_agrees_with_the_code(code, text, expected):
    assert parse_status(code, text) == expected


@given(
    st.sampled_from([200, 250, 400, 421, 450, 500, 550, 599]), st.text() | st.from_regex(r"\A[245]\.\d{1,4}\.\d{1,4}")
)
def test_every_reply_has_a_status_of_its_own_class(code, text):
    assert re.fullmatch(rf"{code // 100}\.[0-9]{{1,3}}\.[0-9]{{1,3}}", parse_status(code, text))


@pytest.mark.parametrize("value", OURS)
def test_our_own_statuses_are_well_formed_and_final_ones_stay_final(value):
    assert parse_status(int(value[0]) * 100, value) == value
    if value.startswith("5"):
        assert as_permanent(value) == value


def test_a_status_becomes_permanent_but_for_expiry():
    assert as_permanent("4.4.1") == "5.4.1"
    assert as_permanent(EXPIRED) == EXPIRED
