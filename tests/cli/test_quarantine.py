# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is in quarantine can be looked at as far as it can be read; it leaves only whole, or by an operator's word."""

import json
import os

import pytest

from mailspool.store import nodename
from mailspool.store.base import Location, State


def aside(house, *to, reason="not liked", damage=None):
    """A message in quarantine: its ID and its path. damage: what becomes of its octets."""
    message, at = house.node(*to)
    place = house.store.quarantine(at, reason)
    path = house.root / "spool/quarantine" / place.name
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    return message, path


def empty(house):
    return os.listdir(house.root / "spool/quarantine") == []


# --- list


def test_list_shows_what_is_in_quarantine_and_why_and_nothing_else(house):
    house.node()
    message, _ = aside(house, reason="its envelope is torn")
    ran = house.run("quarantine", "list")
    assert ran.code == 0
    assert message in ran.out
    assert "its envelope is torn" in ran.out
    assert ran.out.endswith("in 1 Request, 1 node.\n")
    (line,) = house.run("quarantine", "list", "--json").out.splitlines()
    assert (json.loads(line)["queue_id"], json.loads(line)["queue_name"]) == (message, "quarantined")


def test_an_empty_quarantine_says_so(house):
    house.node()
    assert house.run("quarantine", "list") == (0, "Nothing is in quarantine\n", "")
    assert house.run("quarantine", "list", "--domain", "example.org").out == "Nothing fits\n"


def test_list_and_show_write_nothing(house):
    message, _ = aside(house)
    aside(house, damage=lambda content: content[:50])
    before = house.everything()
    for words in (["list"], ["show", message], ["show"], ["list", "--json"], ["show", "--json"]):
        assert house.run("quarantine", *words).code == 0
    assert house.everything() == before


# --- show


def test_show_tells_reason_envelope_and_first_lines(house):
    message, _ = aside(house, reason="nobody can be told")
    ran = house.run("quarantine", "show", message)
    assert ran.code == 0
    for text in ("nobody can be told", "from <joe@example.org> to <sue@example.net>", "| Subject: hello", "whole"):
        assert text in ran.out
    assert "|" not in house.run("quarantine", "show", message, "--lines", "0").out
    shown = json.loads(house.run("quarantine", "show", "--json", message).out)
    assert (shown["reason"], shown["fault"], shown["envelope"]["id"]) == ("nobody can be told", "", message)
    assert "Subject: hello" in shown["lines"]


def test_show_reads_what_is_left_of_a_torn_file(house):
    message, _ = aside(house, damage=lambda content: content[:-3])
    ran = house.run("quarantine", "show", message)
    assert ran.code == 0
    assert "shorter than its envelope says" in ran.out
    assert "from <joe@example.org>" in ran.out
    assert "| Subject: hello" in ran.out


@pytest.mark.parametrize("content", [b"", b"\x1b[2Jrubbish\xff\n", b" " * 300 + b"\nSubject: x\r\n", b'{"id": 1}\n'])
def test_show_shows_whatever_is_there_without_letting_it_steer_the_terminal(house, content):
    (house.root / "spool/quarantine/odd").write_bytes(content)
    for words in ([], ["--json"]):
        ran = house.run("quarantine", "show", "odd", *words)
        assert ran.code == 0
        assert "\x1b" not in ran.out
    assert json.loads(ran.out)["envelope"] is None


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_what_is_no_file_is_never_followed_and_said_to_be_none(house, kind, tmp_path):
    odd = house.root / "spool/quarantine/odd"
    (tmp_path / "secret").write_text("secret words")
    {"symlink": lambda: odd.symlink_to(tmp_path / "secret"), "fifo": lambda: os.mkfifo(odd), "directory": odd.mkdir}[
        kind
    ]()
    ran = house.run("quarantine", "show", "odd")
    assert (ran.code, "secret words" in ran.out) == (0, False)
    assert "is no regular file" in ran.out
    assert "is no regular file" in house.run("quarantine", "restore", "odd").err


# --- restore


