# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What mailspoold is started with means the same with click and without."""

import pytest

from mailspool.cli.mailspoold import mailspoold
from mailspool.cli.start import Usual, usual

USUAL = [
    [],
    ["-f"],
    ["--foreground", "-c", "x/../y.toml"],
    ["-c", "/etc/x.toml", "-c", "y.toml", "-o", "a=b", "--option", "c=", "-f", "-f"],
    ["--config", "-f", "-o", "-c"],
]


@pytest.mark.parametrize("words", USUAL, ids=" ".join)
def test_the_usual_words_mean_what_click_makes_of_them(words):
    options = mailspoold.make_context("mailspoold", list(words)).params
    assert usual(words) == Usual(options["foreground"], options["config"], options["overrides"])
    assert not options["check"]


@pytest.mark.parametrize(
    "words",
    [
        ["-t"],
        ["-f", "--check"],
        ["-h"],
        ["--version"],
        ["-c"],
        ["-fc", "x"],
        ["-cx"],
        ["--config=x"],
        ["x"],
        ["-c", ""],
    ],
)
def test_all_other_words_are_left_to_click(words):
    assert usual(words) is None
