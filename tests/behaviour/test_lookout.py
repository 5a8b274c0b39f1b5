# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A spool whose directory does not answer holds up nobody but who looks into it."""

import json
import signal
import sys
import time

from mailspool.spool import Spool
from mailspool.store.handle import Handle
from tests.running import ROOT, eventually, is_running, title_of

MESSAGE = "Subject: hello\n\nworld\n"
STOP = 20.0  # seconds


class Stuck(Handle):
    """Its names cannot be read while there is a file `stuck` in `run_dir`."""

    def open_spool(self):
        stuck = self.spool.stuck
        if stuck.exists():
            stuck.with_name("hangs").touch()
        while stuck.exists():
            time.sleep(0.01)
        return super().open_spool()


class OnADeadServer(Spool):
    @property
    def stuck(self):
        from pathlib import Path

        return Path(self.settings.run_dir, "stuck")

    def mail_spool_handle(self, tier):
        return Stuck(self, tier)


SCRIPT = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from mailspool.config.load import make
from tests.behaviour.test_lookout import OnADeadServer
sys.exit(OnADeadServer(make(**json.loads(sys.argv[1]))).daemon(foreground=True))
"""


def test_a_spool_that_cannot_be_looked_into_keeps_the_supervisor_from_nothing(
    daemon, properties, make_spool, sink, tmp_path
):
    options = properties(sink=sink, shutdown_timeout=STOP)
    running = daemon(command=[sys.executable, "-c", SCRIPT, json.dumps(options)], sink=sink, shutdown_timeout=STOP)
    spool = make_spool(sink=sink)
    spool.send_mail(to="one@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: len(sink.mails) == 1)
    stuck = tmp_path / "run" / "stuck"
    stuck.touch()
    spool.send_mail(to="two@x.example", from_="me@y.example", message=MESSAGE)
    eventually((tmp_path / "run" / "hangs").exists)
    assert running.status()["pid"] == running.pid
    (lookout,) = (each["pid"] for each in running.status()["services"] if each["role"] == "lookout")
    assert title_of(lookout) == "mailspool: lookout"
    stuck.unlink()
    eventually(lambda: len(sink.mails) == 2)
    stuck.touch()
    spool.send_mail(to="three@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: running.status()["looking"] > 0.1)
    running.send(signal.SIGTERM)
    assert running.wait(STOP) == 0
    eventually(lambda: not is_running(lookout))
    assert [at.name.rpartition("-")[2] for at in spool.store.locations()] == ["x.example"]
