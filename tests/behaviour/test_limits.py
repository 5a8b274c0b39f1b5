# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an administrator grants a destination, and no more, by the real daemon and its workers."""

import time

from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, count, *domains):
    for n in range(count):
        for domain in domains:
            spool.send_mail(to=f"r{n}@{domain}", from_="me@y.example", message=MESSAGE)


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
    daemon(**options)
    spool, began = make_spool(**options), time.monotonic()
    send(spool, 20, "slow.example", "good.example")
    eventually(lambda: len(good.mails) == 20 and slow.mails)
    seen = len(slow.mails)
    assert seen <= 1 + (time.monotonic() - began) // 60
