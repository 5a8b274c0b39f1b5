# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.config.units import OCTETS, SECONDS, parse_duration, parse_size, written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("4h", 14400),
        ("5d", 432000),
        ("1h30m", 5400),
        ("1 h 30 m", 5400),
        ("1W2D", 777600),
        ("1.5h", 5400),
        ("0.5s", 0.5),
        ("0s", 0),
        ("90", 90),
    ],
)
def test_a_duration_is_the_sum_of_its_units_and_a_plain_number_is_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "h", "30m1h", "1h1h", "1h30", "-1s", "1e3", "nan", "inf", "1_0", "5 days", "1..5h", "٣s"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is no "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("10 MB", 10_000_000),
        ("10 MiB", 10_485_760),
        ("4k", 4096),
        ("4 kB", 4000),
        ("4KiB", 4096),
        ("1.5 GB", 1_500_000_000),
        ("2T", 2 << 40),
        ("512", 512),
        ("512 B", 512),
    ],
)
def test_sizes_with_b_are_powers_of_1000_and_the_others_of_1024(text, octets):
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 XB", "1 kk", "k4", "1e3", "nan", "10 PB", "9" * 400])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is no "):
        parse_size(text)


@given(st.integers(0, 10**15))
def test_a_duration_is_written_so_that_it_reads_back(seconds):
    assert parse_duration(written(seconds, "seconds")) == seconds


@given(st.integers(0, 10**15) | st.builds(int.__mul__, st.integers(1, 999), st.sampled_from([*OCTETS.values()])))
def test_a_size_is_written_so_that_it_reads_back(octets):
    assert parse_size(written(octets, "octets") or str(octets)) == octets


@given(st.lists(st.integers(0, 999), min_size=5, max_size=5), st.sampled_from(["", " "]))
def test_units_in_their_order_add_up(numbers, space):
    parts = [f"{number}{space}{unit}" for number, unit in zip(numbers, SECONDS, strict=True)]
    expected = sum(number * size for number, size in zip(numbers, SECONDS.values(), strict=True))
    assert parse_duration(space.join(parts)) == expected


@given(st.text(st.sampled_from("0123456789. wdhmskgtib-+e_\n") | st.characters(), max_size=12))
def test_any_text_is_a_number_from_0_on_or_refused(text):
    for parse in (parse_duration, parse_size):
        with suppress(ValueError):
            assert parse(text) >= 0


@pytest.mark.parametrize(
    ("number", "unit", "words"),
    [
        (432000, "seconds", "5d"),
        (5400.0, "seconds", "1h30m"),
        (1209600, "seconds", "14d"),
        (0, "seconds", "0s"),
        (0.5, "seconds", ""),
        (math.inf, "seconds", ""),
        (50000, "octets", "50 kB"),
        (51200, "octets", "50 KiB"),
        (0, "octets", ""),
        (7, "octets", ""),
        (7, "", ""),
    ],
)
def test_numbers_are_written_in_units_where_these_are_exact(number, unit, words):
    assert written(number, unit) == words
