# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The administrator's limits, with a simulated clock and simulated workers."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.limit import Limit
from mailspool.model.rules import Rules
from mailspool.supervisor.dispatch import MAX_BATCH, Dispatch
from mailspool.supervisor.job import MAX_RULES, Job, Limits, Report, Result, Slower
from mailspool.supervisor.restraint import LONGEST_PATIENCE, Restraints
from mailspool.supervisor.scout import Answer, Verdict
from mailspool.supervisor.station import MAX_PACKET, MAX_REFUSAL

SUFFIX = "mx:*.mail.protection.example"


def dispatch(**rules):
    figures = Limits(workers=20, per_destination=10, cool_down=60.0, tick=20.0, worker_jobs=1000, shutdown=30.0)
    return Dispatch(figures._replace(rules=Rules({name: Limit(**limit) for name, limit in rules.items()})))


def jobs(destination, count, *, group="g{}", first=0):
    return [Job(f"0/{destination}-{n}", destination, group.format(n)) for n in range(first, first + count)]


def met(one, destination, *patterns, now=0.0):
    """A worker has come upon a host of that destination, and has given its batch back."""
    one.offer(jobs(destination, 1, first=10**6))
    batch = one.next_batch(now, destination, spare=True)
    one.finished(batch, Report([Result.RETURNED] * len(batch), {}, rules=patterns), now)


class Workers:
    """As the pool counts them: each has one connection for what its last batch was counted for."""

    def __init__(self, one):
        self.one, self.batches = one, []

    def take(self, now):
        held = Counter(key for batch in self.batches for key in (batch[0].destination, *batch[0].rules))
        self.one.restraints.held = held
        if batch := self.one.next_batch(now):
            self.batches.append(batch)
        return batch

    def done(self, now, result=Result.DELIVERED):
        batch = self.batches.pop(0)
        self.one.finished(batch, Report([result] * len(batch), {}), now)


def test_a_limit_of_a_domain_is_about_each_domain_by_itself():
    one = dispatch(**{"*.example.org": {"concurrency": 1}})
    workers = Workers(one)
    one.offer(jobs("a.example.org", 50) + jobs("b.example.org", 50))
    assert sorted(workers.take(0.0)[0].destination for _ in range(2)) == ["a.example.org", "b.example.org"]
    assert workers.take(0.0) == []
    workers.done(0.0)
    assert workers.take(0.0)[0].destination == "a.example.org"


def test_a_limit_of_hosts_is_about_all_domains_together_whose_mail_they_take():
    one = dispatch(**{SUFFIX: {"concurrency": 2}})
    for n in range(10):
        met(one, f"d{n}.example", SUFFIX)
    one.offer([job for n in range(10) for job in jobs(f"d{n}.example", 5)])
    workers = Workers(one)
    assert [bool(workers.take(0.0)) for _ in range(4)] == [True, True, False, False]
    assert workers.batches[0][0].rules == (SUFFIX,)
    workers.done(0.0)
    assert workers.take(0.0)


def test_what_the_scout_says_of_the_host_counts_before_any_worker_comes_there():
    one = dispatch(**{SUFFIX: {"messages_per_minute": 2}})
    one.scouted = True
    one.offer(jobs("a.example", 5))
    (question,) = one.questions(0.0)
    one.answered(Answer(question.number, Verdict.SPEAKS, rule=SUFFIX), None, 0.0)
    (job,) = one.next_batch(0.0)
    assert job.rules == (SUFFIX,)
    assert one.next_batch(0.0) == []


def test_until_a_worker_has_met_the_host_nothing_is_counted_for_it():
    one = dispatch(**{SUFFIX: {"concurrency": 1}})
    one.offer(jobs("a.example", 1))
    assert one.next_batch(0.0)[0].rules == ()


def test_a_batch_that_was_returned_is_given_again_with_what_it_counts_for_now():
    one = dispatch(**{SUFFIX: {"messages_per_minute": 30}})
    one.offer(jobs("a.example", 2))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.RETURNED] * len(batch), {}, rules=(SUFFIX,)), 0.0)
    (job,) = one.next_batch(0.0)
    assert (job.key, job.rules) == ("0/a.example-0", (SUFFIX,))


