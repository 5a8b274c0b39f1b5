# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the scout finds at a stranger: real connections to servers on loopback, and names from a subclass."""

import threading
import time

import pytest

from mailspool.delivery.network import at_most
from mailspool.delivery.scout import MAX_REMEMBERED, MOST_KNOWN, MOST_STRANGE, Addresses, Crowded, Search, unreached
from mailspool.delivery.work import SpoolWork
from mailspool.errors import LeaseStale, PermanentError, TransientError
from mailspool.model.phase import Phase, nobody_watches
from mailspool.model.status import LOCAL_FAULT
from mailspool.model.target import Host
from mailspool.model.timeouts import Timeouts
from mailspool.spool import Spool
from mailspool.supervisor.destination import HELD
from mailspool.supervisor.job import Job
from mailspool.supervisor.loop import through
from mailspool.supervisor.scout import Question, Scout, Verdict
from tests.running import eventually


class Domains(Spool):
    """answers: MX hosts by domain; an exception is raised."""

    answers = None

    def lookup_mx(self, domain):
        answer = self.answers[domain]
        if isinstance(answer, Exception):
            raise answer
        return answer


def searching(spool, *, watch=nobody_watches, in_turn=False):
    route, resolver = spool.door.route, spool.door.network.resolver
    return Search(route, resolver, spool.settings, watch=watch, in_turn=in_turn, now=spool.now, clock=time.monotonic)


@pytest.fixture
def search(make_spool):
    """search(hosts of x.example, …): what is found there. watch: as a `Search` has it."""

    def look(answer, *, watch=nobody_watches, patient=False, patience=0.3, domain="x.example", **options):
        spool = make_spool(cls=Domains, smarthost="", **options)
        spool.answers = {domain: answer}
        one = searching(spool, watch=watch, in_turn=True)
        return through(one(Question(7, Job(f"2/0-ID.0-{domain}", domain, "g", patient=patient), patience)))

    return look


def test_the_first_host_that_speaks_is_found_and_its_greeting_is_left_to_be_read(search, sinks):
    silent = sinks(greeting="hang")
    good = sinks(host="127.0.0.2", port=silent.port)
    answer, connection = search(["127.0.0.1", "127.0.0.2"], smtp_port=silent.port)
    assert (answer.number, answer.verdict) == (7, Verdict.SPEAKS)
    assert answer.host == Host("127.0.0.2", "127.0.0.2", silent.port)
    with connection:
        assert connection.recv(100) == b"220 sink.test ESMTP\r\n"
    assert good.commands == []


def test_a_host_that_greets_with_a_refusal_speaks_and_a_worker_judges_it(search, sinks):
    sink = sinks(greeting="554 5.3.2 no service")
    answer, connection = search(["127.0.0.1"], smtp_port=sink.port)
    connection.close()
    assert answer.verdict is Verdict.SPEAKS


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ({"greeting": "hang"}, "timed out after 0.3 s in GREETING"),
        ({"greeting": "drip"}, "timed out after 0.3 s in GREETING"),
        ({"greeting": "nonsense"}, "does not speak SMTP"),
        ({"flood": "greeting"}, "does not speak SMTP"),
        ({"greeting": "220-and then"}, "lost in GREETING: closed by the peer"),
    ],
)
def test_who_never_says_a_whole_greeting_is_silent_and_every_host_tried_is_told_of(search, sinks, behaviour, text):
    sink = sinks(**behaviour)
    answer, connection = search(["127.0.0.1", "127.0.0.3"], smtp_port=sink.port)  # there is nobody at the second
    assert (answer.verdict, connection) == (Verdict.SILENT, None)
    outcome = unreached(answer.found)
    assert [attempt.host for attempt in outcome.attempts] == [
        f"{host}[{host}]:{sink.port}" for host in ("127.0.0.1", "127.0.0.3")
    ]
    assert text in outcome.attempts[0].text
    assert {attempt.tier for attempt in outcome.attempts} == {2}
    assert (outcome.status, outcome.text) == (outcome.attempts[1].status, outcome.attempts[1].text)
    assert answer.refusal.endswith(f" UTC: {outcome.text}")


def test_a_later_attempt_is_as_patient_as_configured(search, sinks):
    sink = sinks(greeting="hang")
    answer, _ = search(["127.0.0.1"], smtp_port=sink.port, patient=True, patience=0.01, greeting_timeout=0.5)
    assert "timed out after 0.5 s" in answer.refusal


