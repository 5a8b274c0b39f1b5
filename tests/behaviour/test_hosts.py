# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Two real daemons that are two hosts to each other, on one spool: one dies or is frozen, the other takes over."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailspool.store import rollcall
from mailspool.store.claim import Owner
from mailspool.store.lease import leaseholders, read_lease
from tests.dns.conftest import DnsServer
from tests.running import ENVIRONMENT, ROOT, Daemon, children_of, eventually

LEASE_TIME = 5.0  # a third of it is what a busy machine may hold a look up for

AS_HOST = """
import os, sys
kernel, _, *rest = os.uname()
os.uname = lambda: os.uname_result((kernel, sys.argv[1], *rest))
from mailspool.cli.mailspoold import main
from mailspool.model import hint
hint.LONGEST = hint.SHORTEST = 1.0
sys.exit(main(sys.argv[2:]))
"""
"""A daemon that takes each time that a host names for a second."""


@pytest.fixture
def hosts(properties, sink, tmp_path):
    """hosts("a"): the daemon of a host of that name; all of them share a spool."""
    started = []

    def start(name, **more):
        folder = tmp_path / name
        (folder / "run").mkdir(parents=True, mode=0o700)
        options = properties(sink=sink, lease_time=LEASE_TIME, dequeue_timeout=0.5, cool_down=0.0, **more)
        command = [sys.executable, "-c", AS_HOST, name, "-f", "-c", str(folder / "mailspool.toml")]
        started.append(Daemon(folder, {**options, "run_dir": str(folder / "run")}, command))
        return started[-1]

    yield start
    for each in started:
        each.send(signal.SIGCONT)
        each.end()


@pytest.fixture
def server():
    server = DnsServer()
    yield server
    server.close()


@pytest.fixture
def spool(make_spool, sink):
    return make_spool(sink=sink)


def send(spool, to):
    return spool.send_mail(to=to, from_="me@y.example", message="Subject: hello\n\nworld\n")


def owner_of(spool, host):
    """The owner with a lease on a host, "" if there is none."""
    return next((name for name in leaseholders(spool.store.root) if Owner.parse(name).host == host), "")


def claimed_by(spool, host):
    return [at for at in spool.store.locations() if at.owner and Owner.parse(at.owner).host == host]


def caught(hosts, spool, sink, to):
    """Host a is in the middle of a delivery, and host b runs."""
    sink.hold()
    first = hosts("a")
    message = send(spool, to)
    eventually(lambda: sink.waiting)
    assert claimed_by(spool, "a")
    return first, hosts("b"), message


BEFORE, AFTER = "wait+1@x.example", "joe@x.example"
"""The first waits for the reply to its RCPT, the second for that to its final dot."""


@pytest.mark.parametrize(("to", "copies"), [(BEFORE, 1), (AFTER, 2)], ids=["before the dot", "after the dot"])
def test_what_a_killed_host_was_delivering_is_delivered_by_the_other(hosts, spool, sink, to, copies):
    first, second, message = caught(hosts, spool, sink, to)
    owner = owner_of(spool, "a")
    first.kill()
    eventually(lambda: not claimed_by(spool, "a"), what="the recovery")
    assert read_lease(spool.store.root, owner) is None
    eventually(lambda: "owner ended, recovered" in second.log)
    assert ("a second copy is possible" in second.log) == (copies == 2)
    sink.release()
    eventually(lambda: [mail.queue_id for mail in sink.mails] == [message] * copies)
    eventually(lambda: list(spool.store.locations()) == [])
    assert not Path(spool.store.root, "claimed", owner).exists()


@pytest.mark.parametrize(("to", "copies"), [(BEFORE, 1), (AFTER, 2)], ids=["before the dot", "after the dot"])
def test_a_host_that_was_only_frozen_wakes_harms_nobody_and_goes_on_as_another_owner(hosts, spool, sink, to, copies):
    first, _, message = caught(hosts, spool, sink, to)
    owner, frozen = owner_of(spool, "a"), [first.pid, *children_of(first.pid)]
    for pid in frozen:
        first.send(signal.SIGSTOP, pid)
    eventually(lambda: not claimed_by(spool, "a"), what="the recovery")
    sink.release()
    eventually(lambda: len(sink.mails) == copies, what="the delivery by the other")
    eventually(lambda: list(spool.store.locations()) == [])
    for pid in frozen:
        first.send(signal.SIGCONT, pid)
    assert eventually(lambda: owner_of(spool, "a")) == f"{owner}.2"
    eventually(lambda: first.status()["workers_actual"] == 0 or "claim_lost" in first.log)
    assert [mail.queue_id for mail in sink.mails] == [message] * copies
    more = [send(spool, f"{n}@x.example") for n in range(20)]
    eventually(lambda: len(sink.mails) >= copies + len(more))
    eventually(lambda: list(spool.store.locations()) == [])
    assert sorted(mail.queue_id for mail in sink.mails) == sorted([*[message] * copies, *more])


