# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The demo fits on a page, in a terminal and out of it, and says loudly when the law was broken."""

import io

import pytest
from rich.console import Console

from mailspool.cli.demo.scenes import Fate, Scene, Sent, Waiting
from mailspool.cli.demo.view import WIDTH, At, Line, Lines, Picture, print_fates, span, view_on

STORY = [
    Line("", "", "now: something"),
    Line("deferred", "bob@good.test", "451 [red]not markup[/red] " + "x" * 100),
    Line("sent", "bob@good.test", "Hello"),
]
NOW = At(0.0, [(0.0, 1), (1800.0, 70)], [("greeting", "silent.test", 0.5), ("idle", "", 0)] * 6, STORY)
SENT = Sent("ID", Scene("Hello", ("bob@good.test",)), 0.0)
DELIVERED = Fate(SENT, "bob@good.test", 1, (0.2,), True, None, None)


def console(**options):
    return Console(file=io.StringIO(), width=WIDTH, highlight=False, **options)


def test_outside_a_terminal_each_line_is_told_once():
    page = console()
    with view_on(page) as view:
        assert isinstance(view, Lines)
        view.show(NOW._replace(story=STORY[:2]))
        view.show(NOW)
    assert [line.split()[0] for line in page.file.getvalue().splitlines()] == ["now:", "deferred", "sent"]
    assert "[red]not markup[/red]" in page.file.getvalue()


def test_in_a_terminal_there_is_a_picture():
    page = console(force_terminal=True, _environ={"TERM": "xterm"})
    with view_on(page) as view:
        assert isinstance(view, Picture)
        view.show(NOW)
    drawn = page.file.getvalue()
    assert all(words in drawn for words in ("the spool", "the workers", "what happens", "silent.test", "it is"))


def test_a_dumb_terminal_gets_lines():
    page = console(force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(view_on(page), Lines)


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        (DELIVERED, "delivered after 0.2 s"),
        (DELIVERED._replace(attempts=2), "delivered after 0.2 s, 2 attempts"),
        (DELIVERED._replace(copies=(), bounced=360_000.0), "bounce arrived after 4 days 4 h"),
        (DELIVERED._replace(copies=(), waiting=Waiting(1, 1800.0)), "waits in tier 1, next look in 30 min"),
    ],
)
def test_each_end_is_told_and_nothing_is_lost(fate, said):
    page = console()
    print_fates(page, [fate])
    assert said in page.file.getvalue()
    assert page.file.getvalue().endswith(", 0 lost\n")


@pytest.mark.parametrize(
    ("fate", "told"),
    [
        (DELIVERED._replace(copies=()), "1 lost"),
        (DELIVERED._replace(whole=False), "1 damaged, 0 lost"),
        (DELIVERED._replace(copies=(0.1, 0.2)), "1 twice, 0 lost"),
    ],
)
def test_a_broken_law_is_told(fate, told):
    page = console()
    print_fates(page, [fate])
    assert fate.fault in page.file.getvalue()
    assert told in page.file.getvalue()
    assert "0 delivered" in page.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (59.6, "60 s"),
        (61, "1 min"),
        (1800, "30 min"),
        (16200, "4 h 30 min"),
        (86400, "1 day"),
        (361_800, "4 days 4 h"),
    ],
)
def test_a_time_span_is_said_as_people_do(seconds, said):
    assert span(seconds) == said
