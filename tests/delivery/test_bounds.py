# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The administrator's limits in one process: batches that were not counted come back, sessions end in time."""

import pytest

from mailspool.delivery.bounds import NO_LIMIT, Bounds
from mailspool.delivery.work import SpoolWork
from mailspool.errors import NotAdmitted
from mailspool.model.limit import Limit
from mailspool.model.rules import Rules
from mailspool.supervisor.job import Result

MESSAGE = "Subject: hello\n\nworld\n"
LOOPBACK = "mx:127.0.0.1"


def send(spool, *to):
    return spool.send_mail(to=list(to), from_="me@y.example", message=MESSAGE)


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"messages_per_minute": 30}])
def test_a_batch_that_was_not_counted_for_the_host_comes_back_before_anybody_connects(
    make_spool, sink, station, jobs_of, limit
):
    spool, place = make_spool(sink=sink, limits={LOOPBACK: limit}), station()
    for n in range(3):
        send(spool, f"a{n}@x.example", f"b{n}@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.RETURNED] * 6
    assert (sink.accepted, place.rules) == (0, [LOOPBACK])  # one finds out for all
    assert sorted((str(at.state), at.tier) for at in spool.store.locations()) == [("queued", 0)] * 6
    assert all(spool.store.history(job.key.split("-")[1]) == [] for job in jobs_of(spool))


def test_once_it_is_counted_it_is_delivered(make_spool, sink, station, jobs_of):
    spool, place = make_spool(sink=sink, limits={LOOPBACK: {"concurrency": 1}}), station()
    place.counted = (LOOPBACK,)
    send(spool, "joe@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.DELIVERED]


def test_who_delivers_alone_asks_nobody(make_spool, sink):
    spool = make_spool(sink=sink, limits={LOOPBACK: {"concurrency": 1}})
    send(spool, "joe@x.example")
    assert spool.dequeue()["delivered"] == 1
    spool.send_mail(to="ann@x.example", from_="me@y.example", message=MESSAGE, delivery="Interactive")
    assert len(sink.mails) == 2


@pytest.mark.parametrize("pattern", [LOOPBACK, "*"])
def test_a_session_takes_no_more_messages_than_granted(make_spool, sink, station, jobs_of, pattern):
    spool = make_spool(sink=sink, limits={pattern: {"messages_per_connection": 3}})
    for n in range(7):
        send(spool, f"a{n}@x.example", f"b{n}@x.example")
    work = SpoolWork(spool)
    assert work.perform(jobs_of(spool), station()) == [Result.DELIVERED] * 14
    work.idle()
    assert (sink.accepted, len(sink.mails)) == (3, 7)
    assert [line for line in sink.commands if line.startswith(b"QUIT")] == [b"QUIT\r\n"] * 3


def test_of_the_domain_s_limit_and_the_host_s_the_lower_counts(station):
    limits = {"x.example": Limit(messages_per_connection=5), "mx:*.z.example": Limit(messages_per_connection=3)}
    bounds = Bounds(Rules({**limits, "y.example": Limit(concurrency=1)}), station())
    messages = {
        (domain, host): bounds.messages(domain, host)
        for domain in ("x.example", "y.example")
        for host in ("mx.z.example", "mx.x.example")
    }
    assert list(messages.values()) == [3, 5, 3, NO_LIMIT]


def test_a_host_without_a_limit_that_is_shared_admits_everybody(station):
    bounds = Bounds(Rules({"mx:*": Limit(messages_per_connection=5), "mx:a.example": Limit(concurrency=5)}), station())
    bounds.admit("mx.example")
    with pytest.raises(NotAdmitted):
        bounds.admit("a.example")
