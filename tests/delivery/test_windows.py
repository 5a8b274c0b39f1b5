# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Several messages under way on one session: what is said behind what, and that each is settled by its own reply."""

from threading import Thread

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.errors import ShutdownRequested, SpoolError
from mailspool.model.envelope import Recipient
from mailspool.model.phase import Phase
from mailspool.smtp.session import WIDEST
from mailspool.store.base import State
from mailspool.supervisor.job import Order, Result
from tests.running import eventually
from tests.sink import CHUNKING

MESSAGE = "Subject: hello\n\n.a line\nanother\n"


def fill(spool, *boxes, text=MESSAGE):
    for box in boxes:
        spool.send_mail(to=f"{box}@x.example", from_="me@y.example", message=text)


def tiers(spool):
    return sorted((at.state, at.tier) for at in spool.store.locations())


def work_off(spool, jobs_of, place):
    return SpoolWork(spool).perform(jobs_of(spool), place)


@pytest.fixture(params=["DATA", "BDAT"])
def peer(request, sinks):
    return sinks(extensions=CHUNKING) if request.param == "BDAT" else sinks()


def test_each_message_of_a_batch_arrives_once_and_whole(peer, make_spool, station, jobs_of):
    spool = make_spool(sink=peer)
    fill(spool, *(f"u{n}" for n in range(30)))
    assert work_off(spool, jobs_of, station()) == [Result.DELIVERED] * 30
    assert sorted(peer.recipients) == sorted(f"u{n}@x.example" for n in range(30))
    assert {mail.content.partition(b"\r\n\r\n")[2] for mail in peer.mails} == {b".a line\r\nanother\r\n"}
    assert (peer.accepted, tiers(spool)) == (1, [])


def test_each_message_is_settled_by_its_own_reply(peer, make_spool, station, jobs_of):
    spool = make_spool(sink=peer, max_hosts=1)
    boxes = ["ok1", "ok2", "ok3", "ok4", "ok5", "never+6", "ok7", "full+8", "ok9", "spam+10", "later+11", "ok12"]
    fill(spool, *boxes)  # in an order that differs each time: ids are random within a second
    results = work_off(spool, jobs_of, station())
    taken = [f"{box}@x.example" for box in boxes if box.startswith("ok")]
    assert sorted(peer.recipients) == sorted(taken)
    assert results.count(Result.DELIVERED) == len(taken)
    bounces = [at for at in spool.store.locations() if spool.store.open(at).envelope.sender == ""]
    assert (len(bounces), len(tiers(spool))) == (2, 4)


@pytest.mark.parametrize("lines", [1, 20_000])
def test_each_sender_of_one_message_has_a_transaction_and_each_transaction_the_whole_message(
    peer, make_spool, station, jobs_of, lines
):
    spool, text = make_spool(sink=peer), MESSAGE + "a line\n" * lines
    senders = {"a": "joe@z.example", "b": "", "c": "ann@z.example", "d": "joe@z.example"}
    to = tuple(Recipient(f"{box}@x.example", sender=sender) for box, sender in senders.items())
    spool.send_mail(to=to, from_="me@y.example", message=text)
    fill(spool, "e", text=text)
    assert work_off(spool, jobs_of, station()) == [Result.DELIVERED] * 5
    assert sorted((mail.sender, mail.recipients) for mail in peer.mails) == [
        ("ann@z.example", ("c@x.example",)),
        ("joe@z.example", ("a@x.example", "d@x.example")),
        ("me@y.example", ("b@x.example",)),
        ("me@y.example", ("e@x.example",)),
    ]
    whole = text.replace("\n", "\r\n").encode().partition(b"\r\n\r\n")[2]
    assert [mail.content.partition(b"\r\n\r\n")[2] == whole for mail in peer.mails] == [True] * 4


class Place:
    """A station that does something when a phase begins for the nth time."""

    def __init__(self, station, phase, nth, act):
        self._place, self._phase, self._left, self._act = station(), phase, nth, act
        self.serial, self.finishing, self.deadline = 7, False, self._place.deadline
        self.order, self.connection_to = self._place.order, self._place.connection_to
        self.alarm, self.refused, self.lost = self._place.alarm, self._place.refused, self._place.lost

    def watch(self, phase, host, seconds):
        if phase is self._phase:
            self._left -= 1
            if self._left == 0:
                self._act()


def claimed(spool):
    """Those that are not sealed, the ones to be begun last in front."""
    found = [at for at in spool.store.locations() if at.state is State.CLAIMED and not at.sealed]
    return sorted(found, key=lambda at: at.name, reverse=True)


@pytest.mark.parametrize("nth", [2, 5, 9])
def test_who_is_taken_away_before_the_final_dot_is_not_sent_and_costs_the_others_nothing(
    peer, make_spool, station, jobs_of, nth
):
    spool = make_spool(sink=peer)
    fill(spool, *(f"u{n}" for n in range(12)))
    gone = []

    def take():
        gone.extend(claimed(spool)[:1])
        spool.store.delete(gone[0])

    results = work_off(spool, jobs_of, Place(station, Phase.SEAL, nth, take))
    assert (len(gone), results.count(Result.RETURNED)) == (1, 1)
    assert sorted(results)[:11] == [Result.DELIVERED] * 11
    assert len(peer.mails) == len(set(peer.recipients)) == 11


