# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What Mail::Spool 0.50 got wrong, one by one, as what mailspool promises instead.

The numbers are those of the list of faults in docs/architecture.md.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.errors import AddressError, SpoolError, TransientError
from mailspool.spool import Spool
from mailspool.store import fsops
from mailspool.store.base import State
from mailspool.supervisor.job import Look
from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, *to, **more):
    return spool.send_mail(**{"to": list(to), "from_": "me@y.example", "message": MESSAGE, **more})


def nodes(spool, state=State.QUEUED):
    return [spool.node_at(at) for at in spool.store.locations() if at.state is state]


def claimed(spool, *to, **more):
    send(spool, *to, **more)
    node = spool.list_spool_handles()[0].open_spool().next_node()
    assert node.lock_node()
    return node


def test_01_a_fall_back_that_fails_keeps_the_message(make_spool, monkeypatch):
    node = claimed(spool := make_spool(), "joe@x.example")

    def full(source, target):
        raise SpoolError("no space left on device")

    monkeypatch.setattr(fsops, "rename_to_new", full)
    with pytest.raises(SpoolError):
        node.fallback()
    monkeypatch.undo()
    assert nodes(spool, State.CLAIMED)[0].to == "joe@x.example"


@pytest.mark.parametrize("address", ["a-b-c@x-y.example", '"a/b"@x.example', "a%2Fb@x.example", "a+b=c@x.example"])
def test_02_whatever_an_address_is_it_survives_every_fall_back(make_spool, address):
    spool = make_spool(dequeue_periods=[0] * 7)
    send(spool, address)
    for tier in range(6):
        (job,) = SpoolWork(spool).jobs(Look.ALL)
        node = spool.node_at(next(spool.store.locations()))
        assert (node.msh.tier.number, job.key) == (tier, f"{tier}/{node.name}")
        node.claim()
        node.fallback()
    assert [node.to for node in nodes(spool)] == [address]


def test_03_two_thousand_messages_to_one_recipient_are_two_thousand_nodes(make_spool):
    spool = make_spool()
    ids = {send(spool, "joe@x.example") for _ in range(2000)}
    assert len(ids) == len(nodes(spool)) == 2000


def test_04_a_bounce_that_cannot_be_sent_now_waits_in_the_spool_like_any_mail(make_spool, sink):
    spool = make_spool(sink=sink)
    send(spool, "never@x.example", from_="later@y.example")
    spool.dequeue()
    spool.dequeue()
    (bounce,) = nodes(spool)
    assert (bounce.to, bounce.from_, bounce.msh.tier.number) == ("later@y.example", "", 1)


@pytest.mark.parametrize("step", ["write", "sync", "close"])
def test_05_an_error_of_any_step_of_writing_is_raised_and_nothing_is_left_behind(make_spool, monkeypatch, step):
    spool = make_spool()

    def fail(*_):
        raise SpoolError("input/output error")

    monkeypatch.setattr(fsops, step, fail)
    with pytest.raises(SpoolError):
        send(spool, "joe@x.example")
    monkeypatch.undo()
    assert list(spool.store.locations()) == []
    assert os.listdir(Path(spool.dequeue_dir, "incoming")) == []


@pytest.mark.parametrize("priority", [1, 2, 100])
def test_06_mail_enters_tier_0_whatever_the_dice_say(daemon, make_spool, sink, priority):
    options = {"sink": sink, "dequeue_priority": [priority] * 7, "dequeue_timeout": 3600}
    daemon(**options)
    spool = make_spool(**options)
    for _ in range(10):
        send(spool, "joe@x.example")
    eventually(lambda: len(sink.mails) == 10)
    assert nodes(spool) == []


def test_07_past_the_last_tier_the_sender_hears_the_real_error(make_spool, sink):
    spool = make_spool(sink=sink, dequeue_periods=[0], dequeue_priority=[1])
    send(spool, "later@x.example")
    spool.dequeue()
    spool.dequeue()
    assert b"450 4.2.1 Mailbox is busy" in sink.mails[0].content


