# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who may go next, with a simulated clock and simulated workers."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailspool.supervisor import destination, dispatch
from mailspool.supervisor.dispatch import FAULT_REST, MAX_ALL, MAX_BATCH, MAX_WAITING, SMALL_BATCH, Dispatch
from mailspool.supervisor.job import Job, Limits, Report, Result
from mailspool.supervisor.station import MAX_PACKET, MAX_REFUSAL


def limits(**changes):
    return Limits(workers=20, per_destination=10, cool_down=60.0, tick=20.0, worker_jobs=1000, shutdown=30.0)._replace(
        **changes
    )


def jobs(destination, count, *, group="g{}", first=0):
    return [Job(f"0/{destination}-{n}", destination, group.format(n)) for n in range(first, first + count)]


def test_destinations_take_turns():
    one = Dispatch(limits(per_destination=100, workers=100))
    one.offer(jobs("a", 300) + jobs("b", 300) + jobs("c", 300))
    assert [one.next_batch(0.0)[0].destination for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_a_new_destination_waits_for_one_round_at_most():
    one = Dispatch(limits())
    one.offer(jobs("a", 4000))
    one.next_batch(0.0)
    one.offer(jobs("b", 1))
    assert "b" in [one.next_batch(0.0)[0].destination for _ in range(2)]


def met(one, *destinations):
    """Each has just taken so many jobs that it may have as many workers as any."""
    for name in destinations:
        for _ in range(one.shares.destination):
            one.offer(jobs(name, 1, first=10**6))
            one.finished(one.next_batch(0.0), Report([Result.DELIVERED], {}), 0.0)
    return one


@pytest.mark.parametrize(("workers", "each", "most"), [(20, 10, 10), (20, 15, 10), (4, 10, 2), (2, 10, 1), (1, 10, 1)])
def test_a_destination_has_no_more_workers_than_allowed_and_never_more_than_half(workers, each, most):
    one = met(Dispatch(limits(workers=workers, per_destination=each)), "a")
    one.offer(jobs("a", 4000))
    batches = [one.next_batch(0.0) for _ in range(workers)]
    assert sum(map(bool, batches)) == most
    assert not any(one.ready(0.0))


@pytest.mark.parametrize(
    ("workers", "share", "most"), [(20, 0.75, 15), (8, 0.75, 6), (4, 0.75, 3), (2, 0.75, 1), (1, 0.75, 1), (20, 0.3, 6)]
)
def test_strangers_however_many_leave_room_for_those_that_work(workers, share, most):
    one = met(Dispatch(limits(workers=workers, unproven_share=share)), "good")
    for n in range(200):
        one.offer(jobs(f"silent{n}", 20))
    while batch := one.next_batch(0.0):
        assert batch[0].destination != "good"
    assert sum(destination.workers for destination in one._destinations.values()) == most
    one.offer(jobs("good", 100))
    assert workers == 1 or one.next_batch(0.0)


@pytest.mark.parametrize("workers", [4, 8, 20])
def test_one_stranger_leaves_room_for_another(workers):
    one = Dispatch(limits(workers=workers))
    one.offer(jobs("silent", 200))
    while one.next_batch(0.0):
        pass
    one.offer(jobs("new", 1))
    assert one.next_batch(0.0)


def test_who_was_met_long_ago_is_a_stranger_again():
    one = met(Dispatch(limits(workers=20)), "a")
    one.forget_idle(destination.REMEMBERED - 1)
    one.offer(jobs("a", 4000))
    assert sum(bool(one.next_batch(destination.REMEMBERED - 1)) for _ in range(20)) == 10
    one = met(Dispatch(limits(workers=20)), "a")
    one.forget_idle(destination.REMEMBERED)
    one.offer(jobs("a", 4000))
    assert sum(bool(one.next_batch(destination.REMEMBERED)) for _ in range(20)) == destination.FIRST_CONCURRENCY


def test_a_worker_stays_with_its_destination_while_nobody_else_waits_or_others_are_free():
    one = met(Dispatch(limits(workers=4)), "a", "b")
    one.offer(jobs("a", 400))
    assert one.next_batch(0.0, "a")[0].destination == "a"
    one.offer(jobs("b", 400))
    assert one.next_batch(0.0, "a", spare=True)[0].destination == "a"
    one = met(Dispatch(limits(workers=4)), "b", "a")
    one.offer(jobs("b", 400) + jobs("a", 400))
    assert one.next_batch(0.0, "a", spare=False)[0].destination == "b"


def test_a_destination_that_refuses_is_left_alone_for_the_cool_down():
    one = Dispatch(limits(workers=2))
    one.offer(jobs("a", 2))
    batch = one.next_batch(100.0)
    one.finished(batch, Report([Result.REFUSED, Result.RETURNED], {}), 100.0)
    assert one.next_batch(159.0) == []
    assert one.next_change(159.0) == 1.0
    assert one.cooling(159.0) == {"a": 1.0}
    assert one.next_batch(160.0)


def test_one_group_of_jobs_finds_out_whether_a_destination_takes_mail_again():
    one = Dispatch(limits(workers=20))
    one.offer(jobs("a", 1) + jobs("a", 2, group="pair", first=1) + jobs("a", 30, first=3))
    first = one.next_batch(0.0)
    one.finished(first, Report([Result.REFUSED, *[Result.RETURNED] * (len(first) - 1)], {}), 0.0)
    probe = one.next_batch(60.0)
    assert [job.key for job in probe] == ["0/a-1", "0/a-2"]
    assert one.next_batch(60.0) == []
    one.finished(probe, Report([Result.DELIVERED] * 2, {}), 60.0)
    assert len(one.next_batch(60.0)) > 1
    assert one.next_batch(60.0)


def test_what_waits_behind_the_probe_is_put_off_with_the_reason_when_nobody_else_needs_the_worker():
    one = Dispatch(limits(workers=20))
    one.offer(jobs("a", 250))
    batch = one.next_batch(0.0)
    one.finished(
        batch, Report([Result.REFUSED, *[Result.RETURNED] * (len(batch) - 1)], {}, refusal="since noon: busy"), 0.0
    )
    one.offer(jobs("b", 1))
    assert one.next_batch(1.0)[0].destination == "b"
    put_off = []
    while not one.idle(1.0):
        batch = one.next_batch(1.0)
        assert len(batch) <= MAX_BATCH
        assert {job.refusal for job in batch} == {"since noon: busy"}
        put_off += batch
        one.finished(batch, Report([Result.SETTLED] * len(batch), {}), 1.0)
    assert len(put_off) == 248
    assert one.cooling(1.0) == {"a": 59.0}
    assert [job.refusal for job in one.next_batch(60.0)] == [""]


def test_what_could_not_be_put_off_is_tried_like_any_other():
    one = Dispatch(limits(workers=20))
    one.offer(jobs("a", 30))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.REFUSED, *[Result.RETURNED] * (len(batch) - 1)], {}, refusal="busy"), 0.0)
    batch = one.next_batch(1.0)
    one.finished(batch, Report([Result.RETURNED] * len(batch), {}), 1.0)
    probe = one.next_batch(60.0)
    one.finished(probe, Report([Result.DELIVERED], {}), 60.0)
    assert {job.refusal for job in probe + one.next_batch(60.0)} == {""}