def test_the_messages_of_a_minute_are_spread_over_it():
    one = dispatch(**{"example.org": {"messages_per_minute": 30}})
    one.offer(jobs("example.org", 100))
    assert len(one.next_batch(0.0)) == 1
    assert one.next_batch(1.9) == []
    assert one.next_change(1.9) == pytest.approx(0.1)
    assert len(one.next_batch(2.0)) == 1


def test_what_was_not_counted_for_hosts_gives_them_nothing_back_when_it_comes_back():
    one = dispatch(**{SUFFIX: {"messages_per_minute": 2}})
    one.offer(jobs("a.example", 20))
    batches = [one.next_batch(0.0) for _ in range(2)]  # before anybody knows where its mail goes
    met_now = Report([Result.RETURNED] * len(batches[0]), {}, rules=(SUFFIX,))
    one.finished(batches[0], met_now, 0.0)
    assert len(one.next_batch(0.0)) == 1
    one.finished(batches[1], met_now, 0.0)
    assert one.next_batch(0.0) == []


def test_a_message_to_several_recipients_is_one_message():
    one = dispatch(**{"example.org": {"messages_per_minute": 30}})
    one.offer(jobs("example.org", 5, group="same") + jobs("example.org", 5, first=5))
    assert [job.group for job in one.next_batch(0.0)] == ["same"] * 5


def test_of_a_batch_only_as_much_goes_as_the_minute_has_left_and_the_rest_waits_in_its_order():
    one = dispatch(**{"example.org": {"messages_per_minute": 30}})
    one.offer(jobs("example.org", 100))
    assert [job.key for job in one.next_batch(0.0)] == ["0/example.org-0"]
    assert [job.key for job in one.next_batch(600.0)] == ["0/example.org-1"]


def test_what_was_not_tried_is_not_used_up():
    one = dispatch(**{"example.org": {"messages_per_minute": 30}})
    one.offer(jobs("example.org", 5))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.RETURNED], {}), 0.0)
    assert one.next_batch(0.0) == batch
    one.finished(batch, Report([Result.GONE], {}), 0.0)  # another supervisor had it first
    assert [job.key for job in one.next_batch(0.0)] == ["0/example.org-1"]


def test_several_supervisors_take_equal_parts_and_each_one_connection_at_least():
    one = dispatch(**{"example.org": {"concurrency": 5, "messages_per_minute": 60}})
    one.restraints.owners = 2
    one.offer(jobs("example.org", 100))
    one.restraints.held = {"example.org": 1}
    assert one.next_batch(0.0)
    assert one.next_change(0.0) == pytest.approx(2.0)
    one.restraints.held = {"example.org": 2}
    assert one.next_batch(10.0) == []
    one.restraints.owners, one.restraints.held = 20, {}
    assert one.next_batch(30.0)


def test_others_do_not_wait_for_a_destination_that_is_held_back():
    one = dispatch(**{"slow.example": {"messages_per_minute": 1}})
    one.offer(jobs("slow.example", 100) + jobs("good.example", 100))
    taken = [batch[0].destination for batch in iter(lambda: one.next_batch(0.0), [])]
    assert taken.count("slow.example") == 1
    assert taken.count("good.example") > 1


def test_it_is_told_which_rule_holds_a_destination_back():
    one = Restraints(Rules({"a.example": Limit(messages_per_minute=30), SUFFIX: Limit(concurrency=2)}))
    assert one.why("a.example", 0.0) is None
    one.begin(jobs("a.example", 1), 0.0)
    held = one.why("a.example", 0.0)
    assert (held.rule, held.seconds) == ("messages_per_minute", 2.0)
    assert held.text == "all messages that limits.a.example grants for a minute are used up (30)"
    one.ended(jobs("b.example", 1), [Result.RETURNED], (SUFFIX,), 0.0)
    one.held = {SUFFIX: 2}
    held = one.why("b.example", 0.0)
    assert held[:2] == ("concurrency", f"all connections that limits.{SUFFIX} grants are in use (2)")
    one.owners = 2
    assert one.why("b.example", 0.0).text.endswith(" are in use (1, our part among 2 owners)")


def test_what_is_used_up_stays_used_up_though_the_destination_is_forgotten():
    one = dispatch(**{"example.org": {"messages_per_minute": 1}})
    one.offer(jobs("example.org", 1))
    one.finished(one.next_batch(0.0), Report([Result.SETTLED], {}), 0.0)
    one.forget_idle(1.0)
    assert len(one._destinations) == 0
    one.offer(jobs("example.org", 1))
    assert one.next_batch(30.0) == []
    assert one.next_batch(60.0)


