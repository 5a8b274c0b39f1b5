# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is made by several processes is what one makes: in order, with its errors, whatever becomes of the others."""

import os
import signal

import pytest

from mailspool.cli.shares import in_turn
from mailspool.errors import SpoolError
from tests.running import children_of

SHARES = range(100)


@pytest.fixture(autouse=True)
def processors(monkeypatch):
    """processors(n): that many are ours. 3 unless it is called."""

    def have(number):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(number)))

    have(3)
    return have


def test_each_comes_in_its_order():
    assert list(in_turn(lambda n: ("x" * n, n, -n), SHARES)) == [("x" * n, n, -n) for n in SHARES]


def test_more_than_a_pipe_holds_comes_whole():
    assert [len(text) for text in in_turn(lambda n: chr(200 + n) * 200_000, SHARES)] == [200_000] * 100


def test_each_processor_has_a_process():
    makers = list(in_turn(lambda _n: os.getpid(), SHARES))
    assert len({*makers}) == 3
    assert os.getpid() not in makers


@pytest.mark.parametrize(("processors_", "shares"), [(1, 100), (8, 10)])
def test_what_is_short_or_has_one_processor_is_made_by_ourselves(processors, processors_, shares):
    processors(processors_)
    assert {*in_turn(lambda _n: os.getpid(), range(shares))} == {os.getpid()}


def test_what_a_process_leaves_unsaid_is_made_by_ourselves():
    ours = os.getpid()

    def make(number):
        if number == 40 and os.getpid() != ours:
            os.kill(os.getpid(), signal.SIGKILL)
        return number, os.getpid()

    numbers, makers = zip(*in_turn(make, SHARES), strict=True)
    assert numbers == tuple(SHARES)
    assert makers[40] == makers[43] == makers[97] == ours
    assert makers[37] != ours
    assert ours not in makers[41::3]


def test_an_error_is_raised_when_its_turn_has_come():
    def make(number):
        if number == 40:
            raise SpoolError("the disk is broken")
        return number + 1

    made, before = [], children_of(os.getpid())
    with pytest.raises(SpoolError, match="the disk is broken"):
        made.extend(in_turn(make, SHARES))
    assert not {*children_of(os.getpid())} - {*before}


def test_where_nobody_can_fork_it_is_made_by_ourselves(monkeypatch):
    def fork():
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    assert list(in_turn(str, SHARES)) == list(map(str, SHARES))


def test_who_wants_no_more_leaves_nobody_behind():
    before, others = os.listdir("/proc/self/fd"), children_of(os.getpid())
    made = in_turn(lambda n: "x" * 200_000 + str(n), SHARES)
    next(made)
    assert len({*children_of(os.getpid())} - {*others}) == 3
    made.close()
    assert not {*children_of(os.getpid())} - {*others}
    assert os.listdir("/proc/self/fd") == before