def test_what_is_whole_is_put_back_into_tier_0_due_now(house):
    message, _ = aside(house)
    ran = house.run("quarantine", "restore", message)
    assert (ran.code, ran.out.partition(";")[0]) == (0, "1 node restored")
    (now,) = house.store.find(message)
    assert now == Location(State.QUEUED, 0, f"0-{message}.0-example.net")
    assert empty(house)


@pytest.mark.parametrize("command", [["quarantine", "restore"], ["release"]])
def test_the_ending_that_a_name_got_in_quarantine_does_not_send_it_elsewhere(house, command):
    (house.root / "spool/quarantine/kept").write_text("")
    message, path = aside(house)
    path.rename(f"{path}.2")
    assert house.run(*command, message).code == 0
    (now,) = house.store.find(message)
    assert nodename.parse(now.name).destination == "example.net"


def test_a_name_that_tells_nothing_will_do_for_a_message_to_one(house):
    message, path = aside(house)
    path.rename(path.with_name("lost"))
    assert house.run("quarantine", "restore", "lost").code == 0
    assert [at.name for at in house.store.find(message)] == [f"0-{message}.0-example.net"]


DAMAGES = {
    "shorter": lambda content: content[:-1],
    "longer": lambda content: content + b"\r\n",
    "no envelope": lambda content: b"\r\n".join(content.split(b"\r\n")[1:]),
    "empty": lambda content: b"",
    "blank": lambda content: b" " * (content.index(b"\n")) + content[content.index(b"\n") :],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", [["quarantine", "restore"], ["release"]])
def test_what_is_not_whole_stays_with_the_reason_and_the_fix(house, damage, command):
    message, path = aside(house, damage=DAMAGES[damage])
    before = path.read_bytes()
    ran = house.run(*command, message)
    assert (ran.code, ran.out[:2]) == (1, "0 ")
    assert f"{message}.0 stays in quarantine: " in ran.err
    assert f"mailspool quarantine delete {message}.0" in ran.err
    assert path.read_bytes() == before


def test_a_name_of_another_message_is_not_put_back(house):
    _, path = aside(house)
    other, _ = house.node()
    path.rename(path.with_name(f"0-{other}.0-example.net"))
    ran = house.run("quarantine", "restore", other)
    assert ran.code == 1
    assert "does not tell which of the 1 recipients" in ran.err


def test_a_node_that_is_queued_already_is_not_put_back_beside_itself(house):
    message, at = house.node()
    path = house.root / "spool/0" / at.name
    os.link(path, house.root / "spool/quarantine" / at.name)
    ran = house.run("quarantine", "restore", message)
    assert ran.code == 1
    assert "the same node is queued" in ran.err
    assert house.store.names(0) == [at.name]


# --- which


@pytest.mark.parametrize("command", ["restore", "delete"])
def test_nothing_chooses_nothing(house, command):
    aside(house)
    before = house.everything()
    ran = house.run("quarantine", command)
    assert (ran.code, ran.out) == (64, "")
    assert "or ALL for all of them" in ran.err
    assert house.everything() == before


@pytest.mark.parametrize("command", ["list", "show", "restore", "delete"])
def test_an_id_that_is_not_in_quarantine_is_told_and_left_alone(house, command):
    message, at = house.node()
    ran = house.run("quarantine", command, message)
    assert ran.code == 1
    assert f"{message} names nothing in quarantine; 'mailspool why {message}' tells where it is" in ran.err
    assert house.store.find(message) == [at]


def test_delete_needs_a_yes_and_takes_the_reason_too(house):
    message, _ = aside(house)
    sibling, at = house.node()
    ran = house.run("quarantine", "delete", "ALL")
    assert ran.code == 64
    assert "Delete 1 node of 1 message from 1 sender in quarantine for good, telling nobody?" in ran.err
    assert house.run("quarantine", "delete", "--yes", "ALL") == (0, "1 node deleted\n", "")
    assert empty(house)
    assert house.store.find(message) == []
    assert house.store.find(sibling) == [at]


def test_selectors_choose_by_envelope(house):
    message, _ = aside(house, "sue@example.net")
    aside(house, "bob@example.com")
    assert house.run("quarantine", "restore", "--to", "sue@example.net").out.startswith("1 node restored")
    assert [at.state for at in house.store.find(message)] == [State.QUEUED]