def test_who_speaks_with_us_is_not_left_alone_whatever_he_says():
    one = Dispatch(limits(workers=20))
    one.offer(jobs("a", 30))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.REFUSED, *[Result.RETURNED] * (len(batch) - 1)], {}), 0.0)
    one.finished(one.next_batch(60.0), Report([Result.SETTLED], {}), 60.0)
    assert len(one.next_batch(60.0)) > 1


def test_what_another_had_first_tells_nothing_of_its_destination():
    """On a shared spool the probe may be gone before our worker comes to it."""
    one = Dispatch(limits(cool_down=60.0))
    one.offer(jobs("a", 3, group="g{}"))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.REFUSED, *[Result.RETURNED] * (len(batch) - 1)], {}), 0.0)
    probe = one.next_batch(60.0)
    one.finished(probe, Report([Result.GONE], {}), 60.0)
    again = one.next_batch(60.0)
    assert len(again) == 1
    assert again != probe
    one.finished(again, Report([Result.REFUSED], {}), 60.0)
    assert one.cooling(60.0) == {"a": 120.0}  # twice as long: it has taken nothing in between


def test_after_a_lost_connection_every_worker_is_told_to_be_careful_there_for_an_hour_and_with_nobody_else():
    one = met(Dispatch(limits()), "a", "b")
    one.offer(jobs("a", 400))
    first, second = one.next_batch(0.0), one.next_batch(0.0)
    assert not one.order(first, 0.0)[0].careful
    one.finished(first, Report([Result.SETTLED] * len(first), {}, lost=True), 0.0)
    one.finished(second, Report([Result.DELIVERED] * len(second), {}), 1.0)
    one.forget_idle(destination.REMEMBERED - 1)
    assert one.order(one.next_batch(1.0), destination.REMEMBERED - 1)[0].careful
    assert not one.order(one.next_batch(1.0), destination.REMEMBERED)[0].careful
    one.offer(jobs("b", 1))
    batches = [one.next_batch(1.0) for _ in range(2)]
    assert {batch[0].destination: one.order(batch, 1.0)[0].careful for batch in batches} == {"a": True, "b": False}


