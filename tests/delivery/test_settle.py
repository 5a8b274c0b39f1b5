# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What follows from an outcome: real spools, real servers, and a clock that only the test moves."""

import email
import errno
import re

import pytest

from mailspool import log
from mailspool.config.schema import Settings
from mailspool.delivery.settle import Settler
from mailspool.delivery.work import SpoolWork
from mailspool.errors import SpoolError
from mailspool.model.outcome import Attempt, Deferred, Failed
from mailspool.store.base import Location, State
from mailspool.supervisor.job import Look

HOUR = 3600.0
MESSAGE = "Subject: hello\n\nworld\n"


class Post:
    """A spool with a clock, and one look after the other."""

    def __init__(self, spool, clock, station):
        self.spool, self.clock, self._station = spool, clock, station

    def send(self, *to, from_="me@y.example", **more):
        return self.spool.send_mail(to=list(to), from_=from_, message=MESSAGE, **more)

    def look(self):
        """Try all that is due, in every tier, as one worker per destination would."""
        batches = {}
        for job in SpoolWork(self.spool).jobs(Look.ALL):
            batches.setdefault(job.destination, []).append(job)
        for batch in batches.values():
            SpoolWork(self.spool).perform(batch, self._station)
        SpoolWork(self.spool).idle()

    def nodes(self, state=State.QUEUED):
        return [self.spool.node_at(at) for at in self.spool.store.locations() if at.state is state]

    def tiers(self):
        return sorted(node.msh.tier.number for node in self.nodes())

    def to(self, state=State.QUEUED):
        return sorted(node.to for node in self.nodes(state))


@pytest.fixture
def post(make_spool, clock, station):
    def make(sink, **options):
        return Post(make_spool(sink=sink, clock=clock, **options), clock, station())

    return make


def reports(sink):
    """The mails of the null sender, parsed."""
    return [email.message_from_bytes(mail.content) for mail in sink.mails if mail.sender == ""]


def subjects(sink):
    return [report["Subject"] for report in reports(sink)]


def test_what_is_deferred_falls_back_and_waits_for_its_time(post, sink, clock):
    post = post(sink, dequeue_periods=[0, 1800, 7200], dequeue_priority=[1, 1, 1])
    post.send("later@x.example")
    post.look()
    assert post.tiers() == [1]
    clock.sleep(1799)
    post.look()
    assert post.tiers() == [1]
    clock.sleep(1)
    post.look()
    assert post.tiers() == [2]


def test_past_the_last_tier_it_bounces_with_its_own_error_and_every_attempt(post, sink, clock):
    post = post(sink, dequeue_periods=[0, 1800, 7200], dequeue_priority=[1, 1, 1], delay_notice=0)
    post.send("later@x.example")
    for _ in range(3):
        post.look()
        clock.sleep(2 * HOUR)
    assert post.to() == ["me@y.example"]
    post.look()
    (report,) = reports(sink)
    human, machine, original = report.get_payload()
    assert human.get_payload().count("450 4.2.1 Mailbox is busy") >= 3
    assert "Status: 5.2.1" in str(machine)
    assert "Subject: hello" in str(original)


def test_past_the_maximum_age_it_bounces_though_tiers_are_left(post, sink, clock):
    post = post(sink, dequeue_periods=[0, 1800, 172800], dequeue_priority=[1, 1, 1], max_age=86400, delay_notice=0)
    post.send("later@x.example")
    post.look()
    clock.sleep(HOUR)
    post.look()
    assert post.tiers() == [2]
    clock.sleep(86400)
    post.look()
    assert post.to() == ["me@y.example"]
    post.look()
    (report,) = reports(sink)
    assert "Status: 4.4.7" in str(report.get_payload(1))
    assert "450 4.2.1 Mailbox is busy" in report.get_payload(0).get_payload()


def test_the_recipients_of_a_message_that_fail_together_stand_in_one_bounce(post, sink):
    post = post(sink)
    post.send("never@x.example", "never+2@x.example", "joe@x.example")
    post.look()
    post.look()
    (report,) = reports(sink)
    assert str(report).count("Final-Recipient:") == 2
    assert post.nodes() == []


def test_a_delay_is_told_of_once(post, sink, clock):
    post = post(sink, dequeue_periods=[0, *[1800] * 9], dequeue_priority=[1] * 10, delay_notice=2 * HOUR)
    post.send("later@x.example")
    for _ in range(9):
        post.look()
        clock.sleep(0.5 * HOUR)
    post.look()
    (notice,) = reports(sink)
    assert "Action: delayed" in str(notice)


def test_no_delay_is_told_of_where_nobody_wants_to_hear_it(post, sink, clock):
    post = post(sink, dequeue_periods=[0, 1800, 1800, 1800], dequeue_priority=[1] * 4, delay_notice=HOUR)
    post.send("later@x.example", notify=("FAILURE",))
    for _ in range(3):
        post.look()
        clock.sleep(HOUR)
    assert reports(sink) == []


