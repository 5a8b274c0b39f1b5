# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool status` promises where no supervisor runs: the depths, the last errors, and that nobody answers."""

import json
import re

from mailspool.store import nodename


def test_status_without_a_supervisor_ends_with_3_and_shows_the_depths(house):
    house.node()
    failed, at = house.node()
    house.fall_back(at, 2)
    house.claim(house.node()[1])
    ran = house.run("status")
    assert ran.code == 3
    assert ran.err == f"mailspool: no supervisor answers in {house.root}/run: mailspoold\n"
    assert [re.sub(r"\d+s", "AGE", line).split() for line in ran.out.splitlines()] == [
        ["TIER", "NODES", "OLDEST"],
        ["0", "1", "AGE"],
        ["1", "0"],
        ["2", "1", "AGE"],
        ["claimed:", "1,", "held:", "0,", "quarantined:", "0"],
        [f"{failed}.0", "example.net,", "AGE", "ago:", "451", "4.7.1", "Greylisted,", "come", "again"],
    ]


def test_status_shows_tiers_beyond_the_configured_ones_and_json_has_it_all(house):
    house.fall_back(house.node()[1], 7)
    ran = house.run("status", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["supervisor"]) == (3, None)
    assert [tier["tier"] for tier in found["spool"]["tiers"]] == [0, 1, 2, 7]
    assert found["spool"]["tiers"][3]["nodes"] == 1
    assert found["spool"]["tiers"][0] == {"tier": 0, "nodes": 0, "oldest": None}


def test_a_node_that_is_due_by_hand_has_no_age_in_its_tier(house):
    house.node()
    house.run("retry", "ALL")
    assert json.loads(house.run("status", "--json").out)["spool"]["tiers"][0]["oldest"] is None


def test_the_last_errors_are_the_newest(house):
    clock = iter(range(10**6))
    house.spool.now = lambda: 1_800_000_000.0 + next(clock)
    failed = [house.fall_back(house.node(f"sue@d{n}.example")[1], 1, text=f"451 4.0.{n} no") for n in range(5)]
    errors = json.loads(house.run("status", "--json").out)["last_errors"]
    assert [error["node"] for error in errors] == [nodename.node_id_of(at.name) for at in failed[:1:-1]]
    assert [error["text"] for error in errors] == ["451 4.0.4 no", "451 4.0.3 no", "451 4.0.2 no"]
    assert errors[0]["destination"] == "d4.example"
    house.run("retry", "ALL")
    assert json.loads(house.run("status", "--json").out)["last_errors"][0]["node"] == errors[0]["node"]