def test_nothing_is_remembered_of_destinations_that_are_as_good_as_new():
    one = dispatch(**{"*": {"messages_per_minute": 60}, SUFFIX: {"messages_per_minute": 60}})
    for n in range(100):
        met(one, f"d{n}.example", SUFFIX, now=float(n))
    one.forget_waiting()
    one.forget_idle(10_000.0)
    assert (one.restraints._met, dict(one.restraints._buckets)) == ({}, {})


def test_a_rule_that_is_no_more_after_a_reload_holds_nobody_back():
    one = dispatch(**{SUFFIX: {"concurrency": 1}})
    met(one, "a.example", SUFFIX)
    one.restraints.rules = Rules({})
    one.restraints.held = {SUFFIX: 1}
    assert one.next_batch(0.0)


def test_a_batch_with_all_its_rules_fits_into_a_packet():
    patterns = tuple(f"mx:*.{'x' * 250}{n}" for n in range(MAX_RULES))
    job = Job(f"6/{'n' * 255}", "d" * 100, "g" * 64, "r" * MAX_REFUSAL)
    batch = [job._replace(rules=patterns), *[job] * (2 * MAX_BATCH - 1)]
    assert len(msgspec.msgpack.encode(batch)) < MAX_PACKET


@given(
    st.integers(1, 6),
    st.integers(1, 200),
    st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=80),
)
def test_whatever_workers_do_no_limit_is_passed(concurrency, per_minute, steps):
    one = dispatch(**{SUFFIX: {"concurrency": concurrency, "messages_per_minute": per_minute}})
    for n in range(4):
        met(one, f"d{n}.example", SUFFIX)
        one.offer(jobs(f"d{n}.example", 300))
    workers, now, gone = Workers(one), 0.0, []
    for take, pause in steps:
        now += pause
        if take:
            gone.append((now, len(workers.take(now))))
        elif workers.batches:
            workers.done(now)
        assert len(workers.batches) <= concurrency
    assert all(sum(n for at, n in gone if start <= at < start + 59.99) <= per_minute for start, _ in gone)


def test_each_destination_that_waits_is_told_with_the_rule_that_holds_it_back():
    one = dispatch(**{"slow.example": {"messages_per_minute": 30}})
    one.offer(jobs("slow.example", 3))
    one.next_batch(0.0)
    one.offer(jobs("cool.example", 3))
    one.finished(one.next_batch(0.0), Report([Result.REFUSED], {}, refusal="since noon: 421 no"), 0.0)
    one.offer(jobs("busy.example", 50))
    while one.next_batch(0.0):
        pass
    one.offer(jobs("free.example", 3))
    told = dict(one.held_back(1.0))
    assert {name: held.rule for name, held in told.items()} == {
        "slow.example": "messages_per_minute",
        "cool.example": "cool_down",
        "busy.example": "concurrency",
    }
    assert list(one.held_back(1.0, "busy.example")) == [("busy.example", told["busy.example"])]
    assert list(one.held_back(1.0, "free.example")) == list(one.held_back(1.0, "unknown.example")) == []
    assert told["cool.example"] == ("cool_down", "refuses sessions since noon: 421 no", 59.0)


def test_strangers_wait_for_one_another():
    one = dispatch()
    for n in range(20):
        one.offer(jobs(f"d{n}.example", 1))
    while one.next_batch(0.0):
        pass
    assert {held.rule for _, held in one.held_back(0.0)} == {"strangers"}


@pytest.fixture
def looked_at(monkeypatch):
    """Each destination of which the room is asked for."""
    found, usual = [], Restraints.room
    monkeypatch.setattr(Restraints, "room", lambda self, name, now: (found.append(name), usual(self, name, now))[1])
    return found


def settle_all(one, count, now=0.0):
    """All that a supervisor asks in some turns of its loop."""
    for _ in range(count):
        assert one.next_batch(now) == []
        assert one.idle(now)
        one.next_change(now)


