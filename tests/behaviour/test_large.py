# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A message of 100 MB goes in and out, and neither side ever holds it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ENVIRONMENT, ROOT, eventually

SIZE = 100 << 20
MOST = 20 << 10  # KiB that the resident set may grow

SEND = """
import sys
from mailspool.spool import Spool
class Letter:
    def __init__(self):
        self.left, self.line = {size}, b"x" * 76 + b"\\n"
    def read(self, most):
        piece = self.line * (min(most, self.left) // len(self.line) or 1) if self.left > 0 else b""
        self.left -= len(piece)
        return piece
def peak():
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])  # getrusage counts our parent's too
spool = Spool.from_config(sys.argv[1])
spool.send_mail(to="joe@x.example", from_="me@y.example", message="Subject: small\\n\\nx\\n")
before = peak()
spool.send_mail(to="joe@x.example", from_="me@y.example", filehandle=Letter())
print(peak() - before)
"""


def peak(pid):
    """KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.slow
def test_a_large_message_needs_no_more_memory_than_a_small_one(daemon, make_spool, sinks):
    sink = sinks(keep=False)
    options = {"sink": sink, "dequeue_timeout": 3600, "max_dequeue_processes": 4}
    running, spool = daemon(**options), make_spool(**options)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message="Subject: small\n\nx\n")
    eventually(lambda: len(sink.mails) == 1)
    (worker,) = running.workers()
    before = peak(worker)
    sink.hold()
    sent = subprocess.run(
        [sys.executable, "-c", SEND.format(size=SIZE), str(running.config)],
        capture_output=True, text=True, check=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    into = int(sent.stdout)
    eventually(lambda: sink.octets > SIZE and sink.waiting, timeout=100)
    grown = max(peak(pid) for pid in running.workers()) - before
    sink.release()
    eventually(lambda: len(sink.mails) == 3 and list(spool.store.locations()) == [])
    print(f"\n100 MiB: resident set grew by {into} KiB on the way in, by {grown} KiB on the way out")
    assert into < MOST
    assert grown < MOST