def test_two_hosts_deliver_each_message_once_and_call_the_roll(hosts, spool, sink):
    running = hosts("a"), hosts("b")
    sent = [send(spool, f"{n}@{n % 5}.example") for n in range(100)]
    eventually(lambda: len(sink.mails) >= len(sent))
    eventually(lambda: list(spool.store.locations()) == [])
    assert sorted(mail.queue_id for mail in sink.mails) == sorted(sent)
    for name in leaseholders(spool.store.root):
        eventually(lambda name=name: rollcall.read(spool.store.root, name), what="the roll-call")
    ran = subprocess.run(
        [sys.executable, ROOT / "bin/mailspool", "hosts", "--json", "-c", running[0].config],
        capture_output=True,
        check=True,
        env=ENVIRONMENT,
    )
    found = {each["host"]: each for each in map(json.loads, ran.stdout.splitlines())}
    assert [(found[name]["alive"], found[name]["stands_out"]) for name in "ab"] == [(True, [])] * 2
    assert found["a"]["configuration"] == found["b"]["configuration"]
    assert running[0].stop() == running[1].stop() == 0
    assert list(Path(spool.store.root, "hosts").iterdir()) == []


def test_hosts_that_share_a_spool_divide_what_a_destination_bears(hosts, spool, sink, sinks, server):
    slow, suffix = sinks(host="127.0.0.2"), "mail.protection.example"
    for n in range(6):
        server.zone[f"d{n}.example"] = {"MX": [f"10 d{n}-example.{suffix}."]}
        server.zone[f"d{n}-example.{suffix}"] = {"A": ["127.0.0.1"]}
    limits = {f"mx:*.{suffix}": {"concurrency": 2}, "127.0.0.2": {"messages_per_minute": 2}}
    options = {"limits": limits, "smarthost": "", "smtp_port": sink.port, "nameservers": [server.address],
               "routes": {"slow.example": slow.address}}  # fmt: skip
    running = [hosts(name, **options) for name in "ab"]
    eventually(lambda: [each.status()["owners"] for each in running] == [2, 2])
    sink.hold()
    began = time.monotonic()
    for n in range(30):
        send(spool, f"r{n}@d{n % 6}.example")
    for n in range(6):
        send(spool, f"r{n}@slow.example")
    eventually(lambda: sink.waiting == 2)
    held = lambda: [each.status()["held"].get(slow.address, {}) for each in running]  # noqa: E731
    eventually(lambda: len(slow.mails) >= 2 and [each.get("rule") for each in held()] == ["messages_per_minute"] * 2)
    assert all("(1, our part among 2 owners)" in each["text"] for each in held())
    assert len(slow.mails) <= 2 * (1 + (time.monotonic() - began) // 60)
    sink.release()
    eventually(lambda: len(sink.mails) == 30)
    assert sink.most == 2
    assert running.pop().stop() == 0
    eventually(lambda: "(2)" in held()[0].get("text", ""), what="all of it for who is left")


def told(running, message, status):
    """The hosts whose log says so of it."""
    return [name for name, each in running.items() if re.search(f"{message}: .*status={status}", each.log)]


def test_what_was_greylisted_is_tried_again_by_the_host_that_was_told_so_and_by_no_other_before_its_tier(
    hosts, spool, sink
):
    running = {name: hosts(name) for name in "ab"}
    eventually(lambda: [each.status()["owners"] for each in running.values()] == [2, 2])
    sent = [send(spool, f"grey+{n}@d{n}.example") for n in range(20)]
    eventually(lambda: len(sink.mails) == len(sent))
    eventually(lambda: all(told(running, message, "sent") for message in sent))
    for message in sent:
        assert told(running, message, "deferred") == told(running, message, "sent")
    rcpts = [line for line in sink.commands if line.startswith(b"RCPT")]
    assert len(rcpts) == 2 * len(sent)
