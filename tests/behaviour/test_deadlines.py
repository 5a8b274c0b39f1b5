# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Time is up: before the final dot a delivery is cut, after it never."""

import signal
import time

import pytest

from tests.running import eventually, is_running

MESSAGE = "Subject: hello\n\nworld\n"


def test_the_reply_to_the_final_dot_is_waited_for_beyond_every_budget(daemon, make_spool, sinks):
    sink = sinks(hold=True)
    options = {
        "sink": sink,
        "delivery_timeout": 0.5,
        "min_rate": 1000000,
        "final_timeout": 60.0,
        "dequeue_timeout": 3600,
    }
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: sink.waiting)
    until = time.monotonic() + 1.5  # three budgets
    eventually(lambda: time.monotonic() > until)
    assert sink.waiting == 1
    sink.release()
    eventually(lambda: "status=sent" in running.log)
    assert list(spool.store.locations()) == []
    assert len(sink.mails) == 1


def test_term_waits_for_the_reply_to_a_final_dot(daemon, make_spool, sinks):
    sink = sinks(hold=True)
    options = {"sink": sink, "shutdown_timeout": 0.1, "dequeue_timeout": 3600}
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: sink.waiting)
    running.send(signal.SIGTERM)
    eventually(lambda: "time to stop is over" in running.log)
    sink.release()
    assert running.wait() == 0
    assert list(spool.store.locations()) == []
    assert len(sink.mails) == 1


def test_int_gives_back_what_is_before_its_final_dot_and_nothing_is_recorded_against_it(daemon, make_spool, sinks):
    sink = sinks(hold=True)
    options = {"sink": sink, "dequeue_timeout": 3600}
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="wait@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: sink.waiting)
    assert running.stop(signal.SIGINT, 5) == 0
    (location,) = spool.store.locations()
    assert (location.state, location.tier) == ("queued", 0)
    assert spool.node_at(location).history() == []


@pytest.mark.parametrize("behaviour", [{"greeting": "hang"}, {"stall": "MAIL"}], ids=["GREETING", "MAIL"])
def test_the_first_attempt_is_impatient_and_the_next_one_is_not(daemon, make_spool, sinks, request, behaviour):
    sink, phase = sinks(**behaviour), request.node.callspec.id
    options = {"sink": sink, "first_attempt_timeout": 0.5, "greeting_timeout": 1.5, "mail_timeout": 1.5,
               "cool_down": 0.0, "dequeue_timeout": 0.2, "dequeue_periods": [0, 0, 3600],
               "dequeue_priority": [1, 1, 1]}  # fmt: skip
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    (location,) = eventually(lambda: [at for at in spool.store.locations() if (at.state, at.tier) == ("queued", 2)])
    told = [
        (attempt.tier, attempt.text.partition("timed out after ")[2]) for attempt in spool.node_at(location).history()
    ]
    assert told == [(0, f"0.5 s in {phase}"), (1, f"1.5 s in {phase}")]
    assert running.stop() == 0


def test_the_budget_cuts_a_delivery_before_its_final_dot(daemon, make_spool, sinks):
    sink = sinks(hold=True)
    options = {"sink": sink, "delivery_timeout": 0.5, "rcpt_timeout": 60.0, "dequeue_timeout": 3600}
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="wait@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: "the delivery took too long in RCPT)" in running.log)
    assert sink.mails == []
    (location,) = eventually(lambda: [at for at in spool.store.locations() if at.state == "queued"])
    assert location.tier == 1


def test_an_error_at_quit_after_the_250_sends_no_second_copy(daemon, make_spool, sinks):
    sink = sinks(at_quit="drop")
    options = {"sink": sink, "dequeue_timeout": 0.2, "dequeue_periods": [0] * 7}
    running, spool = daemon(**options), make_spool(**options)
    for n in range(5):
        spool.send_mail(to=f"r{n}@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: len(sink.mails) >= 5)
    eventually(lambda: b"QUIT\r\n" in sink.commands)
    assert running.stop() == 0
    assert len(sink.mails) == 5
    assert list(spool.store.locations()) == []


def test_a_worker_that_does_not_run_is_gone_five_seconds_after_its_deadline_and_its_place_is_free(
    daemon, make_spool, sinks
):
    sink = sinks(hold=True)
    options = {"sink": sink, "delivery_timeout": 0.5, "min_rate": 1000000, "rcpt_timeout": 60.0,
               "max_dequeue_processes": 1, "dequeue_timeout": 0.2}  # fmt: skip
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="wait@x.example", from_="me@y.example", message=MESSAGE)
    (worker,) = eventually(lambda: sink.waiting and running.workers())
    began = time.monotonic()
    running.send(signal.SIGSTOP, worker)
    sink.release()
    eventually(lambda: not is_running(worker))
    assert time.monotonic() - began < 0.5 + 5 + 1  # a second for us
    eventually(lambda: sink.recipients == ["wait@x.example"])
    eventually(lambda: list(spool.store.locations()) == [])
    assert "worker overdue, killed" in running.log