def test_a_delivery_ends_the_cool_down():
    one = Dispatch(limits())
    one.offer(jobs("a", 2))
    first, second = one.next_batch(0.0), one.next_batch(0.0)
    one.finished(first, Report([Result.REFUSED], {}), 0.0)
    one.finished(second, Report([Result.DELIVERED], {}), 0.0)
    assert one.cooling(0.0) == {}


def test_what_is_returned_comes_again_before_the_others_and_in_its_order():
    one = Dispatch(limits(workers=2))
    one.offer(jobs("a", MAX_BATCH + 5))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.SETTLED, *[Result.RETURNED] * (len(batch) - 1)], {}), 0.0)
    assert one.next_batch(0.0)[: len(batch) - 1] == batch[1:]


def test_what_met_a_local_fault_rests_and_is_then_found_again_while_the_others_go_on():
    one = Dispatch(limits(workers=2))
    one.offer(jobs("a", 3))
    first, second, third = batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.FAULT, Result.RETURNED, Result.RETURNED], {}), 0.0)
    one.looked(FAULT_REST - 1)
    one.offer(batch)
    assert one.next_batch(FAULT_REST - 1) == [second, third]
    one.finished([second, third], Report([Result.DELIVERED] * 2, {}), FAULT_REST - 1)
    one.looked(FAULT_REST)
    one.offer([first])
    assert one.next_batch(FAULT_REST) == [first]
    assert not one._faulty


def test_an_operator_who_wants_all_of_it_tried_now_ends_the_rest_after_a_fault():
    one = Dispatch(limits(workers=2))
    one.offer(jobs("a", 1))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.FAULT], {}), 0.0)
    one.end_cool_downs()
    one.looked(0.0)
    one.offer(batch)
    assert one.next_batch(0.0) == batch


def test_what_waits_is_forgotten_when_asked_to_and_what_is_under_way_is_not():
    one = Dispatch(limits(workers=2, per_destination=1))
    one.offer(jobs("a", MAX_BATCH + 50))
    under_way = one.next_batch(0.0)
    one.forget_waiting()
    assert len(one) == 0
    one.offer(jobs("a", MAX_BATCH + 50))
    assert len(one) == 50
    one.finished(under_way, Report([Result.SETTLED] * len(under_way), {}), 0.0)
    assert len(one.next_batch(0.0)) == 50


def test_what_is_under_way_is_not_taken_up_again_by_a_look():
    one = Dispatch(limits())
    one.offer(jobs("a", 1))
    batch = one.next_batch(0.0)
    one.offer(jobs("a", 1))
    assert one.next_batch(0.0) == []
    one.finished(batch, Report([Result.SETTLED], {}), 0.0)
    one.offer(jobs("a", 1))
    assert one.next_batch(0.0) == batch


def test_what_a_worker_lost_is_taken_up_by_the_next_look():
    one = Dispatch(limits())
    one.offer(jobs("a", 1))
    one.lost(one.next_batch(0.0))
    assert one.next_batch(0.0) == []
    one.offer(jobs("a", 1))
    assert len(one.next_batch(0.0)) == 1


@pytest.mark.parametrize(("others", "share"), [(0, 1), (1, 1), (3, 2), (500, 10)])
def test_among_many_destinations_each_has_one_session_and_alone_it_has_many(others, share):
    one = Dispatch(limits(workers=20, per_destination=10))
    one.offer(jobs("a", 10))
    one.offer(all_of([f"d{n}" for n in range(others)], 10))
    assert len(one.next_batch(0.0)) == share


def sizes(one, result, rounds=50):
    """Of batches that end so, each before the next one is given."""
    for _ in range(rounds):
        batch = one.next_batch(0.0)
        one.finished(batch, Report([result, *[Result.RETURNED] * (len(batch) - 1)], {}), 0.0)
        yield len(batch)


def test_a_destination_with_much_mail_soon_has_its_workers_and_then_large_batches():
    one = Dispatch(limits(workers=20, per_destination=10))
    one.offer(jobs("a", 4000))
    few = 10 - destination.FIRST_CONCURRENCY
    assert list(sizes(one, Result.DELIVERED)) == [SMALL_BATCH] * few + [MAX_BATCH] * (50 - few)


