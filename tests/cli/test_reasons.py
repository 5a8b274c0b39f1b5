# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""For each rule that may hold a node back: `mailspool why` names it, in words and as JSON."""

import json

import pytest
from click.testing import CliRunner

from mailspool.cli import running
from mailspool.cli.admin import mailspool
from mailspool.store.base import State
from tests.running import write_config

QUIET = {"stopping": False, "paused": False, "alarms": [], "cooling": {}, "held": {}, "appointments": {}, "pid": 1}


@pytest.fixture
def why(make_spool, properties, tmp_path, monkeypatch):
    """why(status, tier=0): what --json and the text say of a node, beside a supervisor that says `status`."""
    spool = make_spool(smarthost="")
    write_config(tmp_path / "mailspool.toml", properties(smarthost=""))

    def ask(status, tier=0, state=State.QUEUED):
        message = spool.send_mail(to="joe@x.example", from_="me@y.example", message="Subject: hello\n\nworld\n")
        (at,) = spool.store.find(message)
        name = at.name if tier == 0 else f"{int(spool.now())}-{at.name.partition('-')[2]}"
        if (tier, state) != (0, State.QUEUED):
            at = spool.store.move(at, at._replace(tier=tier, state=state, name=name))
        answer = status(at) if callable(status) else status
        monkeypatch.setattr(running, "status_if_any", lambda *_: None if answer is None else {**QUIET, **answer})
        run = [
            CliRunner().invoke(mailspool, ["why", *more, message, "-c", str(tmp_path / "mailspool.toml")])
            for more in (["--json"], [])
        ]
        assert [each.exit_code for each in run] == [0, 0], run[0].output
        return json.loads(run[0].stdout), " ".join(run[1].stdout.split())

    return ask


def rules(told):
    return [reason["rule"] for reason in told["reasons"]]


HELD = {"rule": "messages_per_minute", "text": "the 30 messages a minute are used up", "seconds": 2.0}


@pytest.mark.parametrize(
    ("status", "rule", "words"),
    [
        ({"held": {"x.example": HELD}}, "messages_per_minute", "used up, for another 2s"),
        ({"held": {"x.example": {**HELD, "rule": "strangers", "seconds": 0.0}}}, "strangers", "held back by strangers"),
        ({"cooling": {"x.example": 60}}, "cool_down", "x.example refuses sessions: it is left alone, for"),
        ({"paused": True}, "paused", "the supervisor is paused until HUP"),
        ({"stopping": True}, "stopping", "the supervisor is stopping"),
        ({"alarms": [{"subject": "lease", "text": "not renewed", "seconds": 5}]}, "lease", "held back by lease"),
        ({"alarms": [{"subject": "local fault", "text": "disk full", "seconds": 5}]}, "local fault", "disk full"),
    ],
)
def test_why_names_the_rule_that_holds_a_node_back(why, status, rule, words):
    told, text = why(status)
    assert rules(told) == [rule]
    assert words in text


def test_nothing_holds_back_what_only_waits_for_a_look(why):
    told, text = why({})
    assert (told["reasons"], told["attempts"]) == ([], [])
    assert (told["queue_name"], told["tier"], told["destination"]) == ("queued", 0, "x.example")
    assert told["due"] <= told["arrival_time"] + 1
    assert "held back" not in text


def test_a_rule_of_another_destination_is_not_told(why):
    assert rules(why({"held": {"z.example": HELD}, "cooling": {"z.example": 5}})[0]) == []


def test_a_tier_s_wait_is_a_reason_and_an_appointment_too(why):
    told, text = why(lambda at: {"appointments": {f"{at.tier}/{at.name}": 290.0}}, tier=1)
    assert rules(told) == ["tier", "appointment"]
    assert 1700 < told["reasons"][0]["seconds"] <= 1800
    assert "held back by appointment: its host has said when: it is tried again then, due or not, in 4m 50s" in text


def test_without_a_supervisor_nothing_is_tried(why):
    assert rules(why(None)[0]) == ["no supervisor"]


def test_a_held_node_is_told_to_be_held(why):
    told, _ = why({}, state=State.HELD)
    assert (rules(told), told["due"]) == (["held"], None)
