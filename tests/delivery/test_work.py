# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the supervisor asks of a spool, without a supervisor."""

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.errors import SpoolError
from mailspool.store.base import State
from mailspool.store.filesystem import FileStore

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