def test_who_has_refused_a_session_is_given_more_workers_slowly():
    one = met(Dispatch(limits(workers=20, per_destination=10)), "a")
    one.offer(jobs("a", 4000))
    assert next(sizes(one, Result.REFUSED)) == MAX_BATCH
    assert list(sizes(one, Result.DELIVERED, 5)) == [MAX_BATCH] * 5


def test_a_group_goes_to_one_worker_though_the_share_ends_within_it():
    one = Dispatch(limits(workers=20, per_destination=10))
    one.offer(jobs("a", 30, group="one"))
    assert len(one.next_batch(0.0)) == 30


@pytest.mark.parametrize("size", [3, 7, 60, MAX_BATCH])
def test_a_group_no_larger_than_a_batch_is_never_cut(size):
    one = Dispatch(limits(workers=2))
    for group in range(10):
        one.offer(jobs("a", size, group=f"g{group}", first=group * size))
    owner = {}
    number = 0
    while len(one):
        number += 1
        batch = one.next_batch(0.0)
        for job in batch:
            assert owner.setdefault(job.group, number) == number
        one.finished(batch, Report([Result.SETTLED] * len(batch), {}), 0.0)


def test_the_largest_batch_of_the_longest_names_fits_into_a_packet():
    one = Dispatch(limits(workers=2))
    name, group = "6/" + "x" * 249, "y" * 64
    one.offer(Job(f"{name}{n:04}", "d" * 253, group if n >= MAX_BATCH - 1 else f"g{n}") for n in range(3 * MAX_BATCH))
    batch = one.next_batch(0.0)
    assert len(msgspec.msgpack.encode(batch)) < MAX_PACKET
    one.finished(batch, Report([Result.REFUSED] * len(batch), {}, refusal="é" * MAX_REFUSAL), 0.0)
    assert len(msgspec.msgpack.encode(one.next_batch(1.0))) < MAX_PACKET


def test_more_than_fits_in_memory_is_looked_for_again_in_time():
    one = Dispatch(limits())
    one.offer(jobs("a", MAX_WAITING + 1))
    assert len(one) == MAX_WAITING
    assert not one.hungry()
    while not one.hungry():
        batch = one.next_batch(0.0)
        one.finished(batch, Report([Result.DELIVERED] * len(batch), {}), 0.0)
    assert len(one) >= MAX_WAITING // 2 - MAX_BATCH * 2
    one.looked(0.0)
    assert not one.hungry()


def all_of(destinations, count):
    return [job for name in destinations for job in jobs(name, count)]


def test_however_many_jobs_there_are_a_bounded_number_is_kept_and_each_destination_keeps_its_oldest():
    one = Dispatch(limits())
    names = [*(f"silent{n}" for n in range(200)), "healthy"]
    one.looked(0.0)
    one.offer(all_of(names, 1000))
    one.look_over()
    assert len(one) <= MAX_ALL
    for name in names:
        kept = [job.key for job in one._destinations[name].waiting]
        assert len(kept) >= MAX_ALL // 2 // len(names) - 1
        assert kept == [job.key for job in jobs(name, len(kept))]
    assert one._known == {job.key for each in one._destinations.values() for job in each.waiting}


@pytest.mark.parametrize("names", [["a"], ["a", "b"], [f"d{n}" for n in range(30)], [f"d{n}" for n in range(500)]])
def test_what_was_let_go_of_is_found_by_later_looks_until_all_is_done(names, monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_ALL", 400)
    monkeypatch.setattr(dispatch, "MAX_WAITING", 100)
    one, left = Dispatch(limits()), {job.key: job for job in all_of(names, 3000 // len(names))}
    looks = 0
    while left:
        looks += 1
        assert looks < 100
        one.looked(0.0)
        one.offer(list(left.values()))
        one.look_over()
        assert len(one._known) <= 400
        while not one.hungry() and (batch := one.next_batch(0.0)):
            for job in batch:
                del left[job.key]
            one.finished(batch, Report([Result.DELIVERED] * len(batch), {}), 0.0)


def test_what_was_reported_on_during_a_look_is_not_taken_up_when_that_look_still_offers_it():
    one = met(Dispatch(limits()), "a")
    one.looked(0.0)
    one.offer(jobs("a", 1))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.SETTLED], {}), 0.0)
    one.offer(batch)
    assert not one.next_batch(0.0)
    one.look_over()
    one.looked(0.0)
    one.offer(batch)  # it has come back meanwhile
    assert one.next_batch(0.0) == batch


