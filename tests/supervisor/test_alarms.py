# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""An administrator hears of a trouble once, not once for each message."""

import pytest

from mailspool import log
from mailspool.log.writer import Stderr
from mailspool.supervisor.alarms import REMIND, Alarms


@pytest.fixture
def alarms(clock, monkeypatch):
    monkeypatch.setattr(log, "_writer", Stderr("line"))
    return Alarms(clock)


@pytest.fixture
def lines(capfd):
    return lambda: capfd.readouterr().err.splitlines()


def test_what_many_workers_meet_is_said_once_and_again_each_hour(alarms, clock, lines):
    for second in range(int(REMIND) + 1):
        clock.now = 1000.0 + second
        alarms.hear({"mx:587": "no login at mx: 535 no"})
    assert [line.partition(": ")[2] for line in lines()] == [
        'error: alarm, to be mended here error="no login at mx: 535 no"'
    ] * 2


def test_the_end_is_said_once(alarms, lines):
    alarms.hear({"mx:587": "535 no"})
    for _ in range(3):
        alarms.hear({"mx:587": ""})
    assert [line.partition(": ")[2] for line in lines()][1:] == ["works again what=mx:587"]
    assert alarms.lines() == []


def test_the_status_has_one_line_for_each_subject_with_its_age(alarms, clock):
    alarms.hear({"a:25": "first", "b:25": "other"})
    clock.now += 90
    alarms.hear({"a:25": "second"})
    assert alarms.lines() == [
        {"subject": "a:25", "text": "second", "seconds": 90},
        {"subject": "b:25", "text": "other", "seconds": 90},
    ]


def test_after_a_reload_what_lasts_is_said_again(alarms, lines):
    alarms.hear({"mx:587": "535 no"})
    alarms.forget()
    assert alarms.lines() == []
    alarms.hear({"mx:587": "535 no"})
    assert len(lines()) == 2
