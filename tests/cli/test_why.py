# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool why` promises: what was tried, what came back, what is next and what there is to do."""

import os
import re

from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore


def test_why_tells_what_was_tried_and_what_came_back(house):
    message, at = house.node()
    house.fall_back(at, 1)
    out = house.run("why", message).out
    assert f"{message}.0 from <joe@example.org> to <sue@example.net>" in out
    assert "tier 0: status 4.7.1 after 1.5s, mx.example.net[192.0.2.1]:25:" in " ".join(out.split())
    assert "      451 4.7.1 Greylisted, come again\n" in out


def test_why_tells_when_it_is_due_and_when_it_is_given_up(house):
    message, at = house.node()
    house.fall_back(at, 1)
    ran = house.run("why", message)
    assert re.search(r"in tier 1 since .*; due .*, in (30m|29m \d+s)\n", ran.out)
    assert re.search(r"given up in (5d|4d 23h) \(max_age\), or once it has failed another 2 times\n", ran.out)
    assert "no supervisor answers here: start mailspoold" in ran.out


def test_what_why_says_is_folded_to_eighty_columns(house):
    message, at = house.node(from_=f"{'j' * 50}@example.org")
    house.fall_back(at, 2)
    lines = house.run("why", message).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "      mx.example.net[192.0.2.1]:25:" in lines


def test_why_of_the_last_tier_says_that_it_is_the_last(house):
    message, at = house.node()
    house.fall_back(at, 2)
    assert "the last tier: if it fails once more, it bounces" in house.run("why", message).out


def test_why_of_a_node_past_the_maximum_age_says_so(house):
    house.spool.now = lambda: 1_700_000_000.0
    message, _ = house.node()
    out = house.run("why", message).out
    assert "due now" in out
    assert "older than max_age (5d): if it fails once more, it bounces" in out


def test_why_of_a_claimed_node_names_the_owner(house):
    message, at = house.node()
    house.claim(at)
    assert f"claimed out of tier 0 by process {os.getpid()} on {this_owner().host}\n" in house.run("why", message).out


def test_why_of_a_dead_owners_claim_says_when_it_returns(house):
    message, at = house.node()
    dead = this_owner()._replace(start=1)
    FileStore(house.store.root, dead).claim(at, "w3.1")
    out = house.run("why", message).out
    assert f"claimed out of tier 0 by worker 3 of the supervisor {dead.pid}" in out
    assert "which has ended: it returns to its tier when mailspoold is started here" in out


def test_why_of_a_sealed_claim_says_that_it_is_too_late(house):
    message, at = house.node()
    house.store.seal(house.claim(at))
    assert "\n  past its final dot: the host may have it, and it is too late" in house.run("why", message).out


def test_why_of_what_a_dead_owner_sealed_warns_of_a_second_copy(house):
    message, at = house.node()
    dead = FileStore(house.store.root, this_owner()._replace(start=1))
    dead.seal(dead.claim(at, "w3.1"))
    out = house.run("why", message).out
    assert "which has ended: it returns to its tier" in out
    assert "and would then get a second copy" in out


def test_why_of_quarantine_tells_the_reason_and_the_way_back(house):
    message, at = house.node()
    house.store.quarantine(at, "not liked")
    out = house.run("why", message).out
    assert "in quarantine: not liked" in out
    assert house.run(*out.splitlines()[-1].split()[1:]).code == 0
    assert [now.state for now in house.store.find(message)] == [State.QUEUED]
    assert os.listdir(house.root / "spool/quarantine") == []


def test_why_of_a_held_node_tells_the_way_back(house):
    message, at = house.node()
    house.hold(at)
    out = house.run("why", f"{message}.0").out
    assert "held, out of tier 0" in out
    assert house.run(*out.splitlines()[-1].split()[1:]).code == 0
    assert [now.state for now in house.store.find(message)] == [State.QUEUED]


def test_why_of_one_node_leaves_out_its_siblings(house):
    message = house.send("sue@example.net", "bob@example.com")
    out = house.run("why", f"{message}.1").out
    assert "bob@example.com" in out
    assert "sue@example.net" not in out


def test_why_of_an_unknown_id_ends_with_1_and_points_to_the_log(house):
    ran = house.run("why", "0NOSUCH")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("mailspool: 0NOSUCH names no node in this spool: ")
    assert "look for it in the log" in ran.err
