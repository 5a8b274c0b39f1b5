# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""From jobs to results: whatever happens on the way, no node is lost, and none that was delivered is given back."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.errors import (
    ClaimLost,
    DeadlineExceeded,
    PermanentError,
    ShutdownRequested,
    SpoolError,
    TransientError,
    Unreadable,
)
from mailspool.model.phase import Phase
from mailspool.spool import Spool
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.supervisor.job import Result
from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


def send(spool, *to, **more):
    return spool.send_mail(to=list(to), from_="me@y.example", message=MESSAGE, **more)


def places(spool):
    """State and tier of all nodes."""
    return sorted((str(at.state), at.tier) for at in spool.store.locations())


def test_what_is_delivered_is_gone(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED]
    assert places(spool) == []


@pytest.mark.parametrize("next_step", ["perform", "idle"])
def test_what_is_delivered_and_cannot_be_removed_is_removed_as_soon_as_the_disk_allows(
    make_spool, sink, station, jobs_of, monkeypatch, next_step
):
    spool, place = make_spool(sink=sink), station()
    send(spool, "joe@x.example")
    work = SpoolWork(spool)
    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", refuse_to_unlink)
        assert work.perform(jobs_of(spool), place) == [Result.DELIVERED]
    assert places(spool) == [("claimed", 0)]
    if next_step == "perform":
        send(spool, "ann@x.example")
        work.perform(jobs_of(spool), place)
    else:
        work.idle()
    assert places(spool) == []
    assert len(sink.mails) == 1 + (next_step == "perform")


def refuse_to_unlink(path, **_):
    raise OSError(errno.EIO, os.strerror(errno.EIO), path)


def test_the_recipients_of_one_message_at_one_destination_are_served_in_one_transaction(
    make_spool, sink, station, jobs_of
):
    spool = make_spool(sink=sink)
    send(spool, *(f"r{n}@x.example" for n in range(5)))
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED] * 5
    assert [len(mail.recipients) for mail in sink.mails] == [5]


def test_a_transaction_has_no_more_recipients_than_allowed(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink, max_recipients=2)
    send(spool, *(f"r{n}@x.example" for n in range(5)))
    SpoolWork(spool).perform(jobs_of(spool), station())
    assert [len(mail.recipients) for mail in sink.mails] == [2, 2, 1]


def test_the_budget_grows_with_the_size(make_spool, sink, station, jobs_of):
    spool, place = make_spool(sink=sink, delivery_timeout=100.0, min_rate=10), station()
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE + "x" * 1000)
    SpoolWork(spool).perform(jobs_of(spool), place)
    assert 200 < place.budget < 250


def test_a_node_that_somebody_else_has_claimed_is_left_alone(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    jobs = jobs_of(spool)
    assert spool.list_spool_handles()[0].open_spool().next_node().lock_node()
    assert SpoolWork(spool).perform(jobs, station()) == [Result.GONE]
    assert sink.mails == []


def test_a_destination_that_refuses_gets_no_more_of_the_batch(make_spool, sinks, station, jobs_of):
    sink = sinks(greeting="421 4.3.2 busy")
    spool = make_spool(sink=sink)
    for _ in range(3):
        send(spool, "joe@x.example")
    results = SpoolWork(spool).perform(jobs_of(spool), station())
    assert results == [Result.REFUSED, Result.RETURNED, Result.RETURNED]
    assert sink.accepted == 1
    assert places(spool) == [("queued", 0), ("queued", 0), ("queued", 1)]


def test_nothing_is_begun_once_the_station_is_finishing(make_spool, sink, station, jobs_of):
    spool, place = make_spool(sink=sink), station()
    send(spool, "joe@x.example")
    place.finishing = True
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.RETURNED]
    assert places(spool) == [("queued", 0)]


def test_a_shutdown_gives_the_claim_back(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), station((Phase.MAIL, 1, ShutdownRequested()))) == [Result.RETURNED]
    assert places(spool) == [("queued", 0)]
    assert sink.mails == []


