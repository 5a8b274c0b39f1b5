# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Hosts that misbehave in every way, and many at once: healthy mail flows, the places come back, memory is bounded."""

import signal
import time
from pathlib import Path

import pytest

from mailspool.supervisor import control
from tests.running import children_of, eventually, is_running, title_of, write_config

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, domains):
    """A message for each."""
    with spool.batch() as batch:
        for n, domain in enumerate(domains):
            batch.send_mail(to=f"r{n}@{domain}", from_="me@y.example", message=MESSAGE)


def at_addresses(kind, count, sink, network):
    """So many domains, each at an address of its own."""
    return {f"{kind}{n}.example": f"127.0.{network}.{n}:{sink.port}" for n in range(1, count + 1)}


def at_one_address(count, sink):
    """So many domains, each at a host of another name, but all of them at the sink's address."""
    return {f"silent{n}.example": f"mx{n}.localhost:{sink.port}" for n in range(count)}


def scout_of(running):
    return next((service["pid"] for service in running.status()["services"] if service["role"] == "scout"), 0)


def resident(pid):
    """Octets that are the process's own."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def at_work(running):
    """The destinations that workers are with."""
    return {worker["destination"] for worker in running.status()["workers"] if worker["phase"] != "IDLE"}


MOST_MEMORY = 100e6
"""Octets of its own that no process ever has."""


def memory_of(running):
    """The most that one of its processes has just now."""
    return max(resident(pid) for pid in [running.pid, *children_of(running.pid)])


def seconds_until(count, good, running):
    """How long a daemon takes from now until so many messages are at that host, while its memory stays bounded."""
    began = time.monotonic()

    def have_come():
        assert memory_of(running) < MOST_MEMORY
        return len(good.mails) >= count

    eventually(have_come, timeout=120, pause=0.02)
    return max(mail.at for mail in good.mails[:count]) - began


def running_beside(daemon, options, spool, good, healthy, bad):
    """A daemon that has begun with the bad domains' mail, and by now delivered the healthy ones', which came last.

    Within three times the time that it took alone: below a second that says nothing.
    """
    send(spool, healthy)
    running = daemon(**options)
    alone = seconds_until(len(healthy), good, running)
    assert running.stop() == 0
    send(spool, bad)
    send(spool, healthy)
    beside = seconds_until(2 * len(healthy), good, running.start())
    print(f"\nalone {alone:.2f} s, beside {beside:.2f} s")
    assert beside < 3 * max(alone, 1.0)
    return running


PAUSE = 0.03
"""Seconds by which a healthy host is late, so that the time it takes is its own, however busy this machine is."""

IMPATIENT = {"smarthost": "", "dequeue_timeout": 3600, "first_attempt_timeout": 5.0}
"""None of these tests takes so long as to see the end of it, unless it is about that."""


@pytest.mark.parametrize("addresses", [200, 1])
def test_two_hundred_healthy_domains_behind_two_hundred_silent_ones_are_all_served(
    daemon, make_spool, sinks, addresses
):
    """With as many workers as there are, not one of which is ever given to who does not speak. Nor does that stay."""
    silent, good = sinks(greeting="hang", host="0.0.0.0"), sinks(host="0.0.0.0", pause=PAUSE)
    bad = at_addresses("silent", 200, silent, 1)
    if addresses == 1:
        bad = at_one_address(200, silent)
    healthy = at_addresses("good", 200, good, 2)
    options = {"smarthost": "", "dequeue_timeout": 3600, "address_families": "ipv4", "routes": {**bad, **healthy}}
    spool = make_spool(**options)
    running = running_beside(daemon, options, spool, good, healthy, bad)
    assert silent.cuts == []  # they all wait still
    assert silent.accepted == (200 if addresses == 200 else 3)
    running.properties["first_attempt_timeout"] = 0.5
    write_config(running.config, running.properties)
    running.send(signal.SIGHUP)
    eventually(lambda: running.status()["generation"] == 1)
    control.ask(running.run_dir, "look")  # who waits for those asked before is asked about now
    eventually(lambda: [at.tier for at in spool.store.locations() if at.state == "queued"] == [1] * 200, timeout=90)
    eventually(lambda: silent.clients == 0 and not at_work(running) and not running.status()["waiting"])
    send(spool, list(healthy)[:20])
    assert seconds_until(420, good, running) < 30
    assert running.stop() == 0


def test_domains_at_one_address_that_greets_and_hangs_have_no_more_workers_than_one_host_may(daemon, make_spool, sinks):
    tarpit, good = sinks(stall="MAIL"), sinks(host="0.0.0.0", pause=PAUSE)
    bad, healthy = at_one_address(400, tarpit), at_addresses("good", 100, good, 2)
    options = {"smarthost": "", "dequeue_timeout": 3600, "address_families": "ipv4", "max_per_host": 4,
               "routes": {**bad, **healthy}}  # fmt: skip
    spool = make_spool(**options)
    running = running_beside(daemon, options, spool, good, healthy, bad)
    eventually(lambda: [held["rule"] for held in running.status()["held"].values()].count("max_per_host") == 396)
    assert len([each for each in running.status()["workers"] if each["phase"] == "MAIL"]) == 4
    assert tarpit.most <= 4 + 2 * 4  # for a moment those that are let go of are still there
    eventually(lambda: tarpit.clients == 4)
    assert running.stop(signal.SIGINT) == 0


def test_what_is_at_an_address_that_was_silent_is_put_off_without_a_connection(daemon, make_spool, sinks):
    silent = sinks(greeting="hang")
    options = {"smarthost": "", "dequeue_timeout": 3600, "address_families": "ipv4", "first_attempt_timeout": 0.5,
               "routes": at_one_address(20, silent)}  # fmt: skip
    spool = make_spool(**options)
    send(spool, options["routes"])
    running = daemon(**options)
    eventually(lambda: [at.tier for at in spool.store.locations() if at.state == "queued"] == [1] * 20, timeout=90)
    assert silent.accepted == 3
    assert running.log.count("just now, for another destination: ") == 17
    assert running.log.count("timed out after 0.5 s in GREETING") == 20


def test_a_message_that_only_the_scout_has_tried_has_that_in_its_history(daemon, make_spool, sinks):
    silent = sinks(greeting="hang")
    options = {"sink": silent, "dequeue_timeout": 3600, "first_attempt_timeout": 0.5}
    spool, running = make_spool(**options), daemon(**options)
    send(spool, ["x.example"])
    (location,) = eventually(lambda: [at for at in spool.store.locations() if (at.state, at.tier) == ("queued", 1)])
    (attempt,) = spool.node_at(location).history()
    assert attempt.host == f"127.0.0.1[127.0.0.1]:{silent.port}"
    assert (attempt.tier, attempt.status) == (0, "4.4.2")
    assert attempt.text.endswith("timed out after 0.5 s in GREETING")
    assert 0.4 < attempt.seconds < 30
    assert "workers" in running.status()


def test_the_connection_that_the_scout_has_made_is_the_one_that_the_message_goes_over(daemon, make_spool, sink):
    spool = make_spool(sink=sink)
    daemon(sink=sink, dequeue_timeout=3600)
    send(spool, ["x.example"])
    eventually(lambda: sink.mails)
    assert sink.accepted == 1


MISBEHAVIOUR = {
    "never greets": {"greeting": "hang"},
    "drips": {"greeting": "drip"},
    "endless banner": {"flood": "greeting"},
    "endless 250- lines": {"flood": "EHLO"},
    "hangs at MAIL": {"stall": "MAIL"},
    "hangs at DATA": {"stall": "DATA"},
    "hangs after the final dot": {"stall": "."},
}


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_beside_a_host_that_misbehaves_all_mail_to_others_flows_and_the_places_come_back(
    daemon, make_spool, sinks, kind
):
    bad, good = sinks(**MISBEHAVIOUR[kind]), sinks(pause=PAUSE)
    options = {**IMPATIENT, "final_timeout": 5.0, "max_dequeue_processes": 4,
               "routes": {"bad.example": bad.address, "good.example": good.address}}  # fmt: skip
    spool = make_spool(**options)
    running = running_beside(daemon, options, spool, good, ["good.example"] * 50, ["bad.example"] * 20)
    eventually(lambda: bad.clients == 0 and bad.address not in at_work(running), timeout=90)
    eventually(lambda: sum(at.tier for at in spool.store.locations()) >= 1, timeout=90)
    send(spool, ["good.example"] * 10)
    assert seconds_until(110, good, running) < 30
    assert running.stop(timeout=60) == 0


def test_strangers_that_greet_and_hang_hurry_while_others_wait_for_their_workers(daemon, make_spool, sinks):
    bad, good = sinks(stall="MAIL", host="0.0.0.0"), sinks(host="0.0.0.0")
    stalling, healthy = at_addresses("bad", 6, bad, 1), at_addresses("good", 60, good, 2)
    options = {"smarthost": "", "dequeue_timeout": 3600, "max_dequeue_processes": 4, "routes": {**stalling, **healthy}}
    assert make_spool(**options).settings.first_attempt_timeout == 300.0  # which nobody waits for
    spool = make_spool(**options)
    running = daemon(**options)
    send(spool, stalling)
    eventually(lambda: [each["phase"] for each in running.status()["workers"]].count("MAIL") == 3)  # all for strangers
    send(spool, healthy)
    eventually(lambda: len(good.mails) == 60, timeout=120)
    assert running.log.count("took too long in MAIL, while others waited for its worker") >= 3
    assert running.stop(signal.SIGINT) == 0


def test_hosts_that_never_reply_to_the_final_dot_are_waited_for_and_hold_up_nobody(daemon, make_spool, sinks):
    bad, good = sinks(stall=".", host="0.0.0.0"), sinks(host="0.0.0.0")
    hanging, healthy = at_addresses("bad", 8, bad, 1), at_addresses("good", 8, good, 2)
    options = {"smarthost": "", "dequeue_timeout": 3600, "max_dequeue_processes": 4, "routes": {**hanging, **healthy}}
    spool = make_spool(**options)
    send(spool, hanging)
    send(spool, healthy)
    running = daemon(**options)
    eventually(lambda: len(good.mails) == 8, timeout=120)
    assert "status=deferred" not in running.log
    eventually(lambda: bad.waiting == 8, timeout=120)  # each of them still has its worker
    assert len(running.workers()) >= 8
    bad.stall = ""
    send(spool, healthy)
    eventually(lambda: len(good.mails) == 16)


# --- the scout itself


def test_a_scout_that_is_killed_comes_back_and_mail_flows_meanwhile(daemon, make_spool, sinks):
    silent, good = sinks(greeting="hang"), sinks()
    options = {**IMPATIENT, "routes": {"silent.example": silent.address, "good.example": good.address}}
    running, spool = daemon(**options), make_spool(**options)
    first = eventually(lambda: scout_of(running))
    send(spool, ["silent.example"])
    eventually(lambda: silent.clients == 1)
    running.send(signal.SIGKILL, first)
    send(spool, ["good.example"])
    eventually(lambda: good.mails)
    eventually(lambda: scout_of(running) not in (0, first))
    eventually(lambda: silent.accepted == 2)  # a worker finds out what the scout was asked


def test_a_scout_that_does_not_run_holds_up_nobody_who_is_known(daemon, make_spool, sinks):
    good, other = sinks(), sinks()
    options = {**IMPATIENT, "routes": {"good.example": good.address, "other.example": other.address}}
    running, spool = daemon(**options), make_spool(**options)
    send(spool, ["good.example"])
    eventually(lambda: good.mails)
    stopped = scout_of(running)
    running.send(signal.SIGSTOP, stopped)
    send(spool, ["other.example"])
    send(spool, ["good.example"])
    eventually(lambda: len(good.mails) == 2)
    eventually(lambda: other.mails, timeout=120)  # it is replaced, since it does not answer
    eventually(lambda: not is_running(stopped))


def test_a_reload_replaces_the_scout(daemon, make_spool, sink):
    spool, running = make_spool(sink=sink), daemon(sink=sink, dequeue_timeout=3600)
    first = eventually(lambda: scout_of(running))
    eventually(lambda: title_of(first) == "mailspool: scout")
    running.send(signal.SIGHUP)
    eventually(lambda: scout_of(running) not in (0, first) and not is_running(first))
    send(spool, ["x.example"])
    eventually(lambda: sink.mails)
    assert running.stop() == 0
