# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an operator may do to nodes: each step does what was asked and no more, and says where it came too late."""

import os

import pytest

from mailspool.cli import change
from mailspool.store import nodename
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore

CHANGES = ["hold", "release", "retry", "delete", "bounce", "expire"]
DESTRUCTIVE = ["delete", "bounce", "expire"]
STRANGER = this_owner()._replace(host="elsewhere")


def states(house):
    return sorted(at.state for at in house.store.locations())


def claimed_elsewhere(house, at, *, sealed=False):
    """By a worker of another host."""
    claim = FileStore(house.store.root, STRANGER).claim(at, "w1.1")
    return house.store.seal(claim) if sealed else claim


def reports(house):
    """The messages from the null sender."""
    found = (house.store.open(at) for at in house.store.locations() if at.state is State.QUEUED)
    return [stored.file.read().decode() for stored in found if not stored.envelope.sender]


# --- which


@pytest.mark.parametrize("command", CHANGES)
def test_nothing_chooses_nothing(house, command):
    house.node()
    before = house.everything()
    ran = house.run(command)
    assert (ran.code, ran.out) == (64, "")
    assert "or ALL for all of them" in ran.err
    assert house.everything() == before


@pytest.mark.parametrize("command", CHANGES)
def test_no_ids_on_standard_input_choose_nothing(house, command, stdin):
    house.node()
    stdin("")
    before = house.everything()
    assert house.run(command, "-").code == 0
    assert house.everything() == before


def test_the_word_all_on_standard_input_is_no_more_than_an_id(house, stdin):
    house.node()
    stdin("ALL\n")
    ran = house.run("delete", "--yes", "-")
    assert (ran.code, ran.out) == (1, "0 nodes deleted\n")


def test_ids_come_from_standard_input(house, stdin):
    messages = [house.node()[0] for _ in range(3)]
    stdin("\n".join(messages[:2]))
    assert house.run("hold", "-") == (0, "2 nodes held\n", "")
    stdin(messages[2])
    assert house.run("hold", "--id", "-") == (0, "1 node held\n", "")


def test_selectors_narrow_each_other(house):
    kept, _ = house.node("sue@example.net")
    gone, _ = house.node("sue@example.net", from_="")
    other, _ = house.node("sue@example.com", from_="")
    assert house.run("delete", "--yes", "--from", "<>", "--domain", "example.net").out == "1 node deleted\n"
    assert [bool(house.store.find(message)) for message in (kept, gone, other)] == [True, False, True]
    assert house.run("delete", "--yes", kept, "--domain", "example.com").out == "0 nodes deleted\n"
    assert house.store.find(kept)


def test_what_moves_between_the_look_and_the_step_is_followed(house, monkeypatch):
    message, at = house.node()
    look = change.nodes.select

    def select(*arguments):
        selection = look(*arguments)
        house.claim(at)
        return selection

    monkeypatch.setattr(change.nodes, "select", select)
    assert house.run("delete", "--yes", message) == (0, "1 node deleted\n", "")
    assert list(house.store.locations()) == []


def test_what_is_none_of_those_asked_for_any_more_is_left_alone(house, monkeypatch):
    message, at = house.node()
    held = house.hold(at)
    look = change.nodes.select

    def select(*arguments):
        selection = look(*arguments)
        house.store.move(held, at)
        return selection

    monkeypatch.setattr(change.nodes, "select", select)
    ran = house.run("delete", "--yes", "--held")
    assert (ran.code, ran.out) == (1, "0 nodes deleted\n")
    assert ran.err.startswith(f"mailspool: {message}.0 has moved on")
    assert house.store.find(message) == [at]


def test_what_ends_between_the_look_and_the_step_is_named(house, monkeypatch):
    message, at = house.node()
    look = change.nodes.select

    def select(*arguments):
        selection = look(*arguments)
        house.store.delete(at)
        return selection

    monkeypatch.setattr(change.nodes, "select", select)
    ran = house.run("hold", message)
    assert (ran.code, ran.out) == (1, "0 nodes held\n")
    assert ran.err.startswith(f"mailspool: {message}.0 is gone: ")


# --- asking


@pytest.mark.parametrize("command", DESTRUCTIVE)
def test_where_nobody_can_be_asked_nothing_is_destroyed(house, command):
    house.send("sue@example.net", "bob@example.com")
    house.node(from_="")
    before = house.everything()
    ran = house.run(command, "ALL")
    assert (ran.code, ran.out) == (64, "")
    assert "3 nodes of 2 messages" in ran.err
    assert "2 senders" in ran.err
    assert "say --yes" in ran.err
    assert house.everything() == before


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 2), ("", 1, 2), ("y", 0, 0)])
def test_delete_asks_on_a_terminal_and_takes_no_for_an_answer(house, answer, code, left):
    message = house.send("sue@example.net", "bob@example.com")
    ran = house.on_terminal("delete", message, answer=f"{answer}\n")
    assert ran.code == code
    assert "Delete 2 nodes of 1 message from 1 sender for good, telling nobody?" in ran.out
    assert len(house.store.find(message)) == left


# --- hold and release


