# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The scout's channel and child, with a search that knows no mail; and when it is asked, under a simulated clock."""

import _thread
import os
import socket
import time

import pytest

from mailspool.model.target import Host
from mailspool.model.wait import Wait
from mailspool.supervisor.destination import FIRST_REST, HELD, SPOKEN, Destination
from mailspool.supervisor.dispatch import Dispatch
from mailspool.supervisor.inquiry import LEAST_PATIENCE, patience
from mailspool.supervisor.job import Job, Limits, Order, Report, Result
from mailspool.supervisor.scout import DEAF, MAX_ASKED, Answer, Question, Scout, Verdict
from tests.running import eventually

HOST = Host("mx", "192.0.2.1", 25)


# --- the child


@pytest.fixture
def start():
    """start(search): a scout with its child."""
    made = []

    def begin(search):
        scout = Scout(search)
        pid = os.fork()
        if not pid:
            try:
                scout.run()
            finally:
                os._exit(1)
        made.append((scout, pid))
        return scout

    yield begin
    for scout, pid in made:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        scout.close(unlink=True)


def blocking(search):
    """A search of something that blocks."""

    def steps(question):
        yield None
        return search(question)

    return steps


def ask(scout, *keys):
    for number, key in enumerate(keys):
        assert scout.ask(Question(number, Job(key, "a", "g"), 20.0))


def answers(scout, count):
    heard = []
    eventually(lambda: heard.extend(scout.answers()) or len(heard) >= count)
    return heard


def test_a_host_that_speaks_comes_with_its_connection(start):
    ours, theirs = socket.socketpair()
    scout = start(blocking(lambda question: (Answer(question.number, Verdict.SPEAKS, HOST), theirs.dup())))
    ask(scout, "0/a")
    ((answer, connection),) = answers(scout, 1)
    assert answer == Answer(0, Verdict.SPEAKS, HOST)
    connection.sendall(b"hello")
    assert ours.recv(5) == b"hello"
    connection.close()


def sleep_through(question):
    """What blocks at the silent ones, in threads."""
    yield None
    if question.job.key == "silent":
        time.sleep(60.0)
    return Answer(question.number, Verdict.UNKNOWN), None


def wait_for(question):
    """What waits for the silent ones, in one thread."""
    if question.job.key == "silent":
        yield Wait(60.0)
    return Answer(question.number, Verdict.UNKNOWN), None


@pytest.mark.parametrize("search", [sleep_through, wait_for])
def test_hundreds_wait_at_once_and_keep_nobody_waiting(start, search):
    scout = start(search)
    ask(scout, *["silent"] * (MAX_ASKED - 1), "quick")
    ((answer, _),) = answers(scout, 1)
    assert answer.number == MAX_ASKED - 1


def test_a_search_that_fails_leaves_it_to_a_worker_and_the_others_go_on(start):
    def search(question):
        if question.job.key == "bug":
            raise ValueError("an override's bug")
        found = b"x" * 100_000 * question.number
        return Answer(question.number, Verdict.SILENT, refusal="silence", found=found), None

    scout = start(blocking(search))
    ask(scout, "a", "too much to tell", "bug")
    said = sorted(answer for answer, _ in answers(scout, 3))
    assert [answer.verdict for answer in said] == [Verdict.SILENT, Verdict.UNKNOWN, Verdict.UNKNOWN]


