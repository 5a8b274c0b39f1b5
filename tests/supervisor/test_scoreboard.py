# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import os

import pytest

from mailspool.model.phase import Phase
from mailspool.supervisor.scoreboard import Entry, Scoreboard


def test_a_fresh_slot_is_idle_and_never_overdue():
    slot = Scoreboard(2).take()
    assert slot.read() == Entry(float("inf"), 0.0, Phase.IDLE, "")


def test_what_a_child_writes_its_parent_reads():
    slot = Scoreboard(1).take()
    pid = os.fork()
    if not pid:
        slot.write(Phase.FINAL, "mx.example[192.0.2.1]:25", 12.5, 3.25)
        os._exit(0)
    os.waitpid(pid, 0)
    assert slot.read() == Entry(12.5, 3.25, Phase.FINAL, "mx.example[192.0.2.1]:25")


def test_a_long_host_is_cut_and_a_shorter_one_leaves_nothing_of_it():
    slot = Scoreboard(1).take()
    slot.write(Phase.MAIL, "é" * 200, 1.0, 0.0)
    assert slot.read().host.startswith("é" * 15)
    slot.write(Phase.MAIL, "b", 1.0, 0.0)
    assert slot.read().host == "b"


def test_a_slot_given_back_is_clean_for_the_next_and_there_are_no_more_than_made():
    board = Scoreboard(1)
    slot = board.take()
    slot.write(Phase.MAIL, "mx", 1.0, 0.5)
    with pytest.raises(IndexError):
        board.take()
    board.give_back(slot)
    assert board.take().read() == Entry(float("inf"), 0.0, Phase.IDLE, "")
