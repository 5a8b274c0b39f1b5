# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Hosts that ask for patience: what the supervisor is told, and what a try before its time changes."""

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.model.hint import GREYLISTED
from mailspool.supervisor.job import Job, Result

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, *to):
    return spool.send_mail(to=list(to), from_="me@y.example", message=MESSAGE)


def places(spool):
    return sorted((str(at.state), at.tier) for at in spool.store.locations())


def deferred(spool, station, jobs_of, to):
    """It was tried once, in time. The appointment."""
    place = station()
    send(spool, to)
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.SETTLED]
    assert places(spool) == [("queued", 1)]
    return place.appointed


@pytest.mark.parametrize(("to", "seconds"), [("grey@x.example", 300.0), ("later30@x.example", 30.0)])
def test_who_says_when_to_come_back_gets_an_appointment(make_spool, sink, station, jobs_of, clock, to, seconds):
    spool = make_spool(sink=sink, clock=clock)
    ((job, wait),) = deferred(spool, station, jobs_of, to)
    (at,) = spool.store.locations()
    group = at.name.split("-")[1].partition(".")[0]
    assert (job, wait) == (Job(f"1/{at.name}", sink.address, group, patient=True), seconds)


def test_who_says_nothing_of_it_gets_none(make_spool, sink, station, jobs_of, clock):
    assert deferred(make_spool(sink=sink, clock=clock), station, jobs_of, "later@x.example") == []


def test_an_appointment_that_is_kept_delivers(make_spool, sink, station, jobs_of, clock):
    spool = make_spool(sink=sink, clock=clock)
    ((job, seconds),) = deferred(spool, station, jobs_of, "grey@x.example")
    clock.sleep(seconds)
    assert jobs_of(spool) == []  # nobody else looks at it yet
    assert SpoolWork(spool).perform([job], station()) == [Result.DELIVERED]
    assert places(spool) == []


def test_a_try_before_its_time_uses_up_no_tier_and_makes_no_other_appointment(
    make_spool, sink, station, jobs_of, clock
):
    spool, place = make_spool(sink=sink, clock=clock), station()
    ((job, seconds),) = deferred(spool, station, jobs_of, "later30@x.example")
    clock.sleep(seconds)
    (before,) = spool.store.locations()
    assert SpoolWork(spool).perform([job], place) == [Result.SETTLED]
    assert list(spool.store.locations()) == [before]
    assert place.appointed == []
    assert [attempt.tier for attempt in spool.store.history(before.name.split("-")[1])] == [0, 1]


def test_not_even_in_the_last_tier_does_it_bounce_before_it_is_due(make_spool, sink, station, jobs_of, clock):
    options = {"dequeue_periods": [0, 1800], "dequeue_priority": [1, 1]}
    spool = make_spool(sink=sink, clock=clock, **options)
    ((job, seconds),) = deferred(spool, station, jobs_of, "later30@x.example")
    clock.sleep(seconds)
    SpoolWork(spool).perform([job], station())
    assert places(spool) == [("queued", 1)]
    clock.sleep(1800)
    SpoolWork(spool).perform(jobs_of(spool), station())
    assert places(spool) == [("queued", 0)]  # the bounce


def test_an_appointment_that_comes_no_sooner_than_its_tier_is_not_made(make_spool, sink, station, jobs_of, clock):
    options = {"dequeue_periods": [0, 200], "dequeue_priority": [1, 1]}
    assert deferred(make_spool(sink=sink, clock=clock, **options), station, jobs_of, "grey@x.example") == []


def test_from_a_host_that_wants_less_the_rest_of_the_batch_comes_back(make_spool, sink, station, jobs_of, clock):
    spool, place = make_spool(sink=sink, clock=clock), station()
    for n in range(3):
        send(spool, f"less+{n}@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.SETTLED, Result.RETURNED, Result.RETURNED]
    assert place.slowed == [("450 4.7.1 Error: too many messages from you", 0.0)]
    assert places(spool) == [("queued", 0), ("queued", 0), ("queued", 1)]


def test_a_host_that_greylists_with_421_is_no_less_honoured(make_spool, sinks, station, jobs_of, clock):
    spool = make_spool(sink=sinks(greeting="421 4.7.1 Greylisted, come back later"), clock=clock)
    send(spool, "joe@x.example")
    place = station()
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.REFUSED]
    assert [seconds for _, seconds in place.appointed] == [GREYLISTED]
