# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an administrator grants a destination, and no more, by the real daemon and its workers."""

import json
import sys
import time

from click.testing import CliRunner

from mailspool.cli.admin import mailspool
from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, count, *domains):
    for n in range(count):
        for domain in domains:
            spool.send_mail(to=f"r{n}@{domain}", from_="me@y.example", message=MESSAGE)


def why(running, message):
    """The rules that `mailspool why` names, each with its text; and what it says to people."""
    told = [
        CliRunner().invoke(mailspool, ["why", *more, message, "-c", str(running.config)]).stdout
        for more in (["--json"], [])
    ]
    return {each["rule"]: each["text"] for each in json.loads(told[0])["reasons"]}, " ".join(told[1].split())


def waiting(spool):
    """Ids of the messages that have not been tried."""
    return [at.name.split("-")[1].partition(".")[0] for at in spool.store.locations() if at.tier == 0]


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
    rules, text = why(running, waiting(spool)[0])
    assert list(rules) == ["messages_per_minute"]
    assert f"{slow.address}: all messages that limits.127.0.0.1 grants for a minute are used up (1), for " in text
    screen = CliRunner().invoke(mailspool, ["status", "-c", str(running.config)]).stdout
    assert f"held back: {slow.address} (messages_per_minute, " in screen


def test_who_wants_less_is_left_alone_for_a_while_and_its_mail_waits_and_does_not_fall_back(daemon, make_spool, sink):
    running, spool = daemon(sink=sink, dequeue_timeout=3600), make_spool(sink=sink)
    send(spool, 1, "x.example")
    eventually(lambda: sink.mails)
    for n in range(20):
        spool.send_mail(to=f"less+{n}@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: [held["rule"] for held in running.status()["held"].values()] == ["patience"])
    tried = sum(line.startswith(b"RCPT TO:<less") for line in sink.commands)
    assert tried <= 5  # each of its workers gave the rest of its batch back
    assert len(waiting(spool)) == 20 - tried
    rules, text = why(running, waiting(spool)[0])
    assert list(rules) == ["patience"]
    assert "its host asks for patience: 450 4.7.1 Error: too many messages from you, for another" in text


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