@pytest.mark.parametrize("nth", [1, 4, 7])
def test_a_local_fault_before_a_final_dot_stops_the_batch_and_loses_and_doubles_nothing(
    peer, make_spool, station, jobs_of, nth
):
    spool = make_spool(sink=peer)
    fill(spool, *(f"u{n}" for n in range(12)))

    def fail():
        raise SpoolError("disk")

    results = work_off(spool, jobs_of, Place(station, Phase.SEAL, nth, fail))
    assert set(results) <= {Result.DELIVERED, Result.RETURNED, Result.FAULT}
    assert work_off(spool, jobs_of, station()).count(Result.DELIVERED) == 12 - results.count(Result.DELIVERED)
    assert sorted(peer.recipients) == sorted(f"u{n}@x.example" for n in range(12))


@pytest.mark.parametrize("nth", [1, 3, 6])
def test_a_shutdown_gives_back_what_is_not_past_its_final_dot_and_doubles_nothing(
    peer, make_spool, station, jobs_of, nth
):
    spool = make_spool(sink=peer)
    fill(spool, *(f"u{n}" for n in range(12)))

    def interrupt():
        raise ShutdownRequested

    work_off(spool, jobs_of, Place(station, Phase.MAIL, nth, interrupt))
    work_off(spool, jobs_of, station())
    assert sorted(peer.recipients) == sorted(f"u{n}@x.example" for n in range(12))


def test_who_finishes_begins_nothing_new_and_settles_what_is_past_its_final_dot(sinks, make_spool, station, jobs_of):
    sink = sinks(extensions=CHUNKING)
    spool, place = make_spool(sink=sink), Place(station, Phase.SEAL, 8, sink.hold)
    fill(spool, *(f"u{n}" for n in range(34)))
    results = []
    worker = Thread(target=lambda: results.extend(work_off(spool, jobs_of, place)))
    worker.start()
    eventually(lambda: sink.waiting)
    place.finishing = True
    sink.release()
    worker.join()
    assert set(results) <= {Result.DELIVERED, Result.RETURNED}
    assert results.count(Result.DELIVERED) == len(sink.mails)
    assert {at.state for at in spool.store.locations()} <= {State.QUEUED}
    assert len(tiers(spool)) == 34 - len(sink.mails)


def test_a_connection_that_is_lost_costs_a_second_copy_of_no_more_than_the_window(sinks, make_spool, station, jobs_of):
    sink = sinks(extensions=CHUNKING)
    spool = make_spool(sink=sink)
    fill(spool, *(f"u{n}" for n in range(20)), "lost")
    work_off(spool, jobs_of, station())
    queued = [at for at in spool.store.locations() if at.tier == 0]
    doubtful = [at for at in spool.store.locations() if at.tier == 1]
    assert 1 <= len(doubtful) <= WIDEST
    settled = 21 - len(queued) - len(doubtful)  # an answer may be lost with the connection that it was on its way on
    assert settled < len(sink.mails) <= settled + len(doubtful)
    while queued:  # all that were not past their final dots wait for the next look, as if nothing had happened
        work_off(spool, lambda spool: [job for job in jobs_of(spool) if job.key.startswith("0/")], station())
        queued = [at for at in spool.store.locations() if at.tier == 0]
    assert len(set(sink.recipients)) + len(doubtful) - 1 >= 21
    assert len(sink.recipients) == len(set(sink.recipients))


def test_a_host_that_has_lost_a_connection_is_sent_one_message_at_a_time(sinks, make_spool, station, jobs_of):
    sink = sinks(extensions=CHUNKING)
    spool = make_spool(sink=sink)
    work, place = SpoolWork(spool), station()
    fill(spool, "lost")
    work.perform(jobs_of(spool), place)
    fill(spool, *(f"u{n}" for n in range(5)))
    jobs = [job for job in jobs_of(spool) if job.key.startswith("0/")]
    assert work.perform(jobs, place) == [Result.DELIVERED] * 5
    assert b"RSET\r\n" not in sink.commands  # which is said behind what is not answered yet


@pytest.mark.parametrize(("careful", "resets"), [(False, True), (True, False)])
def test_what_another_worker_has_lost_with_a_host_makes_this_one_careful_on_the_session_that_it_has_too(
    sinks, make_spool, station, jobs_of, careful, resets
):
    sink = sinks(extensions=CHUNKING)
    spool = make_spool(sink=sink)
    work, place = SpoolWork(spool), station()
    fill(spool, *(f"u{n}" for n in range(10)))
    work.perform(jobs_of(spool), place)
    sink.commands.clear()
    fill(spool, *(f"v{n}" for n in range(10)))
    place.order = Order([], careful=careful)
    work.perform(jobs_of(spool), place)
    assert (len(sink.mails), sink.accepted) == (20, 1)
    assert (b"RSET\r\n" in sink.commands) == resets


def test_what_a_host_that_hangs_up_has_not_come_to_is_given_back_untried(sinks, make_spool, station, jobs_of):
    sink = sinks(extensions=CHUNKING)
    spool = make_spool(sink=sink)
    fill(spool, *(f"u{n}" for n in range(20)), "bye")
    results = work_off(spool, jobs_of, station())
    assert results.count(Result.REFUSED) == 1
    assert [at.tier for at in spool.store.locations()].count(1) == 1
    assert results.count(Result.DELIVERED) == len(sink.mails) == len(set(sink.recipients))
    assert results.count(Result.RETURNED) == 20 - len(sink.mails)
