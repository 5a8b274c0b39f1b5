# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A minute of 500 messages a second, and signals all the while: nothing is lost or doubled, and the log is complete."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.bench.sink import Sink
from tests.running import ENVIRONMENT, ROOT, eventually

RATE, SECONDS = 510, 60  # some time is lost while they start
SUBMITTERS = 3  # each waits for the disk most of its time

SUBMITTER = """
import sys, time
from mailspool.spool import Spool
config, (rate, seconds, submitters, mine) = sys.argv[1], map(int, sys.argv[2:])
spool, message = Spool.from_config(config), "Subject: hello\\n\\n" + "world\\n" * 600
began = time.monotonic()
for n in range(mine, rate * seconds, submitters):
    queue_id = spool.send_mail(to=f"r{n}@x{n % 20}.example", from_="me@y.example", message=message)
    print(f"{queue_id} {n}\\n", end="", flush=True)  # one write: the file is everybody's
    if (early := began + n / rate - time.monotonic()) > 0:
        time.sleep(early)
"""

SIGNALS = {
    signal.SIGHUP: 8,
    signal.SIGUSR1: 4,
    signal.SIGTTIN: 4,
    signal.SIGTTOU: 4,
    signal.SIGUSR2: 1,
    signal.SIGTERM: 1,
}
"""How often each is sent, on average, in a score."""


@pytest.fixture
def sink(tmp_path):
    """One that is quick: this machine's two cores are the submitter's and the daemon's."""
    if not os.environ.get("MAILSPOOL_REQUIRE_PEERS") and not shutil.which("gcc"):
        pytest.skip("needs a C compiler: on Debian, apt-get install gcc libc6-dev")
    sink = Sink(tmp_path, record=tmp_path / "taken")
    yield sink
    sink.close()


@pytest.fixture
def in_memory():
    """Where a spool costs no disk's time: how much of that there is, is not what this is about."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield f"{folder}/spool"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_signals_under_load_lose_nothing_double_nothing_and_leave_the_log_whole(
    daemon, make_spool, sink, tmp_path, in_memory
):
    dice = random.Random(3)
    # What is given back at TERM is due again at the next tick; the log is a file, for USR1 to reopen.
    options = {
        "sink": sink,
        "dequeue_dir": in_memory,
        "max_dequeue_processes": 8,
        "dequeue_timeout": 1.0,
        "log_file": str(tmp_path / "log"),
    }
    spool, running = make_spool(**options), daemon(**options)
    command = [sys.executable, "-c", SUBMITTER, running.config, *map(str, (RATE, SECONDS, SUBMITTERS))]
    sent = Counter()
    began = time.monotonic()
    with (tmp_path / "accepted").open("a+") as accepted:
        with ExitStack() as stack:
            submitters = [
                stack.enter_context(subprocess.Popen([*command, str(n)], stdout=accepted, cwd=ROOT, env=ENVIRONMENT))
                for n in range(SUBMITTERS)
            ]
            while any(submitter.poll() is None for submitter in submitters):
                (number,) = dice.choices(list(SIGNALS), list(SIGNALS.values()))
                if number == signal.SIGUSR1 and (tmp_path / "log").exists():  # else it is not reopened yet
                    (tmp_path / "log").rename(tmp_path / f"log.{sent[number]}")
                running.send(number)
                sent[number] += 1
                if number == signal.SIGTERM:
                    assert running.wait() == 0
                    running.start()
                time.sleep(dice.random())  # the load goes on meanwhile
        assert not any(submitter.returncode for submitter in submitters)
        took = time.monotonic() - began
        accepted.seek(0)
        ids = {number: queue_id for queue_id, number in map(str.split, accepted)}
    assert len(ids) == RATE * SECONDS
    eventually(lambda: not list(spool.store.locations()), timeout=120, what="an empty spool")
    assert running.stop() == 0
    print(f"\n{len(ids)} messages, {len(ids) / took:.0f}/s, {json.dumps({each.name: n for each, n in sent.items()})}")

    arrived = Counter(ids[number] for number in re.findall(r"<r(\d+)@", (tmp_path / "taken").read_text()))
    assert arrived == Counter(ids.values())
    lines = "".join(path.read_text() for path in tmp_path.glob("log*"))
    logged = Counter(re.findall(r" (\w+): to=<.*status=sent ", lines))
    assert logged == arrived
    assert "dropped" not in lines
