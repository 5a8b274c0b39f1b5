# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How spans and sizes are told."""

import pytest

from mailspool.cli import text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (11400, "3h 10m"), (86400, "1d"), (90000, "1d 1h")],
)
def test_a_span_is_told_in_its_two_largest_units(seconds, said):
    assert text.span(seconds) == said
    assert text.span(seconds, units=1) == said.split()[0]


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0"), (999, "999"), (1000, "1.0K"), (20480, "20K"), (1 << 20, "1.0M"), (5 << 40, "5120G")]
)
def test_a_size_is_told_in_few_characters(number, said):
    assert text.octets(number) == said
