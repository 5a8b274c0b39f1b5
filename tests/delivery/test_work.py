# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the supervisor asks of a spool, without a supervisor."""

import subprocess
import sys

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.errors import SpoolError
from mailspool.store.base import State
from mailspool.store.filesystem import FileStore
from tests.running import ENVIRONMENT, write_config

MESSAGE = "Subject: hello\n\nworld\n"


def test_after_a_reload_workers_claim_for_the_supervisor_and_not_for_themselves(make_spool):
    spool = make_spool()
    SpoolWork(spool).preload()
    fresh = SpoolWork(spool).reload().work
    fresh.preload()
    assert fresh._spool._store is not None
    assert fresh._spool.store.owner == spool.store.owner


class OneIsStuck(FileStore):
    """The node to b.example cannot be moved once it is claimed."""

    def move(self, source, target):
        if source.state is State.CLAIMED and "b.example" in source.name:
            raise SpoolError("bad block")
        return super().move(source, target)


def test_a_claim_that_cannot_be_recovered_keeps_no_other_back(make_spool):
    spool = make_spool()
    spool.send_mail(to=["a@a.example", "b@b.example", "c@c.example"], from_="me@y.example", message=MESSAGE)
    spool._store = OneIsStuck(spool.dequeue_dir, spool.store.owner)
    for counter, location in enumerate(list(spool.store.locations())):
        spool.store.claim(location, f"w7.{counter}")
    with pytest.raises(ExceptionGroup, match="worker 7"):
        SpoolWork(spool).recover_worker(7, "signal 9")
    (left,) = (at for at in spool.store.locations() if at.state is State.CLAIMED)
    assert "b.example" in left.name


WORK = """
import sys
import mailspool.cli.mailspoold, mailspool.delivery.daemon
from mailspool.delivery.work import ALONE, SpoolWork
from mailspool.spool import Spool
from mailspool.supervisor.job import Look
from mailspool.tls import context
work = SpoolWork(Spool.from_config(sys.argv[1]))
work.preload()
built = [each.cache_info().currsize for each in (context.opportunistic, context.verifying)]
jobs, before = list(work.jobs(Look.ALL)), {*sys.modules}
results = work.perform(jobs, ALONE)
print(len(results), built, {*sys.modules} - before)
"""


def test_whatever_becomes_of_a_message_its_worker_imports_nothing_and_builds_no_context(
    make_spool, properties, sink, tmp_path
):
    """What a child imports, it imports again in each fork: one codec (encodings.idna) took a quarter of their rate."""
    spool = make_spool(sink=sink)
    for box in ("joe", "later", "never", "grey"):
        spool.send_mail(to=f"{box}@x.example", from_="me@y.example", message=MESSAGE)
    write_config(tmp_path / "mailspool.toml", properties(sink=sink))
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(tmp_path / "mailspool.toml")],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    assert done.stdout == "4 [1, 1] set()\n"
    assert sink.recipients == ["joe@x.example"]
