# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whoever is killed, and whenever: what was accepted arrives, a second copy only where a final dot was under way."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.running import ENVIRONMENT, ROOT, eventually, is_running

MESSAGE = "Subject: hello\n\n" + "world\n" * 50

SUBMITTER = """
import sys
from mailspool.spool import Spool
spool = Spool.from_config(sys.argv[1])
while True:
    print(spool.send_mail(to="joe@x.example", from_="me@y.example", message={message!r}), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_workers_and_supervisors_killed_under_load_lose_nothing(daemon, make_spool, sink, seed):
    dice = random.Random(seed)
    # Whose worker was killed twice falls back: no tier may make us wait.
    every_tier_now = {"dequeue_periods": [0] * 7, "dequeue_priority": [1] * 7, "dequeue_timeout": 0.5}
    options = {"sink": sink, "max_dequeue_processes": 4, "cool_down": 0.0, **every_tier_now}
    running, spool = daemon(**options), make_spool(**options)
    sent = set()
    sink.hold()  # so that every kill meets deliveries under way
    kills = Counter()
    for _ in range(10):
        sent |= {spool.send_mail(to=f"r{n}@x{n % 3}.example", from_="me@y.example", message=MESSAGE) for n in range(20)}
        workers = eventually(running.workers)
        if dice.random() < 0.5:
            kills["worker"] += 1
            running.send(signal.SIGKILL, dice.choice(workers))
        else:
            kills["supervisor"] += 1
            running.kill()
            eventually(lambda: not any(map(is_running, workers)))  # noqa: B023 - called at once
            running.start()
        sink.release()
        time.sleep(dice.random() * 0.05)
        sink.hold()
    sink.release()
    eventually(lambda: sent <= {mail.queue_id for mail in sink.mails}, what="all that was accepted")
    eventually(lambda: list(spool.store.locations()) == [], timeout=60)
    assert [mail for mail in sink.mails if mail.sender != "me@y.example"] == []  # nobody was told of a failure
    copies = Counter(mail.queue_id for mail in sink.mails)
    assert set(copies) == sent
    second = sum(copies.values()) - len(copies)
    print(f"\nseed {seed}: {dict(kills)} killed, {len(sent)} messages, {second} second copies")
    assert second <= kills["worker"] + 4 * kills["supervisor"]  # one for each worker that was killed past its dot
    assert running.stop() == 0


def test_a_submitter_that_is_killed_has_sent_what_it_was_told_and_at_most_one_more(daemon, make_spool, sink, tmp_path):
    running, spool = daemon(sink=sink, dequeue_timeout=0.5), make_spool(sink=sink)
    told = []
    for _ in range(5):
        submitter = subprocess.Popen(
            [sys.executable, "-c", SUBMITTER.format(message=MESSAGE), str(running.config)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        told += [submitter.stdout.readline().strip() for _ in range(10)]
        submitter.kill()
        told += submitter.stdout.read().split()  # whole lines: each was one write
        submitter.wait()
    eventually(lambda: set(told) <= {mail.queue_id for mail in sink.mails})
    eventually(lambda: list(spool.store.locations()) == [])
    copies = Counter(mail.queue_id for mail in sink.mails)
    assert len(copies) <= len(told) + 5
    assert set(copies.values()) == {1}
    assert all(mail.content.endswith(b"world\r\n" * 50) for mail in sink.mails)
    assert running.stop() == 0


def test_a_supervisor_that_was_killed_leaves_nothing_in_the_way_of_the_next(daemon, make_spool, sink):
    sink.hold()
    running, spool = daemon(sink=sink, dequeue_timeout=3600), make_spool(sink=sink)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: sink.waiting)
    workers = running.workers()
    running.kill()
    eventually(lambda: not any(map(is_running, workers)))
    sink.release()
    running.start()
    eventually(lambda: len(sink.mails) == 2)  # the one case in which it may be
    eventually(lambda: list(spool.store.locations()) == [])
    assert len(sink.mails) == 2
