# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Faults are ordered in few words, and strike as often as they were ordered."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.cli.sink.faults import Drop, Fault, Faults, Greylist, Hang, Stage, parse_failure, parse_silence
from mailspool.submission.reply import Refused, Reply

TEXT = "this fault was ordered"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rcpt:451", Fault(Stage.RCPT, Reply(451, "4.0.0", TEXT))),
        ("rcpt:451:30%", Fault(Stage.RCPT, Reply(451, "4.0.0", TEXT), 0.3)),
        ("final:554:spam: no", Fault(Stage.FINAL, Reply(554, "5.0.0", "spam: no"))),
        ("mail:550:0.5%:5.7.1 not you", Fault(Stage.MAIL, Reply(550, "5.7.1", "not you"), 0.005)),
        ("connect:421", Fault(Stage.CONNECT, Reply(421, "", TEXT))),
        ("data:452:200%", Fault(Stage.DATA, Reply(452, "4.0.0", TEXT), 1.0)),
    ],
)
def test_a_failure_is_read(text, fault):
    assert parse_failure(text) == fault


@pytest.mark.parametrize(
    "text", ["", "rcpt", "rcpt:250", "rcpt:45", "quit:451", "rcpt:451:", "rcpt:451:a\nb", "RCPT:451"]
)
def test_what_is_no_failure_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"is not like rcpt:451, .*stages: connect, ehlo, mail, rcpt, data, final"):
        parse_failure(text)


def test_a_silence_is_read():
    assert parse_silence("final:5%", Drop) == Fault(Stage.FINAL, Drop, 0.05)
    assert parse_silence("ehlo", Hang) == Fault(Stage.EHLO, Hang)
    with pytest.raises(ValueError, match="is not like data or final:30%"):
        parse_silence("quit", Hang)


@given(st.text())
def test_every_text_is_a_fault_or_a_value_error(text):
    for parse in (parse_failure, lambda text: parse_silence(text, Hang)):
        with contextlib.suppress(ValueError):
            assert 0 <= parse(text).chance <= 1


def test_a_fault_strikes_as_often_as_the_dice_say():
    rolls = iter([0.1, 0.4, 0.29, 0.3])
    faults = Faults([parse_failure("rcpt:451:30%")], lambda: next(rolls))
    struck = []
    for _ in range(4):
        faults.strike(Stage.MAIL)  # rolls no dice
        try:
            faults.strike(Stage.RCPT, "a@b")
            struck.append(False)
        except Refused:
            struck.append(True)
    assert struck == [True, False, True, False]
    assert faults.struck == {"rcpt 451": 2}


def test_the_first_of_several_faults_wins():
    faults = Faults([parse_silence("rcpt", Hang), parse_failure("rcpt:451")])
    with pytest.raises(Hang):
        faults.strike(Stage.RCPT, "a@b")
    assert faults.struck == {"rcpt hang": 1}


def test_greylisting_lasts_as_long_as_was_said():
    now = [0.0]
    greylist = Greylist(10, lambda: now[0])
    for when, refused in ((0, True), (5, True), (9.9, True), (10, False), (11, False)):
        now[0] = when
        try:
            greylist.check("a@b", "c@d")
            assert not refused
        except Refused:
            assert refused