def test_however_many_domains_wait_for_one_kind_of_hosts_nobody_looks_at_them_until_there_is_room(looked_at):
    one = dispatch(**{SUFFIX: {"concurrency": 2}})
    for n in range(500):
        met(one, f"d{n}.example", SUFFIX)
    workers = Workers(one)
    assert [bool(workers.take(0.0)) for _ in range(3)] == [True, True, False]
    looked_at.clear()
    settle_all(one, 10)
    assert looked_at == []
    one.offer(jobs("free.example", 1))
    assert workers.take(0.0)[0].destination == "free.example"
    workers.batches.pop()
    workers.done(0.0)
    assert workers.take(0.0)[0].destination == "d2.example"
    assert len({*looked_at}) < 10


def test_however_many_domains_have_used_up_their_minute_nobody_looks_at_them_until_it_is_over(looked_at):
    one = dispatch(**{"*": {"messages_per_minute": 30}})
    for n in range(500):
        one.offer(jobs(f"d{n}.example", 2))
        batch = one.next_batch(0.0)
        one.finished(batch, Report([Result.DELIVERED], {}), 0.0)
    assert one.next_batch(0.0) == []
    looked_at.clear()
    settle_all(one, 10)
    assert looked_at == []
    assert one.next_change(0.5) == pytest.approx(1.5)
    assert one.next_batch(2.0)


def test_strangers_that_are_tried_with_patience_wait_for_one_another_and_are_told_so():
    one = dispatch()
    for n in range(20):
        one.offer([job._replace(patient=True) for job in jobs(f"d{n}.example", 1)])
    while one.next_batch(0.0):
        pass
    assert {held.rule for _, held in one.held_back(0.0)} == {"strangers"}
    assert len(dict(one.held_back(0.0))) == 15


# --- a host's own words


def test_who_asks_for_patience_is_left_alone_for_so_long_and_its_jobs_wait():
    one = dispatch()
    one.offer(jobs("a.example", 50))
    batch = one.next_batch(0.0)
    results = [Result.REFUSED, *[Result.RETURNED] * (len(batch) - 1)]
    one.finished(batch, Report(results, {}, slower=Slower("450 too many, retry after 90 seconds", 90.0)), 0.0)
    assert one.next_batch(89.0) == []
    assert one.idle(89.0)  # nothing is put off
    assert one.next_change(89.0) == pytest.approx(1.0)
    assert one.restraints.why("a.example", 80.0)[::2] == ("patience", 10.0)
    assert one.next_batch(90.0)


def test_who_names_no_time_gets_fewer_workers_and_with_one_left_a_pause_that_grows():
    one = dispatch()
    one.offer(jobs("a.example", 500))
    slower = Slower("450 too many connections", 0.0)
    batches = [one.next_batch(0.0) for _ in range(2)]
    one.finished(batches[0], Report([Result.RETURNED] * len(batches[0]), {}, slower=slower), 0.0)
    assert one.next_batch(0.0) == []  # one bears one
    one.finished(batches[1], Report([Result.RETURNED] * len(batches[1]), {}, slower=slower), 0.0)
    assert one.next_change(0.0) == pytest.approx(60.0)
    one.finished(one.next_batch(60.0), Report([Result.SETTLED] * 50, {}, slower=slower), 60.0)
    assert one.next_change(60.0) == pytest.approx(120.0)
    batch = one.next_batch(180.0)
    one.finished(batch, Report([Result.DELIVERED] * len(batch), {}), 180.0)
    batch = one.next_batch(180.0)
    assert batch
    for _ in range(2):
        one.finished(batch, Report([Result.SETTLED] * len(batch), {}, slower=slower), 180.0)
    assert one.next_change(180.0) == pytest.approx(60.0)  # it begins anew


def test_an_operator_s_look_ends_all_patience():
    one = dispatch()
    one.restraints.leave_alone("a.example", "450 later", 600.0, 0.0)
    one.offer(jobs("a.example", 1))
    assert one.next_batch(1.0) == []
    one.end_cool_downs()
    assert one.next_batch(1.0)


def test_patience_has_an_end_and_is_forgotten():
    one = Restraints(Rules({}))
    for n in range(20):
        one.leave_alone("a.example", "450 later", 60.0, n * 4000.0)
    assert one.wait("a.example", 19 * 4000.0) == LONGEST_PATIENCE
    one.forget((), 19 * 4000.0 + 2 * LONGEST_PATIENCE)
    assert one._patience == {}
