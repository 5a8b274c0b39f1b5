# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real daemon under reloads: nothing is lost, nothing is doubled, and no node is left in a tier that is no more."""

import signal
import time
from collections import Counter

import pytest

from mailspool.model.outcome import Attempt
from mailspool.store import nodename
from mailspool.store.base import Location, State
from tests.running import eventually, write_config

MESSAGE = "Subject: hello\n\n" + "world\n" * 50
YEAR = 365 * 86400


@pytest.mark.slow
def test_a_storm_of_hups_under_load_loses_nothing_and_doubles_nothing(daemon, make_spool, sink):
    options = {"sink": sink, "max_dequeue_processes": 4, "dequeue_timeout": 0.5}
    running, spool = daemon(**options), make_spool(**options)
    sent = set()
    for n in range(300):
        sent.add(spool.send_mail(to=f"r{n}@x{n % 5}.example", from_="me@y.example", message=MESSAGE))
        running.send(signal.SIGHUP)
    eventually(lambda: len(sink.mails) >= len(sent) // 4, what="a quarter of it")
    for _ in range(50):  # while it drains
        running.send(signal.SIGHUP)
        time.sleep(0.002)
    eventually(lambda: sent <= {mail.queue_id for mail in sink.mails}, what="all that was accepted")
    eventually(lambda: list(spool.store.locations()) == [])
    assert set(Counter(mail.queue_id for mail in sink.mails).values()) == {1}
    assert running.status()["generation"] > 10  # as many as a busy machine lets it take one by one
    assert "error" not in running.log
    assert running.stop() == 0


def test_a_storm_of_hups_alternating_with_bad_ones_keeps_what_was_good(daemon, make_spool, sink):
    running, spool = daemon(sink=sink, dequeue_timeout=0.5), make_spool(sink=sink)
    good, bad = dict(running.properties), {**running.properties, "max_hops": 0}
    for n in range(20):
        write_config(running.config, bad if n % 2 else good)
        running.send(signal.SIGHUP)
        spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: len(sink.mails) == 20)
    write_config(running.config, bad)
    refused = running.log.count("max_hops")
    running.send(signal.SIGHUP)
    eventually(lambda: running.log.count("max_hops") > refused)
    assert running.stop() == 0


def test_fewer_tiers_move_the_deeper_nodes_into_the_last_one_with_their_time_and_history(daemon, make_spool):
    periods = [0, 3600, 3600, 3600, 3600, 3600, 3600]
    spool = make_spool(dequeue_periods=periods, dequeue_priority=[1] * 7)
    now, nodes = int(time.time()), {}
    for tier in (1, 4, 5, 6):
        message = spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
        (at,) = spool.store.find(message)
        name = str(nodename.parse(at.name)._replace(time=now - tier))
        spool.store.record(nodename.node_id_of(name), [Attempt(1.0, tier, "mx", "4.0.0", f"of tier {tier}")])
        spool.store.move(at, Location(State.QUEUED, tier, name))
        nodes[tier] = name
    running = daemon(dequeue_periods=periods, dequeue_priority=[1] * 7)
    write_config(
        running.config,
        {**running.properties, "dequeue_periods": [0, 3600, 7200], "dequeue_priority": [1, 1, 1]},
    )
    running.send(signal.SIGHUP)
    eventually(lambda: set(spool.store.names(2)) == {nodes[4], nodes[5], nodes[6]})
    assert spool.store.names(1) == [nodes[1]]
    assert [spool.store.names(tier) for tier in (3, 4, 5, 6)] == [[]] * 4
    for tier in (4, 5, 6):
        assert spool.store.history(nodename.node_id_of(nodes[tier]))[-1].text == f"of tier {tier}"
    assert running.log.count("moved") == 3
    assert running.stop() == 0


@pytest.mark.parametrize("years", [-1, 1])
def test_nodes_of_a_clock_that_was_a_year_wrong_are_delivered(daemon, make_spool, sink, years):
    spool = make_spool(sink=sink, clock=lambda: time.time() + years * YEAR)
    message = spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    (at,) = spool.store.find(message)
    spool.store.move(at, Location(State.QUEUED, 3, at.name))
    running = daemon(sink=sink, dequeue_priority=[1] * 7, dequeue_timeout=0.5)
    eventually(lambda: len(sink.mails) == 2)
    assert running.stop() == 0


def test_a_changed_period_counts_at_once_for_what_waits_already(daemon, make_spool, sinks):
    sink = sinks()
    options = {"dequeue_periods": [3600, 3600], "dequeue_priority": [1, 1000000]}
    running, spool = daemon(sink=sink, **options), make_spool(sink=sink, **options)
    message = spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    (at,) = spool.store.find(message)
    waiting = str(nodename.parse(at.name)._replace(time=int(time.time()) - 100))
    spool.store.move(at, Location(State.QUEUED, 1, waiting))
    write_config(running.config, {**running.properties, "dequeue_periods": [0, 60]})
    running.send(signal.SIGHUP)
    eventually(lambda: len(sink.mails) == 1)
    assert running.stop() == 0
