# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""No destination holds up another; the twenty messages of the original, and others that do not answer."""

import re
import time

import pytest

from tests.running import eventually
from tests.sink import CHUNKING

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, count, domain):
    for n in range(count):
        spool.send_mail(to=f"r{n}@{domain}", from_="me@y.example", message=MESSAGE)


def routes(**sinks):
    return {"smarthost": "", "routes": {f"{name}.example": sink.address for name, sink in sinks.items()}}


@pytest.mark.parametrize("workers", [20, 4])
@pytest.mark.parametrize("greeting", ["hang", "drip"])
def test_twenty_messages_to_a_host_that_never_answers_do_not_hold_up_one_hundred_to_a_good_one(
    daemon, make_spool, sinks, workers, greeting
):
    silent, good = sinks(greeting=greeting), sinks()
    options = {
        **routes(silent=silent, good=good),
        "max_dequeue_processes": workers,
        "dequeue_timeout": 3600,
    }
    daemon(**options)
    spool = make_spool(**options)
    began = time.monotonic()
    send(spool, 100, "good.example")
    eventually(lambda: len(good.mails) == 100)
    alone = time.monotonic() - began
    send(spool, 20, "silent.example")
    eventually(lambda: silent.clients == 1)  # the scout
    began = time.monotonic()
    send(spool, 100, "good.example")
    eventually(lambda: len(good.mails) == 200)
    beside = time.monotonic() - began
    print(f"\n{workers} workers: 100 messages alone {alone:.2f} s, beside the twenty {beside:.2f} s")
    assert silent.clients == 1  # it still hangs
    assert silent.cuts == []


def test_two_hundred_hosts_that_never_answer_do_not_hold_up_one_that_works(daemon, make_spool, sinks):
    silent, good = sinks(greeting="hang", host="0.0.0.0"), sinks()
    hosts = {f"silent{n}.example": f"127.0.1.{n}:{silent.port}" for n in range(1, 201)}
    options = {"smarthost": good.address, "routes": hosts, "dequeue_timeout": 3600}
    daemon(**options)
    spool = make_spool(**options)
    send(spool, 1, "good.example")
    eventually(lambda: good.mails)
    for domain in hosts:
        send(spool, 1, domain)
    eventually(lambda: silent.clients == 200)  # the scout is with each of them
    began = time.monotonic()
    send(spool, 100, "good.example")
    eventually(lambda: len(good.mails) == 101)
    print(f"\n100 messages beside two hundred silent hosts {time.monotonic() - began:.2f} s")
    assert silent.clients == 200
    assert silent.cuts == []


def test_a_host_that_never_greets_is_cut_at_its_timeout_and_left_alone_for_a_while(daemon, make_spool, sinks):
    silent = sinks(greeting="hang")
    options = {**routes(silent=silent), "greeting_timeout": 0.3, "dequeue_timeout": 3600, "max_dequeue_processes": 4}
    running, spool = daemon(**options), make_spool(**options)
    send(spool, 10, "silent.example")
    eventually(lambda: len(silent.cuts) >= 1)
    eventually(lambda: running.status()["cooling"])
    eventually(lambda: silent.clients == 0)
    assert silent.accepted == 1
    assert all(0.2 < seconds < 5 for seconds in silent.cuts)


def test_while_a_destination_cools_down_its_mail_falls_back_untried_but_for_a_probe(daemon, make_spool, sinks):
    busy = sinks(greeting="421 4.3.2 busy")
    options = {**routes(busy=busy), "dequeue_timeout": 3600, "cool_down": 5.0}
    spool = make_spool(**options)
    send(spool, 30, "busy.example")
    running = daemon(**options)
    reason = re.compile(
        rf"not tried, the destination refuses sessions since [-0-9: ]+ UTC: \S+:{busy.port}: 421 4.3.2 busy"
    )
    eventually(lambda: len(reason.findall(running.log)) >= 27)
    assert busy.accepted <= 3
    tiers = lambda: [at.tier for at in spool.store.locations()]  # noqa: E731 - what moves may be in no list, or in two
    eventually(lambda: [len(found := tiers()), found.count(0) <= 1] == [30, True], what="all in tier 1 but a probe")
    busy.greeting = "at once"
    send(spool, 1, "busy.example")  # in case the probe was spent while it still refused
    eventually(lambda: busy.mails and not running.status()["cooling"], what="the probe")


def test_a_host_that_drips_gets_no_longer_than_its_timeout(daemon, make_spool, sinks):
    dripping = sinks(greeting="drip")
    options = {**routes(drip=dripping), "greeting_timeout": 0.5, "dequeue_timeout": 3600}
    running, spool = daemon(**options), make_spool(**options)
    send(spool, 1, "drip.example")
    eventually(lambda: dripping.cuts)
    assert dripping.cuts[0] < 5
    eventually(lambda: "timed out after 0.5 s in GREETING" in running.log)


def test_a_host_that_has_lost_a_connection_is_sent_one_message_at_a_time_by_whichever_worker(daemon, make_spool, sinks):
    sink = sinks(extensions=CHUNKING)
    options = {**routes(x=sink), "dequeue_timeout": 3600, "cool_down": 0, "max_per_destination": 1,
               "worker_nodes": 1}  # fmt: skip
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="lost@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: "status=deferred" in running.log)
    (worker,) = re.findall(r"worker\[([0-9]+)\]: .*status=deferred", running.log)
    with spool.batch() as batch:  # so that a look finds them all
        for n in range(30):
            batch.send_mail(to=f"r{n}@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: len(sink.mails) == 31)
    assert worker not in re.findall(r"worker\[([0-9]+)\]: .*status=sent", running.log)
    assert b"RSET\r\n" not in sink.commands  # which is said behind what is not answered yet


@pytest.mark.parametrize("small_first", [False, True])
def test_of_what_waits_for_a_destination_the_oldest_goes_first_or_the_smallest_of_a_batch(
    daemon, make_spool, sink, clock, small_first
):
    options = {"sink": sink, "dequeue_timeout": 3600, "max_per_destination": 1, "small_first": small_first}
    spool, sizes = make_spool(clock=clock, **options), [3000, 1, 2000, 2]
    for ago, size in zip((40, 30, 20, 10), sizes, strict=True):  # names tell seconds
        clock.now = time.time() - ago
        spool.send_mail(to=f"{size}@x.example", from_="me@y.example", message=MESSAGE + "x\n" * size)
    daemon(**options)
    eventually(lambda: len(sink.mails) == len(sizes))
    assert sink.recipients == [f"{size}@x.example" for size in (sorted(sizes) if small_first else sizes)]


def test_a_destination_gets_no_more_workers_than_allowed(daemon, make_spool, sinks):
    slow = sinks()
    options = {**routes(slow=slow), "max_per_destination": 3, "dequeue_timeout": 3600}
    running, spool = daemon(**options), make_spool(**options)
    for count in (1, 2):  # it gets more workers as it takes more
        send(spool, 1, "slow.example")
        eventually(lambda count=count: len(slow.mails) == count)
    slow.hold()
    send(spool, 30, "slow.example")
    eventually(lambda: slow.waiting == 3)
    slow.release()
    eventually(lambda: len(slow.mails) == 32)
    assert slow.most == 3
    assert running.stop() == 0