def test_a_domain_whose_name_servers_are_in_trouble_is_silent(search):
    answer, _ = search(TransientError("4.4.3", "", "DNS look-up of x.example MX failed: SERVFAIL"))
    assert answer.verdict is Verdict.SILENT
    (attempt,) = unreached(answer.found).attempts
    assert (attempt.host, attempt.status) == ("", "4.4.3")


@pytest.mark.parametrize(
    "trouble",
    [
        PermanentError("5.1.2", "", "domain x.example does not exist"),
        TransientError(LOCAL_FAULT, "", "no name server answers"),
        ["nobody.invalid."],
    ],
)
def test_what_it_cannot_judge_a_worker_finds_out(search, trouble):
    answer, connection = search(trouble, nameservers=["127.0.0.1:9"], dns_timeout=0.1)
    assert (answer.verdict, connection) == (Verdict.UNKNOWN, None)


@pytest.mark.parametrize(
    ("limit", "verdict", "connections"),
    [({"messages_per_minute": 5}, Verdict.SPEAKS, 1), ({"concurrency": 5}, Verdict.UNKNOWN, 0)],
)
def test_under_which_limit_of_hosts_it_comes_is_told_and_where_connections_are_counted_none_is_made(
    search, sink, limit, verdict, connections
):
    answer, connection = search(["127.0.0.1"], smtp_port=sink.port, limits={"mx:127.0.0.1": limit})
    assert (answer.verdict, answer.rule) == (verdict, "mx:127.0.0.1")
    assert sink.accepted == connections
    if connection:
        connection.close()


def test_where_tls_comes_before_the_first_word_a_worker_connects(search, sink):
    answer, _ = search(["127.0.0.1"], smtp_port=465)
    assert answer.verdict is Verdict.UNKNOWN


def test_without_a_fresh_lease_it_connects_to_nobody(search, sink):
    def stale(phase, _host, _seconds):
        if phase is Phase.CONNECT:
            raise LeaseStale("not renewed")

    answer, _ = search(["127.0.0.1"], smtp_port=sink.port, watch=stale)
    assert answer.verdict is Verdict.UNKNOWN
    assert sink.accepted == 0


# --- names


def watched(steps, blocked):
    """The same steps; blocked: to which is added what may have."""
    wait = next(steps, Ellipsis)
    while wait is not Ellipsis:
        blocked += [True] if wait is None else []
        yield wait
        wait = next(steps, Ellipsis)


@pytest.mark.parametrize("fault", ["", "truncate", "SERVFAIL", "silence", "brief"])
def test_names_are_learnt_beforehand_and_a_thread_is_needed_only_where_that_fails(
    make_spool, server, sink, monkeypatch, fault
):
    monkeypatch.setattr("mailspool.dns.resolver.TRY_SECONDS", 0.1)
    server.zone = {"x.example": {"MX": ["10 mx.x.example."]}, "mx.x.example": {"A": [sink.host]}}
    server.faults["mx.x.example", "AAAA"] = fault.removeprefix("brief")
    server.ttl = 0 if fault == "brief" else 300
    one = searching(make_spool(smarthost="", nameservers=[server.address], smtp_port=sink.port, dns_timeout=1.0))
    found, blocked = [], []

    def search():
        found.append((yield from one(Question(7, Job("0/0-ID.0-x.example", "x.example", "g"), 3.0))))

    through(watched(search(), blocked))
    ((answer, connection),) = found
    connection.close()
    assert (answer.verdict, answer.host) == (Verdict.SPEAKS, Host("mx.x.example", sink.host, sink.port))
    assert bool(blocked) == bool(fault)
    assert ("mx.x.example", "A", "udp") in server.asked


# --- addresses


def addresses(clock=time.monotonic, rest=60.0, workers=20):
    return Addresses(nobody_watches, rest, workers, clock)


def host_of(sink):
    return Host("mx", sink.host, sink.port)


def test_an_address_that_was_silent_is_not_tried_again_before_its_rest_is_over(sinks, clock):
    sink, impatient = sinks(greeting="hang"), at_most(Timeouts(), 0.2)
    ours = addresses(lambda: time.monotonic() + clock.now)
    for _ in range(3):
        with pytest.raises(TransientError, match=r"timed out after 0\.2 s in GREETING"):
            through(ours.open(host_of(sink), impatient))
    assert sink.accepted == 1
    clock.now += 60.0
    with pytest.raises(TransientError):
        through(ours.open(host_of(sink), impatient))
    assert sink.accepted == 2


