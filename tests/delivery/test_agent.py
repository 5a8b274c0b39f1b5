# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Host after host, until each recipient has its verdict; real sessions with servers on loopback."""

import io

import pytest

from mailspool.errors import DeadlineExceeded, ShutdownRequested, SpoolError
from mailspool.model.envelope import Envelope, Facts, Recipient
from mailspool.model.outcome import Deferred, Delivered, Failed
from mailspool.model.phase import Phase

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nworld\r\n"


@pytest.fixture
def deliver(station):
    """deliver(spool, "a@x.example", …): the outcomes. The agent is kept from call to call of one spool."""
    agents = {}

    def run(spool, *addresses, place=None, domain="x.example", facts=None, file=None, tier=0):
        if spool not in agents:
            agents[spool] = spool.work_at(place or station()).agent
        recipients = tuple(map(Recipient, addresses))
        envelope = Envelope("ID", "me@y.example", recipients, 0.0, facts=facts or Facts(len(MESSAGE), leading_dots=1))
        agent = agents[spool]
        return agent.deliver(agent.prepare(envelope, recipients, file or io.BytesIO(MESSAGE), domain, tier))

    yield run
    for agent in agents.values():
        agent.close()


def test_what_arrives_is_the_message_byte_for_byte_and_its_envelope(deliver, make_spool, sink):
    (outcome,) = deliver(make_spool(sink=sink), "joe@x.example")
    assert isinstance(outcome, Delivered)
    assert [mail[:3] for mail in sink.mails] == [("me@y.example", ("joe@x.example",), MESSAGE)]


def test_each_recipient_has_its_own_verdict_in_its_place(deliver, make_spool, sink):
    outcomes = deliver(make_spool(sink=sink), "never@x.example", "joe@x.example", "later@x.example")
    assert [type(outcome) for outcome in outcomes] == [Failed, Delivered, Deferred]
    assert [outcome.status for outcome in outcomes] == ["5.1.1", "2.0.0", "4.2.1"]


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "554 5.3.2 no service"])
def test_a_host_that_refuses_a_session_is_followed_by_the_next_one(deliver, two_hosts, greeting):
    spool, _, second = two_hosts({"greeting": greeting}, {})
    (outcome,) = deliver(spool, "joe@x.example")
    assert isinstance(outcome, Delivered)
    assert [attempt.host for attempt in outcome.attempts] == [
        f"{host}[{host}]:{second.port}" for host in ("127.0.0.1", "127.0.0.2")
    ]


def test_a_host_that_says_4yz_is_followed_by_the_next_one(deliver, two_hosts):
    spool, first, second = two_hosts({}, {})
    deliver(spool, "later@x.example", "joe@x.example")
    assert first.recipients == ["joe@x.example"]
    assert [line for line in second.commands if line.startswith(b"RCPT")] == [b"RCPT TO:<later@x.example>\r\n"]


def test_a_refusal_for_good_of_one_recipient_is_not_tried_elsewhere(deliver, two_hosts):
    spool, _, second = two_hosts({}, {})
    (outcome,) = deliver(spool, "never@x.example")
    assert isinstance(outcome, Failed)
    assert second.accepted == 0


def test_one_refusal_for_good_of_sessions_is_not_final_while_another_host_may_come_back(deliver, two_hosts):
    spool, *_ = two_hosts({"greeting": "554 5.3.2 never"}, {"greeting": "421 4.3.2 later"})
    (outcome,) = deliver(spool, "joe@x.example")
    assert isinstance(outcome, Deferred)
    assert outcome.refused


def test_if_every_host_refuses_for_good_it_has_failed(deliver, two_hosts):
    spool, *_ = two_hosts({"greeting": "554 5.3.2 never"}, {"greeting": "554 5.3.2 never either"})
    (outcome,) = deliver(spool, "joe@x.example")
    assert isinstance(outcome, Failed)
    assert len(outcome.attempts) == 2


def test_a_first_attempt_is_impatient_with_a_host_that_hangs_but_not_once_the_message_is_on_its_way(
    deliver, make_spool, sinks, station
):
    place, sink = station(), sinks(extensions=("SIZE 0",))  # which is told one command after the other
    deliver(make_spool(sink=sink, first_attempt_timeout=7.0), "joe@x.example", place=place)
    impatient = [phase for phase, seconds in place.waits.items() if seconds == 7.0]
    assert impatient == [Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA]
    assert place.waits[Phase.FINAL] == 600.0


@pytest.mark.parametrize(("tier", "first_attempt_timeout"), [(1, 7.0), (0, 0.0)])
def test_later_attempts_have_the_patience_of_rfc_5321(deliver, make_spool, sink, station, tier, first_attempt_timeout):
    place = station()
    spool = make_spool(sink=sink, first_attempt_timeout=first_attempt_timeout)
    deliver(spool, "joe@x.example", place=place, tier=tier)
    assert place.waits[Phase.GREETING] == place.waits[Phase.MAIL] == 300.0