def test_hold_puts_aside_and_release_makes_due_in_its_own_tier(house):
    message, at = house.node()
    at = house.fall_back(at, 2)
    assert house.run("hold", message) == (0, "1 node held\n", "")
    assert house.store.find(message) == [at._replace(state=State.HELD)]
    ran = house.run("release", "ALL")
    assert (ran.code, ran.out.partition(";")[0]) == (0, "1 node released")
    (now,) = house.store.find(message)
    assert (now.state, now.tier, nodename.parse(now.name).time) == (State.QUEUED, 2, 0)


def test_hold_may_be_repeated(house):
    message, _ = house.node()
    for _ in range(2):
        assert house.run("hold", message).code == 0
    assert states(house) == [State.HELD]


@pytest.mark.parametrize("command", ["hold", "delete", "bounce", "expire"])
def test_a_claim_is_taken_away_before_its_final_dot_wherever_its_worker_is(house, command):
    message, at = house.node()
    claimed_elsewhere(house, at)
    assert house.run(command, message, *(["--yes"] if command in DESTRUCTIVE else [])).code == 0
    assert [now.state for now in house.store.find(message)] == ([State.HELD] if command == "hold" else [])


@pytest.mark.parametrize("command", ["hold", "delete", "bounce", "expire"])
def test_past_the_final_dot_it_is_too_late(house, command):
    message, at = house.node()
    claim = claimed_elsewhere(house, at, sealed=True)
    other, _ = house.node()
    ran = house.run(command, "ALL", *(["--yes"] if command in DESTRUCTIVE else []))
    assert (ran.code, ran.out[:7]) == (1, "1 node ")
    assert ran.err == (
        f"mailspool: {message}.0 is past its final dot: too late, the host may have taken it;"
        f" 'mailspool why {message}.0' tells\n"
    )
    assert claim in house.store.locations()
    assert [at for at in house.store.find(other) if at.state is State.QUEUED] == []


@pytest.mark.parametrize("command", ["hold", "delete", "bounce"])
def test_what_a_dead_owner_has_sealed_may_be_taken_so_that_there_is_no_second_copy(house, command):
    message, at = house.node()
    dead = FileStore(house.store.root, this_owner()._replace(start=1))
    dead.seal(dead.claim(at, "w1.1"))
    assert house.run(command, message, *(["--yes"] if command in DESTRUCTIVE else [])).code == 0
    assert [now.state for now in house.store.find(message)] == ([State.HELD] if command == "hold" else [])


def test_release_all_leaves_quarantine_and_release_of_an_id_takes_it_to_tier_0(house):
    message, at = house.node()
    house.store.quarantine(at, "not liked")
    assert house.run("release", "ALL").out == "0 nodes released\n"
    assert house.run("release", message).code == 0
    (now,) = house.store.find(message)
    assert (now.state, now.tier) == (State.QUEUED, 0)
    assert os.listdir(house.root / "spool/quarantine") == []


def test_release_of_what_is_not_held_says_what_helps(house):
    message, at = house.node()
    ran = house.run("release", message)
    assert (ran.code, ran.out) == (1, "0 nodes released\n")
    assert ran.err == f"mailspool: {message}.0 is not held; 'mailspool retry {message}.0' makes it due now\n"
    assert house.store.find(message) == [at]


# --- bounce and expire


def test_bounce_reports_to_the_sender_with_the_reason_and_every_attempt(house):
    message, at = house.node()
    house.fall_back(at, 1)
    assert house.run("bounce", "--yes", "--reason", "see ticket 4711", message) == (0, "1 node given up\n", "")
    assert house.store.find(message) == []
    (report,) = reports(house)
    assert "To: joe@example.org" in report
    assert "Status: 5.0.0" in report
    assert "given up by the administrator: see ticket 4711" in report
    assert "451 4.7.1 Greylisted, come again" in report


def test_expire_reports_the_last_error_as_if_the_message_were_too_old(house):
    message, at = house.node()
    house.fall_back(at, 1)
    assert house.run("expire", "--yes", message) == (0, "1 node given up\n", "")
    (report,) = reports(house)
    assert "Status: 4.4.7" in report
    assert "451 4.7.1 Greylisted, come again" in report


def test_the_recipients_of_a_message_that_are_given_up_stand_in_one_report(house):
    message = house.send(*(f"r{n}@d{n}.example" for n in range(20)))
    house.run("hold", f"{message}.3")
    assert house.run("bounce", "--yes", message).out == "20 nodes given up\n"
    (report,) = reports(house)
    assert report.count("Final-Recipient:") == 20


def test_what_cannot_be_reported_now_stays_where_it_was(house):
    message, at = house.node()
    held, other = house.node()
    house.hold(other)
    (house.root / "spool/incoming").chmod(0o700)
    (house.root / "spool/incoming").rename(house.root / "away")
    ran = house.run("bounce", "--yes", "ALL")
    assert (ran.code, ran.out) == (1, "0 nodes given up\n")
    assert f"mailspool: {message} is not given up: " in ran.err
    assert house.store.find(message) == [at]
    assert [now.state for now in house.store.find(held)] == [State.HELD]