class Operator:
    """Does something to the claims of some recipients as soon as a phase begins."""

    def __init__(self, station, spool, phase, act):
        self._place, self._spool, self._phase, self._act = station(), spool, phase, act
        self.serial, self.finishing, self.deadline = self._place.serial, False, self._place.deadline
        self.alarm, self.order, self.connection_to = self._place.alarm, self._place.order, self._place.connection_to

    def watch(self, phase, host, seconds):
        if phase is self._phase:
            self._phase = None
            self._act(next(at for at in self._spool.store.locations() if at.state is State.CLAIMED))


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.MAIL, Phase.SEAL])
def test_a_claim_that_is_taken_away_before_the_final_dot_is_not_sent(make_spool, sink, station, jobs_of, phase):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    place = Operator(station, spool, phase, spool.store.delete)
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.RETURNED]
    assert (sink.mails, places(spool)) == ([], [])


def test_a_sibling_that_is_taken_away_costs_the_others_only_this_try(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example", "ann@x.example", "sue@x.example")
    place = Operator(station, spool, Phase.SEAL, spool.store.delete)
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.RETURNED] * 3
    assert (sink.mails, places(spool)) == ([], [("queued", 0)] * 2)
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED] * 2
    assert len(sink.recipients) == 2


def test_from_the_final_dot_on_a_claim_says_that_it_is_too_late(make_spool, sinks, station, jobs_of):
    sink = sinks(hold=True)
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    worker = Thread(target=SpoolWork(spool).perform, args=(jobs_of(spool), station()))
    worker.start()
    eventually(lambda: sink.waiting)
    assert [at.sealed for at in spool.store.locations()] == [True]
    sink.release()
    worker.join()
    assert places(spool) == []


def test_each_final_dot_of_one_look_is_decided_anew(two_hosts, station, jobs_of):
    spool, _, second = two_hosts({}, {})
    send(spool, "full@x.example")

    class Second(Operator):
        def watch(self, phase, host, seconds):
            if "127.0.0.2" in host:
                super().watch(phase, host, seconds)

    place = Second(station, spool, Phase.SEAL, spool.store.delete)
    SpoolWork(spool).perform(jobs_of(spool), place)
    assert (second.mails, places(spool)) == ([], [])


def test_a_shutdown_at_the_second_host_gives_back_nobody_whom_the_first_has_taken(two_hosts, station, jobs_of):
    spool, first, _ = two_hosts({}, {})
    send(spool, "joe@x.example", "later@x.example")
    SpoolWork(spool).perform(jobs_of(spool), station((Phase.CONNECT, 2, ShutdownRequested())))
    assert first.recipients == ["joe@x.example"]
    assert places(spool) == [("queued", 1)]


@pytest.mark.parametrize("late", [ShutdownRequested, DeadlineExceeded])
def test_a_signal_as_the_delivery_ends_takes_nothing_back(make_spool, sink, jobs_of, station, late):
    class Late(station):
        @contextmanager
        def deadline(self, _seconds, _about=""):
            yield
            raise late

    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), Late()) == [Result.DELIVERED]
    assert (sink.recipients, places(spool)) == (["joe@x.example"], [])


def test_a_deadline_that_comes_before_any_host_defers(make_spool, sink, jobs_of, station):
    spool, place = make_spool(sink=sink), station()
    send(spool, "joe@x.example")

    class Late(type(place)):
        def deadline(self, _seconds, _about=""):
            raise DeadlineExceeded

    assert SpoolWork(spool).perform(jobs_of(spool), Late()) == [Result.SETTLED]
    assert places(spool) == [("queued", 1)]


