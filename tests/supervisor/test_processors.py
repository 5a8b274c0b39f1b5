# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who wants a processor, and whether one more would get one."""

import time

import pytest

from mailspool.supervisor import processors
from mailspool.supervisor.processors import Stopwatch, are_busy, wanted


@pytest.mark.parametrize(
    ("shares", "number", "busy"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([1.0], 1, True),
        ([0.7, 0.7], 2, False),
        ([0.7] * 3, 2, True),
        ([0.1] * 20, 4, False),
    ],
)
def test_processors_are_busy_once_as_many_are_wanted_as_there_are(shares, number, busy):
    assert are_busy(shares, number) is busy


def test_the_share_is_the_part_of_the_time_in_which_a_processor_was_wanted():
    now, had = [100.0], [7.0]
    watch = Stopwatch(lambda: now[0], lambda: had[0])
    watch.start()
    assert watch.share == 0.0
    now[0], had[0] = 104.0, 8.0
    assert watch.share == 0.25
    watch.start()
    now[0], had[0] = 106.0, 11.0  # the two clocks do not tick at the same moments
    assert watch.share == 1.0


def test_who_computes_wants_a_processor_and_who_sleeps_wants_none():
    watch = Stopwatch(time.monotonic)
    watch.start()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert watch.share > 0.5
    watch.start()
    time.sleep(0.05)
    assert watch.share < 0.5


@pytest.mark.parametrize("content", [None, "", "1 2", "a b c"])
def test_a_kernel_that_does_not_count_the_waiting_leaves_the_computing(content, tmp_path, monkeypatch):
    file = tmp_path / "schedstat"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(processors, "_SCHEDSTAT", file)
    before = time.process_time()
    assert before <= wanted() <= time.process_time()


def test_what_the_kernel_counts_is_added(tmp_path, monkeypatch):
    (tmp_path / "schedstat").write_text("5 3000000000 7\n")
    monkeypatch.setattr(processors, "_SCHEDSTAT", tmp_path / "schedstat")
    before = time.process_time()
    assert before + 3.0 <= wanted() <= time.process_time() + 3.0