def test_a_delay_is_told_of_once_also_if_the_first_look_comes_late_and_its_worker_died(post, sink, clock):
    post = post(sink, dequeue_periods=[0, 1800, 1800], dequeue_priority=[1] * 3, delay_notice=HOUR)
    post.send("later@x.example")
    clock.sleep(2 * HOUR)
    post.look()  # tier 0: the notice
    (node,) = [node for node in post.nodes() if node.to == "later@x.example"]
    node.lock_node()
    node._move(node.location._replace(state=State.QUEUED, tier=0, name=f"0-{node.node_id}-x.example", owner=""))
    post.look()  # tier 0 again, as after `mailspool retry`
    post.look()
    assert len(reports(sink)) == 1


def test_a_bounce_that_fails_goes_to_postmaster_once_and_then_to_quarantine(post, sink):
    post = post(sink, postmaster_address="never+postmaster@mail.test")
    post.send("never@x.example", from_="never+me@y.example")
    post.look()
    assert post.to() == ["never+me@y.example"]
    post.look()
    assert post.to() == ["never+postmaster@mail.test"]
    post.look()
    assert post.nodes() == []
    (aside,) = [at for at in post.spool.store.locations() if at.state is State.QUARANTINED]
    assert post.spool.store.reason(aside)
    post.look()
    assert sink.mails == []


def test_the_failure_of_a_bounce_is_told_to_postmaster(post, sink):
    post = post(sink)
    post.send("never@x.example", from_="never+me@y.example")
    for _ in range(3):
        post.look()
    assert sink.recipients == ["postmaster@mail.test"]
    assert post.nodes() == []


def test_a_loop_is_ended_by_its_hop_count(post, sink):
    post = post(sink, max_hops=5)
    trace = "".join(f"Received: by hop{n}.example; Sun, 22 Nov 2026 20:00:00 +0000\n" for n in range(5))
    post.spool.send_mail(to="joe@x.example", from_="me@y.example", message=trace + MESSAGE)
    post.look()
    post.look()
    assert sink.recipients == ["me@y.example"]
    assert "Status: 5.4.6" in str(reports(sink)[0])


def test_nobody_is_told_of_a_failure_who_said_never(post, sink):
    post = post(sink)
    post.send("never@x.example", notify=("NEVER",))
    post.look()
    assert post.nodes() == []


def test_a_bounce_is_accepted_whatever_the_limit_for_messages_is(post, sink):
    post = post(sink, max_message_size=300)
    post.send("never@x.example")
    post.look()
    assert post.to() == ["me@y.example"]
    post.look()
    assert len(reports(sink)) == 1


def test_a_local_fault_in_the_last_tier_never_bounces_before_its_time(post, sink, clock, station):
    post = post(sink, dequeue_periods=[0], dequeue_priority=[1], delay_notice=0)
    post.send("joe@x.example")
    for expected in 0, 0:
        node = next(iter(post.spool.list_spool_handles()[0].open_spool()))
        node.lock_node()
        fault = Attempt(clock(), 0, "", "4.3.0", "disk full")
        post.spool.door.settler.settle([(node, Deferred("4.3.0", "", "disk full", (fault,)))])
        assert post.tiers() == [expected]
    assert post.to() == ["joe@x.example"]


def test_a_login_that_fails_is_no_message_s_fault_but_none_waits_for_ever(post, sink, clock, tmp_path):
    (tmp_path / "credentials").touch(0o600)
    (tmp_path / "credentials").write_text(f'["{sink.address}"]\nuser = "joe"\npassword = "secret"\ntls = "may"\n')
    options = {"dequeue_periods": [0], "dequeue_priority": [1], "max_age": 20 * HOUR, "delay_notice": 0}
    post = post(sink, credentials_file=str(tmp_path / "credentials"), **options)
    post.send("joe@x.example")
    for _ in range(19):
        post.look()
        assert post.tiers() == [0]
        clock.sleep(HOUR)
    (node,) = post.nodes()
    assert {attempt.status for attempt in node.history()} == {"4.7.8"}
    assert sink.mails == []
    (tmp_path / "credentials").write_text("")
    post.spool.configure()
    post.look()
    assert sink.recipients == ["joe@x.example"]


def test_a_tier_beyond_the_configured_ones_is_emptied(post, sink, clock):
    post = post(sink, dequeue_periods=[0, 10, 10], dequeue_priority=[1, 1, 1], delay_notice=0)
    post.send("later@x.example")
    post.look()
    clock.sleep(10)
    post.look()
    assert post.tiers() == [2]
    post.spool.configure(dequeue_periods=[0], dequeue_priority=[1])
    clock.sleep(10)
    post.look()
    assert post.to() == ["me@y.example"]