def test_where_no_thread_is_to_be_had_a_worker_finds_out(start, monkeypatch):
    def no_thread(_function, _arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", no_thread)
    scout = start(blocking(lambda question: (Answer(question.number, Verdict.SILENT), None)))
    ask(scout, "a")
    assert answers(scout, 1) == [(Answer(0, Verdict.UNKNOWN), None)]


def test_who_answers_is_alive_however_many_questions_wait():
    scout = Scout(wait_for)
    ask(scout, "a", "b")
    assert scout.listens(100.0)
    scout._answer(Answer(0, Verdict.UNKNOWN), None)
    assert len(list(scout.answers())) == 1
    assert scout.listens(101.0 + DEAF)
    assert not scout.listens(102.0 + 2 * DEAF)
    scout.close(unlink=True)


def test_who_does_not_listen_is_not_waited_for():
    scout = Scout(blocking(lambda question: (Answer(question.number, Verdict.UNKNOWN), None)))
    for number in range(100_000):
        if not scout.ask(Question(number, Job("a", "a", "g"), 20.0)):
            break
    else:
        raise AssertionError("it takes for ever")
    assert scout.listens(100.0)
    assert scout.listens(100.0 + DEAF)
    assert not scout.listens(101.0 + DEAF)
    assert scout.listens(102.0 + DEAF)  # the next one has as much time
    scout.close(unlink=True)
    assert list(scout.answers()) == []


# --- who is asked for what


def limits(**changes):
    standard = Limits(workers=20, per_destination=10, cool_down=60.0, tick=20.0, worker_jobs=1000, shutdown=30.0)
    return standard._replace(**changes)


def jobs(destination, count, **more):
    return [Job(f"0/{destination}-{n}", destination, f"g{n}", **more) for n in range(count)]


@pytest.fixture
def one():
    """A dispatch whose scout runs."""
    dispatch = Dispatch(limits())
    dispatch.scouted = True
    return dispatch


@pytest.fixture
def connection():
    """One, and whether it is still open."""
    ours, theirs = socket.socketpair()
    yield theirs
    ours.close()
    theirs.close()


def say(dispatch, verdict, now=0.0, connection=None, **more):
    """The answer to all that is to be asked now."""
    asked = list(dispatch.questions(now))
    for question in asked:
        dispatch.answered(Answer(question.number, verdict, **more), connection, now)
    return [question.job.destination for question in asked]


def test_a_stranger_gets_no_worker_until_it_has_spoken(one, connection):
    one.offer(jobs("a", 3))
    assert one.next_batch(0.0) == []
    assert say(one, Verdict.SPEAKS, host=HOST, connection=connection) == ["a"]
    batch = one.next_batch(0.0)
    assert one.order(batch, 0.0) == (Order(batch, HOST), connection)
    assert one.order(one.next_batch(0.0), 0.0)[1] is None  # the second worker knows the host, and connects itself


def test_who_has_taken_something_lately_needs_no_scout(one):
    one.offer(jobs("a", 1))
    say(one, Verdict.SPEAKS, host=HOST)
    one.finished(one.next_batch(0.0), Report([Result.DELIVERED], {}), 0.0)
    one.offer(jobs("a", 1))
    assert list(one.questions(SPOKEN + 1)) == []
    assert one.order(one.next_batch(SPOKEN + 1), SPOKEN + 1)[0].host is None  # it is found as always


def test_without_a_scout_workers_find_out_and_so_they_do_what_it_was_asked_when_it_died(one):
    one.offer(jobs("a", 1))
    list(one.questions(0.0))
    assert one.next_batch(0.0) == []
    one.inquiries.unanswered(0.0)
    assert one.next_batch(0.0)
    one.scouted = False
    one.offer(jobs("b", 1))
    assert one.next_batch(0.0)
    assert list(one.questions(0.0)) == []


def test_an_answer_to_a_question_that_nobody_has_put_is_dropped_with_its_connection(one, connection):
    one.offer(jobs("a", 1))
    (question,) = one.questions(0.0)
    one.inquiries.forget()
    one.answered(Answer(question.number, Verdict.SPEAKS, HOST), connection, 0.0)
    assert connection.fileno() == -1
    assert len(list(one.questions(0.0))) == 1


def test_what_it_cannot_tell_a_worker_finds_out(one):
    one.offer(jobs("a", 1))
    say(one, Verdict.UNKNOWN)
    batch = one.next_batch(0.0)
    assert one.order(batch, 0.0) == (Order(batch), None)


def test_a_silent_destination_is_put_off_and_what_the_scout_has_tried_is_settled_by_what_it_met(one):
    one.offer(jobs("a", 5))
    say(one, Verdict.SILENT, refusal="since noon: silence", found=b"story")
    tried = one.next_batch(0.0)
    assert [job.key for job in tried] == ["0/a-0"]
    assert one.order(tried, 0.0)[0].found == b"story"
    one.finished(tried, Report([Result.SETTLED], {}), 0.0)
    others = one.next_batch(0.0)
    assert [job.key for job in others] == ["0/a-4", "0/a-3", "0/a-2"]
    assert {job.refusal for job in others} == {"since noon: silence"}
    assert one.order(others, 0.0)[0].found == b""
    one.finished(others, Report([Result.SETTLED] * 3, {}), 0.0)
    assert one.next_batch(0.0) == []
    assert one.cooling(0.0) == {"a": 60.0}
    assert say(one, Verdict.SPEAKS, now=60.0, host=HOST) == ["a"]  # about the probe
    assert [job.key for job in one.next_batch(60.0)] == ["0/a-1"]


def test_without_a_cool_down_what_the_scout_has_tried_is_settled_too_and_the_next_one_is_asked_about():
    one = Dispatch(limits(cool_down=0.0))
    one.scouted = True
    one.offer(jobs("a", 2))
    for number in range(2):
        assert say(one, Verdict.SILENT, now=float(number), refusal="silence", found=b"story") == ["a"]
        assert list(one.questions(float(number))) == []
        tried = one.next_batch(float(number))
        assert [job.key for job in tried] == [f"0/a-{number}"]
        assert one.order(tried, float(number))[0].found == b"story"
        one.finished(tried, Report([Result.SETTLED], {}), float(number))


def test_what_could_not_be_settled_by_what_the_scout_met_is_asked_about_again(one):
    one.offer(jobs("a", 1))
    say(one, Verdict.SILENT, refusal="silence", found=b"story")
    tried = one.next_batch(0.0)
    one.order(tried, 0.0)
    one.finished(tried, Report([Result.RETURNED], {}), 0.0)
    assert one.next_batch(59.0) == []
    assert say(one, Verdict.SPEAKS, now=60.0, host=HOST) == ["a"]


def test_a_connection_that_no_worker_comes_for_is_closed_and_the_host_keeps_its_turn(one, connection):
    one.offer(jobs("a", 1))
    say(one, Verdict.SPEAKS, host=HOST, connection=connection)
    one.inquiries.release_held(HELD - 1)
    assert one.next_change(HELD - 1) == 1.0
    one.inquiries.release_held(HELD)
    assert connection.fileno() == -1
    batch = one.next_batch(HELD)
    assert one.order(batch, HELD) == (Order(batch, HOST), None)


def test_while_enough_connections_wait_for_workers_nobody_else_is_asked_about(one):
    pairs = [socket.socketpair() for _ in range(MAX_ASKED)]
    for n, _ in enumerate(pairs):
        one.offer(jobs(f"d{n}", 1))
    for question, (_, theirs) in zip(list(one.questions(0.0)), pairs, strict=True):
        one.answered(Answer(question.number, Verdict.SPEAKS, HOST), theirs, 0.0)
    assert all(theirs.fileno() != -1 for _, theirs in pairs)
    one.offer(jobs("more", 1))
    assert list(one.questions(0.0)) == []
    assert one.order(one.next_batch(0.0), 0.0)[1]
    assert [question.job.destination for question in one.questions(0.0)] == ["more"]
    for pair in pairs:
        for each in pair:
            each.close()


def test_the_scout_is_told_when_an_operator_wants_all_of_it_tried(one):
    one.offer(jobs("a", 1))
    say(one, Verdict.SILENT, refusal="silence")
    one.end_cool_downs()
    assert [question.era for question in one.questions(0.0)] == [1]


def test_who_is_busy_is_asked_about_again_ever_later(one):
    one.offer(jobs("a", 1))
    say(one, Verdict.BUSY)
    assert say(one, Verdict.BUSY, now=FIRST_REST - 1) == []
    assert one.next_change(FIRST_REST - 1) == 1.0
    assert say(one, Verdict.BUSY, now=FIRST_REST) == ["a"]
    assert say(one, Verdict.BUSY, now=2 * FIRST_REST) == []
    assert say(one, Verdict.SPEAKS, now=3 * FIRST_REST, host=HOST) == ["a"]


def test_no_more_are_asked_about_than_the_scout_has_threads_and_patience_leaves_room_for_the_impatient(one):
    for n in range(MAX_ASKED):
        one.offer(jobs(f"old{n}", 1, patient=True))
    assert len(list(one.questions(0.0))) == MAX_ASKED // 2
    for n in range(MAX_ASKED):
        one.offer(jobs(f"new{n}", 1))
    assert {question.job.patient for question in one.questions(0.0)} == {False}
    assert list(one.questions(0.0)) == []


@pytest.mark.parametrize(("waiting", "seconds"), [(15, 40.0), (30, 20.0), (400, LEAST_PATIENCE), (0, float("inf"))])
def test_the_more_strangers_wait_the_less_time_has_each_but_never_too_little(waiting, seconds):
    assert patience(15, waiting) == seconds


def test_strangers_hurry_only_while_others_wait_for_their_workers(one):
    for n in range(100):
        one.offer(jobs(f"d{n}", 1))
    say(one, Verdict.SPEAKS, host=HOST)
    one.limits = limits(per_host=100)
    assert one.hurry(0.0) == float("inf")
    batches = [one.next_batch(0.0) for _ in range(10)]
    assert one.next_batch(0.0) == []  # all of them are at one address
    assert len(batches) == 10


def test_destinations_at_one_address_share_the_workers_of_one_host(one):
    for n in range(100):
        one.offer(jobs(f"d{n}", 1))
    say(one, Verdict.SPEAKS, host=HOST)
    taken = []
    while batch := one.next_batch(0.0):
        taken.append(batch)
    assert len(taken) == one.shares.address == 10
    one.offer(jobs("elsewhere", 1))
    say(one, Verdict.SPEAKS, host=HOST._replace(address="192.0.2.2"))
    assert one.next_batch(0.0)[0].destination == "elsewhere"
    one.finished(taken[0], Report([Result.DELIVERED], {}, address="192.0.2.1"), 0.0)
    assert one.next_batch(0.0)


def test_where_a_destination_leads_is_learned_from_the_workers_too():
    dispatch = Dispatch(limits(workers=4, per_host=1))
    for name in ("a", "b"):
        dispatch.offer(jobs(name, 1))
        dispatch.finished(dispatch.next_batch(0.0), Report([Result.DELIVERED], {}, address="192.0.2.1"), 0.0)
        dispatch.offer(jobs(name, 1))
    assert dispatch.next_batch(0.0)
    assert dispatch.next_batch(0.0) == []


def test_strangers_that_are_tried_with_patience_leave_room_for_first_attempts():
    dispatch = Dispatch(limits())
    for n in range(20):
        dispatch.offer(jobs(f"old{n}", 1, patient=True))
    taken = 0
    while dispatch.next_batch(0.0):
        taken += 1
    assert taken == 5
    dispatch.offer(jobs("new", 1))
    assert dispatch.next_batch(0.0)


def test_nobody_looks_at_strangers_whose_answer_is_waited_for(one, monkeypatch):
    for n in range(1000):
        one.offer(jobs(f"d{n}", 2))
    questions = list(one.questions(0.0))
    assert one.next_batch(0.0) == []
    one.answered(Answer(questions[7].number, Verdict.SPEAKS, HOST), None, 0.0)
    looked_at = []
    for each in ("may_have_more", "free_from", "spoken"):
        usual = getattr(Destination, each)
        monkeypatch.setattr(
            Destination, each, lambda self, *a, usual=usual, **k: (looked_at.append(self), usual(self, *a, **k))[1]
        )
    assert one.next_batch(0.0)[0].destination == "d7"
    assert one.next_change(0.0) == float("inf")
    assert not list(one.ready(0.0))
    assert set(looked_at) == {one._destinations["d7"]}


@pytest.fixture
def looked_at(monkeypatch):
    """Each destination that is looked at from now on."""
    found = []

    def begin():
        for each in ("may_have_more", "free_from", "spoken"):
            usual = getattr(Destination, each)
            monkeypatch.setattr(
                Destination, each, lambda self, *a, usual=usual, **k: (found.append(self), usual(self, *a, **k))[1]
            )
        return found

    return begin


def at(address):
    return Report([Result.DELIVERED], {}, address=address)


def asked(one, now=0.0):
    """All that a supervisor asks in one turn of its loop. The batch."""
    batch = one.next_batch(now)
    for question in (one.idle, one.hurry, one.in_hurry, one.next_change):
        question(now)
    return batch


def test_however_many_wait_for_a_place_at_one_address_nobody_looks_at_them_and_others_go(one, looked_at):
    for n in range(1000):
        one.offer(jobs(f"d{n}", 1))
    while say(one, Verdict.SPEAKS, host=HOST):
        pass
    taken = []
    while batch := asked(one):
        taken.append(batch)
    assert len(taken) == one.shares.address
    one.offer(jobs("elsewhere", 1))
    say(one, Verdict.SPEAKS, host=HOST._replace(address="192.0.2.2"))
    found = looked_at()
    assert asked(one)[0].destination == "elsewhere"
    assert len({*found}) == 1
    one.finished(taken.pop(), at(HOST.address), 0.0)
    assert asked(one)[0].destination not in {batch[0].destination for batch in taken}
    assert asked(one) == []
    assert len({*found}) < 5


def test_who_waits_for_a_place_keeps_its_turn_when_more_comes_for_it(one):
    for n in range(13):
        one.offer(jobs(f"d{n}", 1))
    say(one, Verdict.SPEAKS, host=HOST)
    taken = [asked(one) for _ in range(one.shares.address)]
    assert asked(one) == []
    one.offer([Job("0/d10-more", "d10", "more")])
    assert asked(one) == []
    one.finished(taken[0], at(HOST.address), 0.0)
    assert asked(one)[0].destination == "d10"


def test_however_many_strangers_wait_for_one_another_nobody_looks_at_them_and_each_has_its_turn(one, looked_at):
    names = {f"d{n}" for n in range(200)}
    for n, name in enumerate(sorted(names)):
        one.offer(jobs(name, 1))
        say(one, Verdict.SPEAKS, host=HOST._replace(address=f"192.0.2.{n}"))
    taken = []
    while batch := asked(one):
        taken.append(batch)
    assert len(taken) == one.shares.strangers
    assert one.hurry(0.0) == patience(15, 185)
    found = looked_at()
    one.finished(taken.pop(), Report([Result.SETTLED], {}), 0.0)
    taken.append(asked(one))
    assert asked(one) == []
    assert len({*found}) < 5
    done = {batch[0].destination for batch in taken}
    while taken:
        one.finished(taken.pop(0), Report([Result.SETTLED], {}), 0.0)
        if batch := asked(one):
            taken.append(batch)
            done.add(batch[0].destination)
    assert len(done) >= 199


def test_who_has_spoken_too_long_ago_is_asked_about_again(one):
    one.offer(jobs("a", 1))
    assert say(one, Verdict.SPEAKS, host=HOST) == ["a"]
    assert one.next_batch(SPOKEN) == []
    assert say(one, Verdict.SPEAKS, now=SPOKEN, host=HOST) == ["a"]
    assert one.next_batch(SPOKEN)


def test_what_was_asked_of_a_scout_that_was_replaced_is_asked_again(one):
    one.offer(jobs("a", 1))
    assert len(list(one.questions(0.0))) == 1
    assert list(one.questions(0.0)) == []
    one.inquiries.forget()
    assert len(list(one.questions(0.0))) == 1


def test_destinations_wait_in_no_scout_s_way_when_it_ends_and_in_the_next_one_s_when_it_comes(one):
    one.offer(jobs("a", 1))
    one.scouted = False
    assert list(one.ready(0.0)) == ["a"]
    one.scouted = True
    assert list(one.ready(0.0)) == []
    assert say(one, Verdict.SPEAKS, host=HOST) == ["a"]