def test_bounce_leaves_what_cannot_be_read_to_quarantine(house):
    message, at = house.node()
    (house.root / f"spool/0/{at.name}").write_bytes(b"no envelope")
    ran = house.run("bounce", "--yes", message)
    assert (ran.code, ran.out) == (1, "0 nodes given up\n")
    assert "it goes to quarantine with the next look" in ran.err
    assert house.store.find(message) == [at]


def test_what_is_in_quarantine_is_not_bounced(house):
    message, at = house.node()
    where = house.store.quarantine(at, "not liked")
    ran = house.run("bounce", "--yes", message)
    assert ran.code == 1
    assert f"mailspool delete {message}.0" in ran.err
    assert house.store.find(message) == [where]


@pytest.mark.parametrize("reason", ["two\nlines", "a\0b", "x" * (change.MAX_REASON + 1)])
def test_a_reason_is_one_line_of_sane_length(house, reason):
    message, at = house.node()
    ran = house.run("bounce", "--yes", "--reason", reason, message)
    assert ran.code == 64
    assert "--reason" in ran.err
    assert house.store.find(message) == [at]


# --- retry


def test_retry_makes_a_node_due_in_its_own_tier(house):
    message, at = house.node()
    other, _ = house.node()
    house.fall_back(at, 2)
    before = house.store.find(other)
    assert house.run("retry", message) == (
        0,
        "1 node due now; no supervisor answers here, so they wait until mailspoold is started\n",
        "",
    )
    (now,) = house.store.find(message)
    assert (now.tier, nodename.parse(now.name).time) == (2, 0)
    assert house.spool.node_at(now).can_process()
    assert house.store.find(other) == before


def test_retry_all_makes_every_node_due_and_may_be_repeated(house):
    for tier in (0, 1, 2):
        house.fall_back(house.node()[1], tier) if tier else house.node()
    house.hold(house.node()[1])
    for _ in range(2):
        ran = house.run("retry", "ALL")
        assert (ran.code, ran.out[:14]) == (0, "3 nodes due no")
    assert {nodename.parse(at.name).time for at in house.store.locations() if at.state is State.QUEUED} == {0}


def test_retry_leaves_a_node_alone_that_is_being_delivered(house):
    message, at = house.node()
    claim = house.claim(at)
    ran = house.run("retry", message)
    assert (ran.code, ran.out) == (1, "0 nodes due now\n")
    assert ran.err == f"mailspool: {message}.0 is being delivered at this moment\n"
    assert house.store.find(message) == [claim]


@pytest.mark.parametrize("place", ["held", "quarantine"])
def test_retry_says_how_to_put_back_what_is_not_in_a_tier(house, place):
    message, at = house.node()
    house.hold(at) if place == "held" else house.store.quarantine(at, "not liked")
    ran = house.run("retry", message)
    assert ran.code == 1
    assert place in ran.err
    assert f"'mailspool release {message}.0' puts it back, due now" in ran.err
    assert house.run("release", f"{message}.0").code == 0
    assert house.run("retry", message).code == 0


def test_retry_does_the_others_where_one_is_unknown(house):
    message, _ = house.node()
    ran = house.run("retry", "0NOSUCH", message)
    assert (ran.code, ran.out[:10]) == (1, "1 node due")
    assert "0NOSUCH names no node" in ran.err


def test_retry_does_the_others_where_one_is_no_node(house):
    (house.root / "spool/0/rubbish").write_bytes(b"")
    house.node()
    ran = house.run("retry", "ALL")
    assert (ran.code, ran.out[:10]) == (1, "1 node due")
    assert ran.err.startswith("mailspool: 'rubbish' is not a node name")


# --- delete


def test_delete_ends_a_node_and_its_history_and_leaves_its_siblings(house):
    message = house.send("sue@example.net", "bob@example.com")
    house.fall_back(house.store.find(f"{message}.1")[0], 1)
    assert house.run("delete", "--yes", f"{message}.1") == (0, "1 node deleted\n", "")
    assert [at.name.split("-")[1] for at in house.store.find(message)] == [f"{message}.0"]
    assert os.listdir(house.root / "spool/history") == []


def test_delete_all_takes_what_is_held_and_leaves_what_is_in_quarantine(house):
    house.node()
    house.hold(house.node()[1])
    message, at = house.node()
    kept = house.store.quarantine(at, "not liked")
    assert house.run("delete", "--yes", "ALL").out == "2 nodes deleted\n"
    assert list(house.store.locations()) == [kept]
    assert house.run("delete", "--yes", message).out == "1 node deleted\n"
    assert os.listdir(house.root / "spool/quarantine") == []


def test_delete_takes_the_name_of_what_has_no_id(house):
    (house.root / "spool/quarantine/rubbish").write_bytes(b"")
    assert house.run("delete", "--yes", "").code == 1
    assert house.run("delete", "--yes", "rubbish") == (0, "1 node deleted\n", "")


def test_delete_of_an_unknown_id_asks_nothing_and_ends_with_1(house):
    ran = house.run("delete", "0NOSUCH")
    assert (ran.code, ran.out) == (1, "0 nodes deleted\n")