def test_what_was_returned_during_a_look_waits_once():
    one = met(Dispatch(limits()), "a")
    one.looked(0.0)
    one.offer(jobs("a", 1))
    batch = one.next_batch(0.0)
    one.finished(batch, Report([Result.RETURNED], {}), 0.0)
    one.offer(batch)
    assert one.next_batch(0.0) == batch
    assert not one.next_batch(0.0)


def test_destinations_of_which_nothing_is_left_are_forgotten():
    one = Dispatch(limits())
    for n in range(100):
        one.offer(jobs(f"d{n}", 1))
    while batch := one.next_batch(0.0):
        one.finished(batch, Report([Result.SETTLED], {}), 0.0)
    one.forget_idle(destination.REMEMBERED)
    assert not one._destinations
    assert not one._known


@st.composite
def days(draw):
    """What happens in a supervisor's day: looks, and workers that take, report or die."""
    return draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("look"), st.sampled_from("abcd"), st.integers(1, 30)),
                st.tuples(st.just("take"), st.booleans(), st.integers(0, 50)),
                st.tuples(st.just("report"), st.integers(0, 5), st.integers(0, len(Result) - 1)),
                st.tuples(st.just("die"), st.integers(0, 5), st.just(0)),
                st.tuples(st.just("wait"), st.integers(1, 100), st.just(0)),
            ),
            max_size=60,
        )
    )


@given(days(), st.integers(1, 8), st.integers(1, 5))
@settings(deadline=None)
def test_no_job_is_lost_or_given_twice_while_it_is_under_way(day, workers, each):
    one = Dispatch(limits(workers=workers, per_destination=each))
    spool, under_way, now, count = {}, [], 0.0, 0
    for what, first, second in day:
        match what:
            case "look":
                for job in jobs(first, second, group="g{}", first=count):
                    spool[job.key] = job
                count += second
                one.looked(now)
                one.offer(spool.values())
            case "take" if len(under_way) < workers and (batch := one.next_batch(now, "a", spare=first)):
                under_way.append(batch)
            case "report" if under_way:
                batch = under_way.pop(first % len(under_way))
                results = [Result((second + n) % len(Result)) for n in range(len(batch))]
                for job, result in zip(batch, results, strict=True):
                    if result not in (Result.RETURNED, Result.FAULT):
                        del spool[job.key]
                one.finished(batch, Report(results, {}), now)
            case "die" if under_way:
                one.lost(under_way.pop(first % len(under_way)))
            case "wait":
                now += first
        given_out = Counter(job.key for batch in under_way for job in batch)
        assert all(times == 1 for times in given_out.values())
        at = Counter(batch[0].destination for batch in under_way)
        assert all(number <= max(1, min(each, workers // 2)) for number in at.values())
        assert all(len({job.destination for job in batch}) == 1 for batch in under_way)
    for batch in under_way:
        one.finished(batch, Report([Result.SETTLED] * len(batch), {}), now)
        for job in batch:
            del spool[job.key]
    now += 1000
    one.looked(now)
    one.offer(spool.values())
    rest = []
    while batch := one.next_batch(now):
        rest += [job.key for job in batch]
        one.finished(batch, Report([Result.SETTLED] * len(batch), {}), now)
    assert sorted(rest) == sorted(spool)
    assert len(spool) < dispatch.MAX_WAITING


def test_an_operator_who_wants_it_tried_now_ends_all_cool_downs():
    one = Dispatch(limits(workers=4, cool_down=60.0))
    one.offer(jobs("a", 1))
    one.finished(one.next_batch(0.0), Report([Result.REFUSED], {}), 0.0)
    one.offer(jobs("a", 1))
    assert one.next_batch(1.0) == []
    one.end_cool_downs()
    assert one.next_batch(1.0)


def test_while_the_processors_are_busy_no_further_worker_is_wanted_and_it_is_told():
    one = met(Dispatch(limits()), "a", "b")
    one.offer(jobs("a", 40) + jobs("b", 40))
    one.full = True
    assert one.idle(0.0)
    assert {name: held.rule for name, held in one.held_back(0.0)} == {"a": "processors", "b": "processors"}
    assert one.next_batch(0.0)[0].destination == "a"  # who is there goes on
    one.full = False
    assert not one.idle(0.0)
    assert dict(one.held_back(0.0)) == {}