def test_an_error_of_our_own_defers_and_stands_in_the_history(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    SpoolWork(spool).perform(jobs_of(spool), station((Phase.MAIL, 1, ValueError("a bug"))))
    (node,) = spool.store.locations()
    assert (node.state, node.tier) == (State.QUEUED, 1)
    (attempt,) = spool.node_at(node).history()
    assert (attempt.status, attempt.text) == ("4.3.0", "internal error: ValueError: a bug")


def test_a_torn_message_file_is_quarantined_with_the_reason_and_never_sent(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    (node,) = spool.store.locations()
    path = Path(spool.store.path(node))
    path.write_bytes(path.read_bytes()[:-3])
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.GONE]
    (aside,) = spool.store.locations()
    assert aside.state is State.QUARANTINED
    assert "shorter than its envelope says" in spool.store.reason(aside)
    assert sink.accepted == 0


def test_a_name_that_is_no_node_is_quarantined_and_the_others_go_on(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    Path(spool.dequeue_dir, "0", "core").write_bytes(b"")
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED]
    assert places(spool) == [("quarantined", 0)]


class Failing(FileStore):
    """Raises SpoolError, or what `error` says, where told."""

    at = ""
    error: Exception = SpoolError("the disk is full")

    def record(self, node_id, attempts):
        if self.at == "record":
            raise self.error
        super().record(node_id, attempts)

    def delete(self, location):
        if self.at == "delete":
            raise self.error
        super().delete(location)

    def accept(self, envelope, chunks, entered):
        if self.at == "accept":
            raise self.error
        return super().accept(envelope, chunks, entered)


@pytest.fixture
def failing(make_spool, sink):
    """failing("record", …): a spool whose disk fails from now on in that step."""
    spool = make_spool(sink=sink)
    spool._store = Failing(spool.dequeue_dir, spool.store.owner)

    def fail(at):
        spool._store.at = at

    return spool, fail


def test_a_local_fault_when_settling_gives_back_only_who_was_not_delivered(failing, sink, station, jobs_of):
    spool, fail = failing
    send(spool, "later@x.example", "joe@x.example")
    jobs = jobs_of(spool)
    fail("record")
    assert SpoolWork(spool).perform(jobs, station()) == [Result.FAULT, Result.DELIVERED]
    fail("")
    assert sink.recipients == ["joe@x.example"]
    (left,) = spool.store.locations()
    assert spool.node_at(left).to == "later@x.example"
    assert left.state is State.QUEUED


def test_what_was_delivered_and_cannot_be_removed_stays_claimed(failing, sink, station, jobs_of):
    spool, fail = failing
    send(spool, "joe@x.example")
    fail("delete")
    SpoolWork(spool).perform(jobs_of(spool), station())
    assert sink.recipients == ["joe@x.example"]
    assert places(spool) == [("claimed", 0)]


def test_what_cannot_be_removed_is_not_given_back_for_the_fault_of_another(failing, sink, station, jobs_of):
    spool, fail = failing
    send(spool, "joe@x.example", "never@x.example")  # the bounce is accepted, the removals fail
    jobs = jobs_of(spool)
    fail("delete")
    SpoolWork(spool).perform(jobs, station())
    states = {spool.node_at(at).to: at.state for at in spool.store.locations()}
    assert states["joe@x.example"] is State.CLAIMED


def test_a_bounce_that_cannot_be_accepted_keeps_its_node(failing, sink, station, jobs_of):
    spool, fail = failing
    send(spool, "never@x.example")
    jobs = jobs_of(spool)
    fail("accept")
    assert SpoolWork(spool).perform(jobs, station()) == [Result.FAULT]
    assert places(spool) == [("queued", 0)]


def test_after_a_local_fault_the_rest_of_the_batch_is_returned(failing, sink, station, jobs_of):
    spool, fail = failing
    for _ in range(3):
        send(spool, "never@x.example")
    jobs = jobs_of(spool)
    fail("accept")
    assert SpoolWork(spool).perform(jobs, station()) == [Result.FAULT, Result.RETURNED, Result.RETURNED]


class Miscounting(Spool):
    def log_usage(self, size, purpose):
        if purpose == "Send":
            raise RuntimeError("no figures today")


def test_a_log_usage_that_raises_costs_no_second_copy(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink, cls=Miscounting)
    send(spool, "joe@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED]
    assert places(spool) == []


def test_all_processes_of_one_owner_write_one_usage_log(make_spool):
    spool, owner = make_spool(), this_owner()._replace(pid=4711)
    Path(spool.usage_log).mkdir()
    spool.become(owner)
    send(spool, "joe@x.example")
    assert [file.name for file in Path(spool.usage_log).iterdir()] == [f"{owner.host}.4711"]


def test_a_folder_that_is_made_for_the_usage_log_is_seen_within_a_second(make_spool, sink, station, jobs_of, clock):
    spool = make_spool(sink=sink, clock=clock)
    for _ in range(2):
        send(spool, "joe@x.example")
        SpoolWork(spool).perform(jobs_of(spool), station())
        Path(spool.usage_log).mkdir(exist_ok=True)
        clock.sleep(1.0)
    (file,) = Path(spool.usage_log).iterdir()
    assert [line.split()[2] for line in file.read_text().splitlines()] == ["Spool", "Send"]


def test_the_usage_log_counts_what_was_sent_with_its_size(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    Path(spool.usage_log).mkdir()
    send(spool, "joe@x.example")
    SpoolWork(spool).perform(jobs_of(spool), station())
    (file,) = Path(spool.usage_log).iterdir()
    assert file.name == f"{this_owner().host}.{os.getpid()}"
    spooled, sent = (line.split()[1:] for line in file.read_text().splitlines())
    assert (spooled[1], sent[1]) == ("Spool", "Send")
    assert spooled[0] == sent[0] == str(len(sink.mails[0].content))


def test_a_caller_s_own_id_is_delivered_once_like_any(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    queue_id = send(spool, "joe@x.example", id="order-17")
    assert queue_id.endswith("order17")
    assert SpoolWork(spool).perform(jobs_of(spool), station()) == [Result.DELIVERED]
    assert places(spool) == []


class Numbering(Spool):
    def new_message_id(self, given=""):
        return "No1"


def test_an_overridden_id_is_delivered_deferred_and_looked_at_like_any(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink, cls=Numbering)
    assert send(spool, "later@x.example").endswith("No1")
    SpoolWork(spool).perform(jobs_of(spool), station())
    assert jobs_of(spool) == []  # it waits in tier 1
    assert places(spool) == [("queued", 1)]


# --- after a worker's end


def test_the_first_time_a_claim_is_recovered_it_is_due_again_the_second_time_it_falls_back(make_spool, sink, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    for expected in [("queued", 0)], [("queued", 1)]:
        node = spool.list_spool_handles()[0].open_spool().next_node()
        node.lock_node()
        spool.door.recover(node.location, "signal 9")
        assert places(spool) == expected
    (left,) = spool.store.locations()
    assert [attempt.text for attempt in spool.node_at(left).history()] == [
        "the worker that tried it ended: signal 9"
    ] * 2


def test_recovering_what_is_gone_repairs_nothing(make_spool, sink):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    node = spool.list_spool_handles()[0].open_spool().next_node()
    node.lock_node()
    location = node.location
    node.delete_node()
    with pytest.raises(ClaimLost):
        spool.door.recover(location, "signal 9")
    assert places(spool) == []


# --- without the spool


def test_interactive_raises_what_failed_and_spools_nothing(make_spool, sink):
    spool = make_spool(sink=sink)
    with pytest.raises(PermanentError) as caught:
        send(spool, "joe@x.example", "never@x.example", "later@x.example", delivery="Interactive")
    assert sink.recipients == ["joe@x.example"]
    assert "<never@x.example>: 550" in caught.value.text
    assert "<later@x.example>: 450" in caught.value.text
    assert places(spool) == []


def test_background_spools_only_those_who_failed_for_now(make_spool, sink):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example", "later@x.example", "later+2@z.example", delivery="Background")
    assert sink.recipients == ["joe@x.example"]
    assert sorted(spool.node_at(at).to for at in spool.store.locations()) == ["later+2@z.example", "later@x.example"]


def test_background_still_raises_what_failed_for_good(make_spool, sink):
    spool = make_spool(sink=sink)
    with pytest.raises(PermanentError):
        send(spool, "later@x.example", "never@x.example", delivery="Background")
    assert places(spool) == [("queued", 0)]


def test_interactive_waits_no_longer_than_its_timeout(make_spool, sinks):
    sink = sinks(greeting="hang")
    with pytest.raises(TransientError, match="timed out"):
        send(make_spool(sink=sink), "joe@x.example", delivery="Interactive", timeout=0.3)
    assert sink.accepted == 1


def test_how_a_destination_refuses_is_told_for_its_other_jobs(make_spool, sinks, station, jobs_of, clock):
    sink, place = sinks(greeting="421 4.3.2 busy"), station()
    spool = make_spool(sink=sink, clock=clock)
    send(spool, "joe@x.example")
    assert SpoolWork(spool).perform(jobs_of(spool), place) == [Result.REFUSED]
    (text,) = place.refusals
    host = f"127.0.0.1[127.0.0.1]:{sink.port}"
    assert text == f"since 2027-01-15 08:00 UTC: {host}: 421 4.3.2 busy"


def test_a_job_of_a_destination_that_refuses_falls_back_untried_with_the_reason(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example", "jim@x.example")
    jobs = [job._replace(refusal="since noon: busy") for job in jobs_of(spool)]
    assert SpoolWork(spool).perform(jobs, station()) == [Result.SETTLED] * 2
    assert sink.accepted == 0
    assert places(spool) == [("queued", 1)] * 2
    for at in spool.store.locations():
        (attempt,) = spool.node_at(at).history()
        assert attempt.text == "not tried, the destination refuses sessions since noon: busy"


def test_nobody_is_given_up_untried_before_max_age(make_spool, sink, station, jobs_of, clock):
    spool = make_spool(sink=sink, clock=clock, dequeue_periods=[0], dequeue_priority=[1], max_age=3600.0)
    send(spool, "joe@x.example")
    jobs = [job._replace(refusal="since noon: busy") for job in jobs_of(spool)]
    assert SpoolWork(spool).perform(jobs, station()) == [Result.SETTLED]
    assert [spool.node_at(at).to for at in spool.store.locations()] == ["joe@x.example"]
    clock.sleep(3600)
    jobs = [job._replace(refusal="since noon: busy") for job in jobs_of(spool)]
    SpoolWork(spool).perform(jobs, station())
    assert [spool.node_at(at).to for at in spool.store.locations()] == ["me@y.example"]  # the bounce


class FaultyStore(FileStore):
    """Claims `claims` nodes, then has a fault; `stuck`: nothing can be given back."""

    claims, stuck = 99, False

    def claim(self, location, attempt):
        if not self.claims:
            raise SpoolError("no more claims")
        self.claims -= 1
        return super().claim(location, attempt)

    def move(self, source, target):
        if self.stuck and source.state is State.CLAIMED:
            raise SpoolError("read-only file system")
        return super().move(source, target)


@pytest.fixture
def faulty(make_spool, sink):
    spool = make_spool(sink=sink)
    spool._store = FaultyStore(spool.dequeue_dir, spool.store.owner)
    return spool


def test_a_fault_at_one_claim_gives_back_those_made_before_it(faulty, station, jobs_of):
    send(faulty, "a@x.example", "b@x.example", "c@x.example")
    faulty.store.claims = 2
    assert SpoolWork(faulty).perform(jobs_of(faulty), station()) == [Result.FAULT] * 3
    assert places(faulty) == [("queued", 0)] * 3


def test_a_claim_that_cannot_be_given_back_ends_the_process_that_holds_it(faulty, station, jobs_of):
    send(faulty, "joe@x.example")
    faulty.store.stuck = True
    with pytest.raises(SpoolError, match="read-only"):
        SpoolWork(faulty).perform(jobs_of(faulty), station((Phase.MAIL, 1, ShutdownRequested())))


def test_a_message_that_no_host_can_be_sent_is_quarantined(make_spool, sink, station, jobs_of):
    spool = make_spool(sink=sink)
    send(spool, "joe@x.example")
    results = SpoolWork(spool).perform(jobs_of(spool), station((Phase.MAIL, 1, Unreadable("it ends early"))))
    assert results == [Result.GONE]
    assert places(spool) == [("quarantined", 0)]