def test_the_session_is_used_for_the_next_message_to_the_same_destination(deliver, make_spool, sink):
    spool = make_spool(sink=sink)
    deliver(spool, "a@x.example")
    deliver(spool, "b@x.example")
    assert (sink.accepted, len(sink.mails)) == (1, 2)


def test_another_destination_gets_another_session(deliver, two_hosts):
    spool, first, _ = two_hosts({}, {})
    deliver(spool, "a@x.example")
    deliver(spool, "b@z.example", domain="z.example")
    assert first.accepted == 2


def test_a_session_that_the_host_has_closed_meanwhile_is_no_verdict(deliver, make_spool, sinks):
    sink = sinks()
    spool = make_spool(sink=sink)
    deliver(spool, "bye@x.example")  # 421 ends it
    (outcome,) = deliver(spool, "joe@x.example")
    assert isinstance(outcome, Delivered)
    assert len(outcome.attempts) == 1


def test_a_session_lost_after_content_is_a_verdict_and_nothing_is_sent_again_at_once(deliver, make_spool, sink):
    spool = make_spool(sink=sink)
    deliver(spool, "joe@x.example")
    (outcome,) = deliver(spool, "lost@x.example")
    assert isinstance(outcome, Deferred)
    assert sink.recipients == ["joe@x.example", "lost@x.example"]


def test_a_host_that_said_4yz_is_not_asked_again_in_the_same_look(deliver, make_spool, sink):
    spool = make_spool(sink=sink)
    deliver(spool, "joe@x.example")
    (outcome,) = deliver(spool, "later@x.example")
    assert len(outcome.attempts) == 1


def test_an_error_at_quit_changes_nothing(deliver, make_spool, sinks):
    sink = sinks(at_quit="drop")
    (outcome,) = deliver(make_spool(sink=sink), "joe@x.example")
    assert isinstance(outcome, Delivered)


def test_a_message_that_made_too_many_hops_has_failed_and_no_host_is_asked(deliver, make_spool, sink):
    (outcome,) = deliver(make_spool(sink=sink, max_hops=3), "joe@x.example", facts=Facts(len(MESSAGE), received=4))
    assert (type(outcome), outcome.status, sink.accepted) == (Failed, "5.4.6", 0)


def test_a_deadline_defers_and_says_where_the_time_went(deliver, make_spool, sink, station):
    late = DeadlineExceeded("it took too long in MAIL")
    (outcome,) = deliver(make_spool(sink=sink), "joe@x.example", place=station((Phase.MAIL, 1, late)))
    assert isinstance(outcome, Deferred)
    assert outcome.refused
    assert (outcome.host, outcome.text) == (f"127.0.0.1[127.0.0.1]:{sink.port}", str(late))


def test_a_shutdown_before_any_verdict_is_passed_on_and_ends_the_session(deliver, make_spool, sink, station):
    with pytest.raises(ShutdownRequested):
        deliver(make_spool(sink=sink), "joe@x.example", place=station((Phase.MAIL, 1, ShutdownRequested())))
    assert sink.mails == []


@pytest.mark.parametrize("error", [ShutdownRequested(), DeadlineExceeded(), SpoolError("disk"), ValueError("our bug")])
def test_whatever_ends_a_look_early_who_was_delivered_before_is_delivered(deliver, two_hosts, station, error):
    spool, first, _ = two_hosts({}, {})
    outcomes = deliver(spool, "joe@x.example", "later@x.example", place=station((Phase.CONNECT, 2, error)))
    assert first.recipients == ["joe@x.example"]
    assert [type(outcome) for outcome in outcomes] == [Delivered, Deferred]


def test_mail_that_comes_back_to_ourselves_by_mx_is_a_loop(deliver, two_hosts):
    spool, first, second = two_hosts({"name": "Mail.Test"}, {"name": "mail.test"})
    (outcome,) = deliver(spool, "joe@x.example")
    assert (type(outcome), outcome.status) == (Failed, "5.4.6")
    assert "loops back to myself" in outcome.text
    assert first.accepted + second.accepted == 2


def test_a_smarthost_may_bear_our_own_name(deliver, make_spool, sinks):
    relay = sinks(name="mail.test")
    (outcome,) = deliver(make_spool(sink=relay), "joe@x.example")
    assert isinstance(outcome, Delivered)


def test_no_other_host_is_asked_once_the_final_dot_was_said(deliver, two_hosts):
    spool, first, second = two_hosts({}, {})
    (outcome,) = deliver(spool, "lost@x.example")
    assert (type(outcome), outcome.in_doubt, len(first.mails), second.mails) == (Deferred, True, 1, [])
    assert second.accepted == 0


def test_a_host_that_takes_a_message_too_slowly_is_given_up_like_one_that_hangs(deliver, make_spool, sink):
    spool = make_spool(sink=sink, content_timeout=2, min_rate=100_000_000)
    content = b"x\r\n" * 10_000_000
    (outcome,) = deliver(spool, "crawl@x.example", facts=Facts(len(content)), file=io.BytesIO(content))
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.4.2"
    assert outcome.text == f"127.0.0.1[127.0.0.1]:{sink.port} is slower than 100000000 octets/s in CONTENT"