def test_08_an_error_at_quit_after_the_250_sends_no_second_copy(daemon, make_spool, sinks):
    sink = sinks(at_quit="drop")
    options = {"sink": sink, "dequeue_timeout": 0.1, "dequeue_periods": [0] * 7, "dequeue_priority": [1] * 7}
    running, spool = daemon(**options), make_spool(**options)
    send(spool, "joe@x.example")
    eventually(lambda: b"QUIT\r\n" in sink.commands)
    send(spool, "jane@x.example")  # some looks later
    eventually(lambda: "jane@x.example" in sink.recipients)
    assert running.stop() == 0
    assert sink.recipients == ["joe@x.example", "jane@x.example"]


@pytest.mark.parametrize("name", ["1800000000-ABC-joe%40x.example-me%40y.example.lock", "x.lock", "core", ".hidden"])
def test_09_what_is_no_node_is_put_aside_and_never_delivered(make_spool, sink, name):
    spool = make_spool(sink=sink)
    Path(spool.dequeue_dir, "0", name).write_text("")
    spool.dequeue()
    assert sink.accepted == 0
    assert [at.state for at in spool.store.locations()] == [State.QUARANTINED]


def test_10_a_delivery_leaves_the_caller_s_alarm_alone_and_is_bounded_in_every_phase(make_spool, sinks):
    sink = sinks(greeting="drip")
    handler, (seconds, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(TransientError):
        send(make_spool(sink=sink), "joe@x.example", delivery="Interactive", timeout=0.2)
    assert seconds - 10 < signal.getitimer(signal.ITIMER_REAL)[0] <= seconds
    assert signal.getsignal(signal.SIGALRM) is handler


class Hosts(Spool):
    hosts: tuple = ()

    def lookup_mx(self, domain):
        return self.hosts


def test_11_a_host_that_says_4yz_is_followed_by_the_next_one(daemon, make_spool, sinks):
    first = sinks(greeting="421 4.3.2 busy")
    second = sinks(host="127.0.0.2", port=first.port)
    spool = make_spool(cls=Hosts, smarthost="", smtp_port=first.port)
    spool.hosts = (first.host, second.host)
    send(spool, "joe@x.example")
    assert spool.dequeue()["delivered"] == 1
    assert (first.accepted, second.recipients) == (1, ["joe@x.example"])


@pytest.mark.parametrize(
    "message", [["Subject: x", "", ".dot", "..", "a\n.\nMAIL FROM:<evil@z.example>", "."], "Subject: x\n\n.\r.\n.\n"]
)
def test_12_what_arrives_is_what_was_given_and_no_line_of_it_is_a_command(make_spool, sink, message):
    before = list(message)
    send(make_spool(sink=sink), "joe@x.example", message=message, delivery="Interactive")
    assert list(message) == before
    (mail,) = sink.mails
    text = message if isinstance(message, str) else "\n".join(message) + "\n"
    body = text.partition("\n\n")[2].replace("\r", "\n").replace("\n", "\r\n")
    assert mail.content.partition(b"\r\n\r\n")[2] == body.encode()


def test_12_an_address_with_a_line_end_is_refused(make_spool):
    with pytest.raises(AddressError):
        send(make_spool(), "joe@x.example>\r\nRCPT TO:<evil@z.example")


def test_13_an_address_beyond_ascii_arrives_as_it_was_given(make_spool, sink):
    spool = make_spool(sink=sink, dequeue_periods=[0] * 7, dequeue_priority=[1] * 7)
    send(spool, "jörg@x.example")
    (node,) = nodes(spool)
    node.claim()
    node.fallback()
    spool.dequeue()
    assert sink.recipients == ["jörg@x.example"]


def test_14_an_address_of_any_lawful_length_makes_a_node(make_spool):
    spool = make_spool()
    address = "l" * 64 + "@" + ".".join(["d" * 59] * 3) + ".example"
    send(spool, address, id="i" * 200)
    (node,) = nodes(spool)
    assert node.to == address
    assert len(node.name) < 200


def test_15_background_spools_for_every_recipient_who_failed_for_now(make_spool):
    spool = make_spool()  # where nothing listens
    send(spool, "a@x.example", "b@x.example", "c@z.example", delivery="Background")
    assert sorted(node.to for node in nodes(spool)) == ["a@x.example", "b@x.example", "c@z.example"]


def test_16_a_shorter_dequeue_periods_orphans_no_tier(daemon, make_spool, sink):
    spool = make_spool(sink=sink, dequeue_periods=[0] * 7)
    node = claimed(spool, "joe@x.example")
    for _ in range(5):
        node.fallback()
        (node,) = nodes(spool)
        node.claim()
    node.release()
    assert nodes(spool)[0].msh.tier.number == 5
    daemon(sink=sink, dequeue_periods=[0, 0], dequeue_priority=[1, 1], dequeue_timeout=0.2)
    eventually(lambda: sink.recipients == ["joe@x.example"])


SUBCLASS = """
import sys
from mailspool.spool import Spool
class Marked(Spool):
    def mail_spool_node(self, msh, name):
        node = super().mail_spool_node(msh, name)
        print("node", name, flush=True)
        return node
Marked.from_config(sys.argv[1]).daemon(foreground=True)
"""


def test_17_a_subclass_s_mail_spool_node_is_used_when_reading(daemon, make_spool, sink, tmp_path):
    command = [sys.executable, "-c", SUBCLASS, str(tmp_path / "mailspool.toml")]
    running, spool = daemon(sink=sink, command=command, dequeue_timeout=3600), make_spool(sink=sink)
    queue_id = send(spool, "joe@x.example")
    eventually(lambda: sink.mails)
    lines = [line for line in running.log.splitlines() if line.startswith("node") and queue_id in line]
    assert len(lines) >= 2  # of the parent that looked, and of the worker that claimed


NO_FORK = """
import os, sys
from mailspool.spool import Spool
from mailspool.supervisor import supervisor
real, supervisor.FIRST_PAUSE = os.fork, 0.05
def fork():
    if os.path.exists(sys.argv[2]):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real()
os.fork = fork
Spool.from_config(sys.argv[1]).daemon(foreground=True)
"""


def test_18_the_daemon_starts_and_a_failed_fork_does_not_end_it(daemon, make_spool, sink, tmp_path):
    obstacle = tmp_path / "no-fork"
    obstacle.touch()
    command = [sys.executable, "-c", NO_FORK, str(tmp_path / "mailspool.toml"), str(obstacle)]
    running, spool = daemon(sink=sink, command=command, dequeue_timeout=3600), make_spool(sink=sink)
    send(spool, "joe@x.example")
    eventually(lambda: 'what="look into the spool" error="[Errno 11]' in running.log)
    obstacle.unlink()
    eventually(lambda: sink.recipients == ["joe@x.example"])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_19_hup_and_term_let_deliveries_in_progress_end(daemon, make_spool, sinks, number):
    sink = sinks(hold=True)
    options = {"sink": sink, "dequeue_timeout": 3600}
    running, spool = daemon(**options), make_spool(**options)
    send(spool, "joe@x.example")
    eventually(lambda: sink.waiting)
    running.send(number)
    eventually(lambda: "reloaded" in running.log or "stopping" in running.log)
    sink.release()
    eventually(lambda: list(spool.store.locations()) == [])
    assert len(sink.mails) == 1
    assert (running.wait() if number == signal.SIGTERM else running.stop()) == 0


def test_20_twenty_messages_to_a_host_that_never_answers_stop_nothing(daemon, make_spool, sinks):
    silent, good = sinks(greeting="hang"), sinks()
    options = {"smarthost": good.address, "routes": {"silent.example": silent.address}, "dequeue_timeout": 3600}
    daemon(**options)
    spool = make_spool(**options)
    for n in range(20):
        send(spool, f"r{n}@silent.example")
    eventually(lambda: silent.clients == 1)  # the scout
    for n in range(30):
        send(spool, f"r{n}@x.example")
    eventually(lambda: len(good.mails) == 30)
    assert silent.clients == 1
