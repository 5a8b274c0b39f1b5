# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Small messages first, and each result at its own job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.delivery.order import perform_smallest_first
from mailspool.delivery.work import SpoolWork
from mailspool.supervisor.job import Job, Result

groups = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.sampled_from(Result)), max_size=20)


@given(groups)
def test_each_job_keeps_its_result_and_its_group_and_equals_keep_their_order(groups):
    jobs = [Job(f"0/{n}.{k}", "x", f"{size} {n}") for n, (size, many, _) in enumerate(groups) for k in range(many)]
    result = {job.key: groups[int(job.group.split()[1])][2] for job in jobs}
    done = []

    def perform(given):
        done.extend(given)
        return [result[job.key] for job in given]

    def size_of(job):
        return int(job.group.split()[0])

    assert perform_smallest_first(jobs, size_of, perform) == [result[job.key] for job in jobs]
    assert done == sorted(jobs, key=size_of)


def send(spool, size):
    spool.send_mail(
        to=[f"a{size}@x.example", f"b{size}@x.example"], from_="me@y.example", message="S: x\n\n" + "x\n" * size
    )


@pytest.mark.parametrize(("small_first", "order"), [(False, [3000, 1, 2000, 2]), (True, [1, 2, 2000, 3000])])
def test_of_a_batch_the_small_ones_go_first_if_asked_for(make_spool, sink, station, clock, small_first, order, jobs_of):
    spool = make_spool(sink=sink, small_first=small_first, clock=clock)
    for size in (3000, 1, 2000, 2):
        send(spool, size)
        clock.sleep(1)
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED] * 8
    assert [mail.recipients[0] for mail in sink.mails] == [f"a{size}@x.example" for size in order]


def test_what_cannot_be_read_comes_first_and_to_light(make_spool, sink, station, clock, jobs_of):
    spool = make_spool(sink=sink, small_first=True, clock=clock)
    for size in (1, 2):
        send(spool, size)
        clock.sleep(1)
    jobs = jobs_of(spool)
    with open(f"{spool.dequeue_dir}/{jobs[2].key}", "r+b") as file:
        file.truncate(10)
    assert SpoolWork(spool).perform(jobs, station())[:2] == [Result.DELIVERED] * 2
    assert {str(at.state) for at in spool.store.locations()} == {"quarantined"}
