# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Foreign text made fit to stand in a report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.dsn.plain import MAX_OCTETS, decode_xtext, fold, plain

anything = st.text(st.characters(exclude_categories=()), max_size=300) | st.text("\r\n\0\t \u2028\x85x", max_size=3000)


@given(anything, st.booleans())
def test_plain_text_is_one_visible_line_of_bounded_length(text, utf8):
    line = plain(text, utf8=utf8)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    assert len(line.encode()) <= MAX_OCTETS + len(" [...]")
    assert utf8 or line.isascii()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=MAX_OCTETS))
def test_visible_ascii_stays_as_it_is(text):
    assert plain(text, utf8=False) == text


@pytest.mark.parametrize(
    ("text", "utf8", "shown"),
    [
        ("550 no\r\nBcc: all", True, "550 no  Bcc: all"),
        ("tab\there", True, "tab here"),
        ("nul\0", True, r"nul\x{00}"),
        ("evil\u202egnp.exe", True, r"evil\x{202E}gnp.exe"),
        ("refusé", True, "refusé"),
        ("refusé", False, r"refus\xe9"),
        ("lone \udc80", True, r"lone \x{DC80}"),
        ("x" * 2000, True, "x" * MAX_OCTETS + " [...]"),
    ],
)
def test_what_is_not_visible_is_spelt_out(text, utf8, shown):
    assert plain(text, utf8=utf8) == shown


@given(anything)
def test_folded_lines_are_indented_and_never_too_long_to_send(text):
    folded = fold(plain(text, utf8=True), "    ")
    for line in folded.split("\r\n") if folded else []:
        assert line.startswith("    ")
        assert line.strip()
        assert len(line.encode()) < 998


@given(anything)
def test_folding_keeps_the_words(text):
    line = plain(text, utf8=True)
    assert fold(line, "  ").split() == line.split()


@pytest.mark.parametrize(
    ("encoded", "meant"),
    [("a+2Bb", "a+b"), ("a+3Db", "a=b"), ("+0D+0AX: y", "+0D+0AX: y"), ("+E9+2b", "+E9+2b"), ("", "")],
)
def test_xtext_is_decoded_as_far_as_it_stands_for_visible_ascii(encoded, meant):
    assert decode_xtext(encoded) == meant