def test_what_an_operator_wants_tried_is_tried_once_whatever_was_silent_before(sinks):
    sink, ours = sinks(greeting="hang"), addresses()
    for era in (0, 1, 1):
        ours.enter_era(era)
        with pytest.raises(TransientError):
            through(ours.open(host_of(sink), at_most(Timeouts(), 0.2)))
    assert sink.accepted == 2


def test_more_patience_than_anybody_had_is_a_reason_to_try_again(sinks):
    sink, ours = sinks(greeting="hang"), addresses()
    for seconds in (0.1, 0.2):
        with pytest.raises(TransientError):
            through(ours.open(host_of(sink), at_most(Timeouts(), seconds)))
    assert sink.accepted == 2


def test_patience_does_not_help_with_who_refuses(sinks):
    sink, ours = sinks(greeting="nonsense"), addresses()
    for seconds in (1.0, 2.0):
        with pytest.raises(TransientError):
            through(ours.open(host_of(sink), at_most(Timeouts(), seconds)))
    assert sink.accepted == 1


def test_only_a_few_wait_for_one_address_until_it_has_spoken(sinks):
    sink, ours = sinks(greeting="hang"), addresses()

    def wait():
        with pytest.raises(TransientError):
            through(ours.open(host_of(sink), at_most(Timeouts(), 1.0)))

    threads = [threading.Thread(target=wait) for _ in range(MOST_STRANGE)]
    for thread in threads:
        thread.start()
    eventually(lambda: sink.clients == MOST_STRANGE)
    with pytest.raises(Crowded):
        through(ours.open(host_of(sink), Timeouts()))
    for thread in threads:
        thread.join()
    assert sink.accepted == MOST_STRANGE


@pytest.mark.parametrize(("workers", "most"), [(20, MOST_KNOWN), (4, 4), (1, 1)])
def test_a_host_that_greets_has_no_more_connections_than_workers_may_come_for(workers, most, sink, clock):
    ours = addresses(clock, workers=workers)
    kept = [through(ours.open(host_of(sink), Timeouts())) for _ in range(most)]
    assert all(kept)
    assert through(ours.open(host_of(sink), Timeouts())) is None  # it speaks, and that is all that need be known
    assert sink.accepted == most
    clock.now += HELD  # by now a worker has them, or nobody
    kept.append(through(ours.open(host_of(sink), Timeouts())))
    assert kept[-1]
    for connection in kept:
        connection.close()


def test_what_is_known_of_addresses_is_bounded(monkeypatch, sinks):
    monkeypatch.setattr("mailspool.delivery.scout.MAX_REMEMBERED", 3)
    assert MAX_REMEMBERED == 10_000
    sink, ours = sinks(greeting="nonsense", host="0.0.0.0"), addresses()
    for n in range(1, 6):
        with pytest.raises(TransientError):
            through(ours.open(Host("mx", f"127.0.0.{n}", sink.port), Timeouts()))
    assert len(ours._silent) <= 3
    sink = sinks(host="0.0.0.0")
    for n in range(1, 6):
        with through(ours.open(Host("mx", f"127.0.0.{n}", sink.port), Timeouts())):
            pass
    assert len(ours._greetings) <= 3


# --- whose spool has one


def scouts(spool):
    return [service for service in SpoolWork(spool).services() if isinstance(service, Scout)]


def test_a_subclass_that_connects_in_a_way_of_its_own_has_no_scout(make_spool):
    class Tunnel(Spool):
        def open_smtp_connection(self, host, port=25, timeout=0.0):
            raise TransientError("4.4.1", host, "no tunnel")

    spool = make_spool(cls=Tunnel)
    assert spool.overridden == {"open_smtp_connection"}
    assert scouts(spool) == []
    (scout,) = scouts(make_spool())
    scout.close(unlink=True)


def test_what_one_object_overrides_counts_too(make_spool):
    spool = make_spool()
    assert spool.overridden == set()
    spool.lookup_mx = lambda domain: ["mx.example.org"]
    assert spool.overridden == {"lookup_mx"}