def test_whoever_finds_the_claim_gone_repairs_nothing(post, sink):
    post = post(sink)
    post.send("joe@x.example")
    node = next(iter(post.spool.list_spool_handles()[0].open_spool()))
    node.lock_node()
    node.recipient  # noqa: B018 - opened, as it is when it has been tried
    post.spool.store.delete(node.location)
    post.spool.door.settler.settle([(node, Deferred("4.4.1", "", "no answer"))])
    assert post.nodes() == []


def test_what_an_operator_has_taken_away_meanwhile_does_not_bounce(post, sink):
    post = post(sink)
    post.send("joe@x.example")
    node = next(iter(post.spool.list_spool_handles()[0].open_spool()))
    node.lock_node()
    node.recipient  # noqa: B018 - opened, as it is when it has been tried
    held = post.spool.store.move(node.location, Location(State.HELD, 0, node.name))
    post.spool.door.settler.settle([(node, Failed("5.1.1", "mx", "550 no"))])
    assert list(post.spool.store.locations()) == [held]


def test_what_bounces_is_sealed_so_that_an_operator_comes_too_late(post, sink, monkeypatch):
    post = post(sink)
    post.send("never@x.example")
    sealed = []

    def spool_report(*_):
        sealed.extend(at.sealed for at in post.spool.store.locations())

    monkeypatch.setattr(post.spool, "spool_report", spool_report)
    post.look()
    assert sealed == [True]


def test_an_operator_s_bounce_carries_what_was_tried_before(post, sink, clock):
    post = post(sink)
    post.send("later@x.example")
    post.look()
    (node,) = post.nodes()
    node.lock_node()
    post.spool.door.settler.bounce([(node, Failed("5.0.0", "", "given up by an operator"))])
    post.look()
    (report,) = reports(sink)
    assert re.search("Mailbox is busy", str(report))
    assert "given up by an operator" in str(report)


def test_who_wants_to_hear_of_a_success_hears_it_from_us_where_the_host_sends_no_reports(post, sinks):
    post = post(sink := sinks(extensions=("PIPELINING",)))
    post.send("a@x.example", "b@x.example", notify=("SUCCESS",))
    post.send("c@x.example")
    for _ in range(2):
        post.look()
    (report,) = reports(sink)
    assert report["Subject"] == "Mail passed on"
    assert str(report.get_payload(1)).count("Action: relayed") == 2
    assert post.nodes() == post.nodes(State.CLAIMED) == []


def test_a_host_that_sends_reports_is_left_to_do_so(post, sink):
    post = post(sink)
    post.send("a@x.example", notify=("SUCCESS",))
    for _ in range(2):
        post.look()
    assert reports(sink) == []
    assert any(b"NOTIFY=SUCCESS" in command for command in sink.commands)


@pytest.mark.parametrize("fault", [SpoolError("No space left on device"), OSError(errno.EIO, "Input/output error")])
def test_what_a_host_has_taken_is_ended_though_nobody_can_be_told(post, sinks, monkeypatch, fault):
    """The latter, if the message cannot be read once more."""
    post = post(sinks(extensions=()))
    post.send("a@x.example", notify=("SUCCESS",))

    def spool_report(*_):
        raise fault

    monkeypatch.setattr(post.spool, "spool_report", spool_report)
    post.look()
    assert post.nodes() == post.nodes(State.CLAIMED) == []


def test_the_log_tells_under_the_id_of_what_failed_which_report_tells_of_it(post, sink, clock, capfd):
    log.configure(stream="stderr")
    post = post(sink, dequeue_periods=[0, 100, 1800], dequeue_priority=[1, 1, 1], delay_notice=60)
    late, lost = post.send("later@x.example"), post.send("never@x.example", "never+2@x.example")
    post.send("never@x.example", notify=("NEVER",))
    post.look()
    clock.sleep(1000)
    for _ in range(2):
        post.look()
    told = re.findall(r"(\w+): reported what=(\w+) to=me@y.example report=(\w+)$", capfd.readouterr().err, re.MULTILINE)
    assert [(about, what) for about, what, _ in told] == [(lost, "failed"), (late, "delayed")]
    assert {report for _, _, report in told} == {mail.queue_id for mail in sink.mails if mail.sender == ""}


def test_a_report_is_accepted_before_its_node_is_ended(post, sink, clock):
    post = post(sink)
    post.send("joe@x.example")
    node = next(iter(post.spool.list_spool_handles()[0].open_spool()))
    node.lock_node()
    seen = []
    settler = Settler(
        Settings(postmaster_address="postmaster@mail.test", hostname="mail.test"),
        lambda to, chunks: seen.append((to, len(b"".join(chunks)), node.open().envelope.id)),
        clock,
        lambda n: b"x" * n,
    )
    settler.settle([(node, Failed("5.1.1", "mx", "550 no"))])
    assert [(to, at) for to, _, at in seen] == [("me@y.example", node.id)]
    assert post.nodes(State.CLAIMED) == []
