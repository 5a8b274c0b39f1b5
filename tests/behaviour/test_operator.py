# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an operator takes away from a running daemon is not sent, or he is told that he came too late."""

import pytest

from mailspool.cli.admin import main
from mailspool.cli.sendmail import main as sendmail
from mailspool.store.base import State
from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


@pytest.fixture
def scene(daemon, make_spool, sinks):
    """A daemon, its spool, and a sink that answers nobody called "wait", and no final dot, until it is released."""
    sink = sinks(hold=True)
    options = {"sink": sink, "dequeue_timeout": 3600}
    return daemon(**options), make_spool(**options), sink


def send(spool, *to):
    return spool.send_mail(to=list(to), from_="me@y.example", message=MESSAGE)


def mailspool(running, *words):
    return main([*words, "-c", str(running.config)])


@pytest.mark.parametrize("words", [["delete", "--yes"], ["hold"]], ids=" ".join)
def test_what_is_taken_away_while_rcpt_hangs_never_arrives(scene, words):
    running, spool, sink = scene
    taken = send(spool, "wait@x.example")
    eventually(lambda: sink.waiting)
    assert mailspool(running, *words, taken) == 0
    sink.release()
    eventually(lambda: "claim_lost" in running.log)
    later = send(spool, "joe@x.example")
    eventually(lambda: sink.mails)
    assert [mail.queue_id for mail in sink.mails] == [later]
    assert [at.state for at in spool.store.find(taken)] == ([State.HELD] if words == ["hold"] else [])


def test_siblings_of_what_is_taken_away_are_delivered(scene):
    running, spool, sink = scene
    message = send(spool, "wait@x.example", "joe@x.example")
    eventually(lambda: sink.waiting)
    assert mailspool(running, "delete", "--yes", f"{message}.0") == 0
    sink.release()
    eventually(lambda: "claim_lost" in running.log)
    assert mailspool(running, "retry", "ALL") == 0
    eventually(lambda: sink.recipients == ["joe@x.example"])
    eventually(lambda: not list(spool.store.locations()))


@pytest.mark.parametrize("words", [["delete", "--yes"], ["hold"], ["bounce", "--yes"]], ids=" ".join)
def test_after_the_final_dot_it_is_too_late(scene, words, capsys):
    running, spool, sink = scene
    message = send(spool, "joe@x.example")
    eventually(lambda: sink.waiting)
    assert mailspool(running, *words, message) == 1
    assert f"mailspool: {message}.0 is past its final dot: too late" in capsys.readouterr().err
    sink.release()
    eventually(lambda: "status=sent" in running.log)
    assert sink.recipients == ["joe@x.example"]
    eventually(lambda: not list(spool.store.locations()))


def test_what_is_held_and_released_is_delivered_exactly_once(scene, capsys):
    running, spool, sink = scene
    message = send(spool, "wait@x.example")
    eventually(lambda: sink.waiting)
    assert mailspool(running, "hold", "--to", "wait@x.example") == 0
    assert mailspool(running, "release", message) == 0
    assert "1 node released, and the supervisor looks" in capsys.readouterr().out
    sink.release()
    eventually(lambda: "status=sent" in running.log)
    send(spool, "last@x.example")
    eventually(lambda: "last@x.example" in sink.recipients and not list(spool.store.locations()))
    assert sink.recipients == ["wait@x.example", "last@x.example"]


def test_what_is_bounced_while_it_hangs_is_reported_and_not_sent(scene):
    running, spool, sink = scene
    send(spool, "wait@x.example")
    eventually(lambda: sink.waiting)
    assert mailspool(running, "bounce", "--yes", "--domain", "x.example") == 0
    sink.release()
    eventually(lambda: sink.mails and not list(spool.store.locations()))
    assert sink.recipients == ["me@y.example"]
    assert b"given up by the administrator" in sink.mails[0].content


def test_whatever_is_held_and_released_in_the_middle_of_deliveries_arrives_exactly_once(daemon, make_spool, sink):
    options = {"sink": sink, "dequeue_timeout": 1}
    running, spool = daemon(**options), make_spool(**options)
    sent = [send(spool, f"r{n}@x.example", f"s{n}@y.example") for n in range(60)]
    eventually(lambda: sink.mails)
    for _ in range(5):
        mailspool(running, "hold", "ALL")  # 1 where a delivery was past its final dot, or has just ended
        mailspool(running, "release", "ALL")
    eventually(lambda: len(sink.recipients) >= 2 * len(sent))
    eventually(lambda: not list(spool.store.locations()))
    assert sorted(sink.recipients) == sorted(
        f"{letter}{n}@{domain}.example" for n in range(60) for letter, domain in ("rx", "sy")
    )
    assert {mail.queue_id for mail in sink.mails} == set(sent)


def test_who_flushes_the_queue_waits_for_no_host_where_a_daemon_runs(scene, make_spool):
    running, spool, sink = scene
    message = send(make_spool(run_dir="/nonexistent"), "wait@x.example")  # nobody is told of it
    assert sendmail(["sendmail", "-C", str(running.config), "-q"]) == 0
    eventually(lambda: sink.waiting)
    assert all(at.owner for at in spool.store.find(message))
    sink.release()
    eventually(lambda: "mailspool/worker" in running.log and sink.recipients == ["wait@x.example"])


def test_who_flushes_the_queue_without_a_daemon_delivers_by_himself(daemon, make_spool, sink):
    running, spool = daemon(sink=sink), make_spool(sink=sink)
    assert running.stop() == 0
    send(spool, "joe@x.example")
    assert sendmail(["sendmail", "-C", str(running.config), "-q"]) == 0
    assert sink.recipients == ["joe@x.example"]
