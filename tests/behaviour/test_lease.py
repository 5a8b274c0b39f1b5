# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real daemon and its lease: it moves, it is given up, and who has lost it sends nothing any more."""

import signal
from pathlib import Path

import pytest

from mailspool.store.lease import leaseholders, read_lease
from tests.running import eventually, is_running

LEASE_TIME = 3.0


@pytest.fixture
def options(sink):
    return {"sink": sink, "lease_time": LEASE_TIME, "dequeue_timeout": 0.5, "cool_down": 0.0}


def send(spool, to="joe@x.example"):
    return spool.send_mail(to=to, from_="me@y.example", message="Subject: hello\n\nworld\n")


def lease_child(running):
    """Its pid, once it runs."""

    def pid():
        return next((each["pid"] for each in running.status()["services"] if each["role"] == "lease"), 0)

    return eventually(pid)


def the_owner(spool):
    (owner,) = leaseholders(spool.store.root)
    return owner


def moves(spool, owner):
    before = read_lease(spool.store.root, owner)
    eventually(lambda: (read_lease(spool.store.root, owner) or 0) > before, what="a beat")


def test_the_lease_moves_and_is_gone_after_a_clean_stop(daemon, make_spool, options):
    running, spool = daemon(**options), make_spool(**options)
    moves(spool, the_owner(spool))
    assert running.stop() == 0
    assert leaseholders(spool.store.root) == []
    assert "lease_lost" not in running.log


def test_a_killed_lease_child_is_started_again_for_the_same_owner_and_goes_on_counting(daemon, make_spool, options):
    running, spool = daemon(**options), make_spool(**options)
    owner = the_owner(spool)
    moves(spool, owner)
    running.send(signal.SIGKILL, lease_child(running))
    moves(spool, owner)
    moves(spool, owner)
    assert the_owner(spool) == owner
    send(spool)
    eventually(lambda: list(spool.store.locations()) == [])


def test_a_reload_changes_neither_the_owner_nor_the_child_that_beats(daemon, make_spool, options):
    running, spool = daemon(**options), make_spool(**options)
    owner, child = the_owner(spool), lease_child(running)
    running.send(signal.SIGHUP)
    eventually(lambda: running.status()["generation"])
    moves(spool, owner)
    assert (the_owner(spool), lease_child(running)) == (owner, child)
    send(spool)
    eventually(lambda: list(spool.store.locations()) == [])


def test_who_is_taken_for_dead_before_a_final_dot_does_not_say_it_and_goes_on_as_another(
    daemon, make_spool, sink, options
):
    running, spool = daemon(**options), make_spool(**options)
    sink.hold()
    send(spool, "wait+1@x.example")  # its RCPT is not answered before `release`
    eventually(lambda: sink.waiting)
    first, (worker,) = the_owner(spool), running.workers()
    assert list(Path(spool.store.root, "claimed", first, "0").iterdir())
    Path(spool.store.root, "hosts", first).unlink()  # as another host does that takes it for dead
    eventually(lambda: not is_running(worker))
    second = eventually(lambda: next(iter(leaseholders(spool.store.root)), ""))
    assert second == f"{first}.2"
    assert sink.mails == []
    sink.release()
    eventually(lambda: [mail.recipients for mail in sink.mails] == [("wait+1@x.example",)])
    eventually(lambda: list(spool.store.locations()) == [])
    moves(spool, second)
    assert running.process.poll() is None
    assert running.stop() == 0
    assert leaseholders(spool.store.root) == []


def test_while_the_file_server_hangs_nothing_is_begun_and_all_goes_on_when_it_is_back(
    daemon, make_spool, sink, options
):
    running, spool = daemon(**options), make_spool(**options)
    owner, child = the_owner(spool), lease_child(running)
    send(spool)
    eventually(lambda: list(spool.store.locations()) == [])
    running.send(signal.SIGSTOP, child)  # as it hangs in a write to a dead server
    eventually(lambda: [alarm for alarm in running.status()["alarms"] if alarm["subject"] == "lease"])
    eventually(lambda: not sink.clients, what="the end of the last session")
    connections = sink.accepted
    send(spool)
    eventually(lambda: "the file server does not answer" in running.log)
    assert (sink.accepted, len(sink.mails)) == (connections, 1)
    running.send(signal.SIGCONT, child)
    eventually(lambda: len(sink.mails) == 2)
    eventually(lambda: list(spool.store.locations()) == [])
    assert the_owner(spool) == owner
    assert running.status()["alarms"] == []
    assert running.log.count("lease is not renewed") == 1


def test_a_worker_past_its_dot_keeps_the_lease_for_as_long_as_it_waits(daemon, make_spool, sink, options):
    running, spool = daemon(**options), make_spool(**options)
    sink.hold()
    send(spool)
    eventually(lambda: sink.waiting)
    owner = the_owner(spool)
    running.send(signal.SIGTERM)
    eventually(lambda: running.status()["stopping"])
    moves(spool, owner)
    moves(spool, owner)
    sink.release()
    assert running.wait() == 0
    assert (len(sink.mails), leaseholders(spool.store.root), list(spool.store.locations())) == (1, [], [])
