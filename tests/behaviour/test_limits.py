# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an administrator grants a destination, and no more, by the real daemon and its workers."""

import sys
import time

from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, count, *domains):
    for n in range(count):
        for domain in domains:
            spool.send_mail(to=f"r{n}@{domain}", from_="me@y.example", message=MESSAGE)


IMPATIENT = """
import sys
from mailspool.model import hint
hint.LONGEST = hint.SHORTEST = 0.5
from mailspool.cli.mailspoold import main
sys.exit(main(sys.argv[1:]))
"""
"""A daemon that takes each time that a host names for half a second."""


def test_all_domains_behind_hosts_of_one_name_share_their_connections(daemon, make_spool, sinks):
    sink, domains = sinks(), [f"d{n}.example" for n in range(8)]
    options = {
        "smarthost": "",
        "routes": {domain: [sink.address, f"[127.0.0.1]:{number}"] for number, domain in enumerate(domains, 1)},
        "limits": {"mx:127.0.0.1": {"concurrency": 2, "messages_per_connection": 5}},
        "dequeue_timeout": 3600,
    }
    running, spool = daemon(**options), make_spool(**options)
    send(spool, 20, *domains)
    eventually(lambda: len(sink.mails) == 160, timeout=120)
    assert 1 <= sink.most <= 2
    assert sink.accepted >= 160 / 5
    assert running.status()["owners"] == 1


def test_a_destination_gets_no_more_messages_in_a_minute_than_it_may_and_others_do_not_wait_for_it(
    daemon, make_spool, sinks
):
    slow, good = sinks(), sinks(host="127.0.0.2")
    options = {
        "smarthost": good.address,
        "routes": {"slow.example": slow.address},
        "limits": {"127.0.0.1": {"messages_per_minute": 1}},
        "dequeue_timeout": 3600,
    }
    running = daemon(**options)
    spool, began = make_spool(**options), time.monotonic()
    send(spool, 20, "slow.example", "good.example")
    eventually(lambda: len(good.mails) == 20 and slow.mails)
    seen = len(slow.mails)
    assert seen <= 1 + (time.monotonic() - began) // 60
    held = running.status()["held"][slow.address]
    assert (held["rule"], 0 < held["seconds"] <= 60) == ("messages_per_minute", True)


def test_all_domains_behind_hosts_of_one_name_share_the_messages_of_a_minute(daemon, make_spool, sinks):
    slow, good, domains = sinks(), sinks(host="127.0.0.2"), [f"d{n}.example" for n in range(8)]
    options = {
        "smarthost": good.address,
        "routes": {domain: [slow.address, f"[127.0.0.1]:{number}"] for number, domain in enumerate(domains, 1)},
        "limits": {"mx:127.0.0.1": {"messages_per_minute": 2}},
        "dequeue_timeout": 3600,
    }
    running = daemon(**options)
    spool, began = make_spool(**options), time.monotonic()
    send(spool, 3, *domains)
    send(spool, 20, "good.example")
    rules = lambda: [held["rule"] for held in running.status()["held"].values()]  # noqa: E731
    eventually(lambda: len(good.mails) == 20 and slow.mails and rules() == ["messages_per_minute"] * len(domains))
    assert len(slow.mails) <= 1 + (time.monotonic() - began) // 30


def test_a_greylisted_message_is_tried_again_when_its_host_says_and_not_when_its_tier_does(
    daemon, make_spool, sink, tmp_path
):
    options = {"dequeue_timeout": 3600}
    command = [sys.executable, "-c", IMPATIENT, "-f", "-c", str(tmp_path / "mailspool.toml")]
    daemon(sink=sink, command=command, **options)
    spool = make_spool(sink=sink, **options)
    send(spool, 1, "x.example")
    spool.send_mail(to="grey@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: sorted(sink.recipients) == ["grey@x.example", "r0@x.example"])
    eventually(lambda: list(spool.store.locations()) == [])
