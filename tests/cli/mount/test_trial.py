# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Runs find each other, and wait for each other, by files alone; who does not come is named in time."""

import os
from functools import partial

import msgspec
import pytest

from mailspool.cli.mount import crew, trial
from mailspool.errors import ClaimLost, SpoolError
from mailspool.store import fsops
from mailspool.store.mount import folder
from tests.cli.mount.conftest import owners

SECONDS = 30.0


@pytest.fixture
def place(tmp_path):
    return str(tmp_path)


def come(place, owner):
    folder.make(place, str(owner))
    trial.greet(place, owner)


def meet(place, owner, number, seconds=SECONDS):
    come(place, owner)
    return trial.meet(place, owner, number, seconds).members


def test_all_that_are_announced_find_each_other(place):
    hosts = owners(4)
    found = crew.race([partial(meet, place, host, 4) for host in hosts], tuple[str, ...], SECONDS)
    assert found == [tuple(sorted(map(str, hosts)))] * 4


def test_what_a_killed_run_has_left_is_none_of_them(place):
    gone, *hosts = owners(3)
    come(place, gone)
    with open(f"{folder.path_of(place, str(gone))}/saw~{owners(1)[0]}", "w"):
        pass
    found = crew.race([partial(meet, place, host, 2) for host in hosts], tuple[str, ...], SECONDS)
    assert found == [tuple(sorted(map(str, hosts)))] * 2


def test_who_comes_between_two_looks_is_greeted_before_we_go_on(place, monkeypatch):
    one, two = owners(2)
    members = tuple(sorted(map(str, (one, two))))
    come(place, one)
    folder.make(place, str(two))
    look = trial._names

    def look_and_let_it_come(place, other):
        names = look(place, other)
        if not names:
            for step, data in (("hello", b""), (f"saw~{one}", b""), ("members", msgspec.json.encode(members))):
                trial.alone(place, two).say(step, data)
        return names

    monkeypatch.setattr(trial, "_names", look_and_let_it_come)
    assert trial.meet(place, one, 2, SECONDS).members == members
    assert f"saw~{two}" in os.listdir(folder.path_of(place, str(one)))


def test_who_does_not_come_is_waited_for_only_so_long(place):
    (me,) = owners(1)
    with pytest.raises(SpoolError, match=r"only 1 of 2 came within 0.1 s: say 'mailspool check-mount --peers 2'"):
        meet(place, me, 2, 0.1)


def test_more_than_were_announced_is_an_error(place):
    one, two, three = owners(3)
    for other in (two, three):
        come(place, other)
        trial.alone(place, other).say(f"saw~{one}")
    with pytest.raises(SpoolError, match="3 runs are here, and --peers 2 was said"):
        meet(place, one, 2)


def test_another_uid_is_named(place, monkeypatch):
    one, two = owners(2)
    come(place, two)
    os.chown(folder.path_of(place, str(two)), 4711, -1)
    with pytest.raises(SpoolError, match=r"host1 \(pid \d+\) works as uid 4711, this host as uid 0: .* one uid"):
        meet(place, one, 2)


def test_members_that_know_others_than_we_do_are_no_trial(place, monkeypatch):
    one, two = owners(2)
    come(place, two)
    other = trial.alone(place, two)
    other.say(f"saw~{one}")
    other.say("members", b"[]")
    with pytest.raises(SpoolError, match="runs of several trials"):
        meet(place, one, 2)


def test_each_hears_what_each_says_and_none_goes_on_alone(trials):
    def talk(part, number):
        part.say("one", str(number).encode())
        heard = part.hear("one", SECONDS)
        part.together("two")
        return [heard[member].decode() for member in part.members]

    parts = trials(3)
    told = crew.race([partial(talk, part, number) for number, part in enumerate(parts)], list[str], SECONDS)
    assert told == [["0", "1", "2"]] * 3


def test_who_says_nothing_is_named(trials):
    one, _ = trials(2)
    one.say("step")
    with pytest.raises(SpoolError, match=r"no word of host1 \(pid \d+\) about 'step' within 0.1 s"):
        one.hear("step", 0.1)


def test_who_has_left_is_named_at_once_but_not_at_the_end(trials):
    one, two = trials(2)
    folder.remove(two.folder)
    one.say("step")
    with pytest.raises(SpoolError, match="has left before 'step'"):
        one.hear("step", SECONDS)
    one.together(trial.END)


def test_a_word_that_is_denied_though_said_is_said(trials, monkeypatch):
    (one,) = trials(1)
    rename = fsops.rename

    def deny(source, target):
        rename(source, target)
        raise ClaimLost("No such file or directory")

    monkeypatch.setattr(fsops, "rename", deny)
    one.say("step", b"word")
    assert one.hear("step") == {str(one.me): b"word"}
