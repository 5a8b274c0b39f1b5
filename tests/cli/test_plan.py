# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool plan`: the schedule as times, and what its author can hardly mean."""

import json

import pytest

from mailspool.cli.plan import bar
from mailspool.model.plan import Try
from mailspool.spool import Spool


@pytest.fixture
def show(make_house):
    """show(*words, config=…): the plan of a house without a spool."""
    house = make_house(9)
    house.config.write_text(f'dequeue_dir = "{house.root}/spool"\nrun_dir = "{house.root}/run"\nuser = "root"\n')

    def run(*words):
        ran = house.run("plan", *words)
        assert (ran.code, ran.err) == (0, "")
        return ran.out

    run.house = house
    return run


def options(**values):
    return [word for name, value in values.items() for word in ("-o", f"{name}={value}")]


def warnings(show, **values):
    return json.loads(show("--json", *options(**values)))["warnings"]


def test_every_attempt_has_a_line_with_its_times_in_eighty_columns(show):
    lines = show().splitlines()
    assert lines[0].split() == ["TRY", "TIER", "WAITS", "MEAN", "95", "%", "99", "%"]
    assert [line.split()[:2] for line in lines[1:8]] == [[str(n + 1), str(n)] for n in range(7)]
    assert all(len(line) <= 80 for line in lines)
    assert lines[8].startswith("given up after 4d")
    assert "tier 6 is the last" in lines[8]
    assert len(lines) == 9


def test_the_default_schedule_gives_no_cause_for_a_warning(show):
    assert json.loads(show("--json"))["warnings"] == []


def test_another_schedule_is_compared_with_the_present_one(show):
    changed = options(dequeue_periods="[0, 600]", dequeue_priority="[1, 1]")
    lines = [line for line in show(*changed).splitlines() if not line.startswith("warning: ")]
    assert "NOW" in lines[0]
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].startswith("now given up after 4d")
    found = json.loads(show("--json", *changed))
    assert (len(found["plan"]["tries"]), len(found["present"]["tries"])) == (2, 7)
    assert json.loads(show("--json"))["present"] is None


def test_more_hosts_look_sooner(show):
    one, four = (json.loads(show("--json", "--hosts", hosts))["plan"]["tries"][3]["mean"] for hosts in ("1", "4"))
    assert four < one


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dequeue_periods": "[0, 60]", "dequeue_priority": "[1, 10]"}, "is looked at only every 3m 10s on average"),
        ({"dequeue_periods": "[0, 900000]", "dequeue_priority": "[1, 1]"}, "tier 1 waits 10d 10h, but max_age (5d)"),
        ({"max_age": "3600"}, "tiers 3 to 6 are never reached"),
        ({"max_age": "3600"}, "bounces before its sender hears of a delay (delay_notice is 4h)"),
    ],
)
def test_what_an_author_can_hardly_mean_is_warned_of(show, values, words):
    assert [warning for warning in warnings(show, **values) if words in warning]


def test_a_tier_that_a_shorter_schedule_leaves_behind_is_warned_of(show):
    spool = Spool.from_config(str(show.house.config))
    spool.create_dequeue_dirs()
    spool.send_mail(to="joe@x.example", from_="me@y.example", message="Subject: x\n\nx\n")
    (name,) = spool.store.names(0)
    queue = show.house.root / "spool"
    (queue / "0" / name).rename(queue / "6" / name)
    (warning,) = warnings(show, dequeue_periods="[0, 600]", dequeue_priority="[1, 1]", delay_notice="0")
    assert warning == "tier 6 holds 1 node, but there are only 2 tiers now"


@pytest.mark.parametrize(("mean", "most", "drawn"), [(0, 0, ""), (50, 100, "█" * 11 + "░" * 11), (100, 100, "█" * 22)])
def test_a_bar_shows_the_average_and_what_99_of_100_need(mean, most, drawn):
    assert bar(Try(1, 0, mean, most, most), 100) == drawn
