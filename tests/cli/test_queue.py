# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool queue` promises: every node, in 80 columns or as JSON, each message file opened once."""

import json
import os
import re
from contextlib import contextmanager

import pytest

from mailspool.cli import nodes, queue, sendmail
from mailspool.cli.queue import with_trouble
from mailspool.spool import Spool
from mailspool.store.base import Location, State
from mailspool.store.filesystem import FileStore


def read(store):
    return with_trouble(store, store.tried(), nodes.read(store, nodes.once(store.locations())))


def listed(house):
    return [json.loads(line) for line in house.run("queue", "--json").out.splitlines()]


def test_an_empty_spool_is_an_empty_queue(house):
    assert house.run("queue") == (0, "Mail queue is empty\n", "")
    assert house.run("queue", "--json") == (0, "", "")


def test_each_message_is_followed_by_its_nodes_and_what_went_wrong(house):
    message = house.send("sue@example.net", "bob@example.com")
    house.fall_back(house.store.find(f"{message}.1")[0], 2)
    lines = house.run("queue").out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(message))
    assert lines[at].split()[3:] == ["joe@example.org"]
    assert lines[at + 1].split() == [".0", "tier", "0", "sue@example.net"]
    assert lines[at + 2].split() == [".1", "tier", "2", "bob@example.com"]
    assert lines[at + 3].strip() == "451 4.7.1 Greylisted, come again"
    assert re.fullmatch(r"-- 1 Kbytes in 1 Request, 2 nodes\.", lines[-1])


def test_messages_stand_in_the_order_of_their_arrival(house):
    clock = iter(range(1000, 1100))
    house.spool.now = lambda: next(clock)
    messages = [house.send("sue@example.net") for _ in range(5)]
    assert [one["queue_id"] for one in listed(house)] == messages


def test_nodes_stand_in_the_order_of_the_recipients(house):
    house.send(*(f"r{n}@example.net" for n in range(12)))
    assert [one["recipients"][0]["address"] for one in listed(house)] == [f"r{n}@example.net" for n in range(12)]


def test_every_state_is_told(house):
    states = {}
    for state in State:
        message, at = house.node(from_="" if state is State.HELD else "joe@example.org")
        states[f"{message}.0"] = str(state)
        if state is State.CLAIMED:
            house.claim(at)
        elif state is State.HELD:
            house.hold(at)
        elif state is State.QUARANTINED:
            house.store.quarantine(at, "a reason")
    assert {one["node"]: one["queue_name"] for one in listed(house)} == states
    text = house.run("queue").out
    assert all(word in text for word in ("tier 0", "claimed", "held", "quarantined", "a reason", "<>"))


def test_json_has_the_names_of_postqueue_and_ours(house):
    message, at = house.node()
    house.claim(house.fall_back(at, 1))
    (one,) = listed(house)
    assert one.pop("arrival_time") == int(house.store.open(house.store.find(message)[0]).envelope.arrival)
    assert one.pop("message_size") > 100
    assert one == {
        "queue_name": "claimed",
        "queue_id": message,
        "sender": "joe@example.org",
        "recipients": [{"address": "sue@example.net", "delay_reason": "451 4.7.1 Greylisted, come again"}],
        "tier": 1,
        "node": f"{message}.0",
        "destination": "example.net",
        "owner": str(house.store.owner),
    }


def test_what_has_never_failed_has_no_delay_reason(house):
    house.node()
    assert listed(house)[0]["recipients"] == [{"address": "sue@example.net"}]


@pytest.mark.parametrize("columns", [80, 132])
def test_nothing_is_wider_than_the_terminal_and_nothing_steers_it(house, columns):
    _, at = house.node(f"{'x' * 60}@{'y' * 60}.example.net", from_=f"{'s' * 60}@{'d' * 60}.example.org")
    house.fall_back(at, 1, text="451 4.0.0 \x1b[2J\x07 a host may say anything " * 5)
    out = house.on_terminal("queue", columns=columns, NO_COLOR="1").out
    assert max(map(len, out.splitlines())) == columns
    assert "\x1b" not in out
    assert "\\x1b[2J" in out


def test_a_pipe_gets_all_of_each_line(house):
    recipient, sender = f"{'x' * 60}@{'y' * 60}.example.net", f"{'s' * 60}@{'d' * 60}.example.org"
    _, at = house.node(recipient, from_=sender)
    house.fall_back(at, 1, text=f"451 4.0.0 {'word ' * 50}end")
    out = house.run("queue").out
    assert all(text in out for text in (recipient, sender, "word end\n"))


def test_colour_is_for_terminals_that_want_it(house):
    house.hold(house.node()[1])
    assert "\x1b[33mheld" in house.on_terminal("queue").out
    assert "\x1b" not in house.on_terminal("queue", NO_COLOR="1").out
    assert "\x1b" not in house.run("queue").out


def test_what_cannot_be_read_is_listed_with_the_reason(house):
    (house.root / "spool/0/rubbish").write_bytes(b"no envelope")
    house.node()
    ours = next(one for one in listed(house) if one["queue_id"] == "rubbish")
    assert "envelope" in ours["recipients"][0]["delay_reason"]
    assert "rubbish" in house.run("queue").out


def test_a_name_that_is_no_text_is_listed(house):
    (house.root / os.fsdecode(b"spool/quarantine/\xff\x1b-x.0-y")).write_bytes(b"")
    assert listed(house)[0]["node"] == "x.0"
    assert house.run("queue").code == 0


class Moving(FileStore):
    """Where one node moves on between the look and the reading."""

    def locations(self):
        yield Location(State.QUEUED, 0, "1-GONE.0-example.net")
        yield from super().locations()


def test_a_node_that_moves_on_meanwhile_is_left_out(house):
    message, _ = house.node()
    rows = list(read(Moving(house.store.root, house.store.owner)))
    assert [row.at.name.split("-")[1] for row in rows] == [f"{message}.0"]


class Twice(FileStore):
    """Where a node is claimed while the names are read, and so seen in both places."""

    def locations(self):
        names = list(super().locations())
        yield from names
        yield self.claim(names[0], "w1.1")


def test_a_node_that_is_seen_twice_is_listed_once_where_it_is_now(house):
    house.node()
    (row,) = read(Twice(house.store.root, house.store.owner))
    assert row.at.state is State.CLAIMED


class Counting(FileStore):
    """How often a message file is opened, and which histories."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.opened, self.asked = 0, []

    @contextmanager
    def envelopes(self):
        def counted(location):
            self.opened += 1
            return envelope_of(location)

        with super().envelopes() as envelope_of:
            yield counted

    def history(self, node_id):
        self.asked.append(node_id)
        return super().history(node_id)


def test_the_envelope_is_read_once_for_all_nodes_of_a_message(house):
    house.send(*(f"r{n}@example.net" for n in range(50)))
    store = Counting(house.store.root, house.store.owner)
    assert len(list(read(store))) == 50
    assert store.opened == 1


def test_a_history_is_looked_for_only_where_there_is_one(house):
    message = house.send(*(f"r{n}@example.net" for n in range(9)))
    house.fall_back(house.store.find(f"{message}.3")[0], 2)
    store = Counting(house.store.root, house.store.owner)
    assert [row.number for row in read(store) if row.trouble] == ["3"]
    assert store.asked == [f"{message}.3"]


class Listening(FileStore):
    """What has been said when each message file is opened."""

    def __init__(self, heard, *arguments):
        super().__init__(*arguments)
        self.heard, self.said = heard, []

    @contextmanager
    def envelopes(self):
        def listening(location):
            self.said.append(self.heard().out)
            return envelope_of(location)

        with super().envelopes() as envelope_of:
            yield listening


def test_the_listing_begins_before_the_last_message_is_read(house, capsys, monkeypatch):
    messages = sorted(house.node()[0] for _ in range(3))
    store = Listening(capsys.readouterr, house.store.root, house.store.owner)
    monkeypatch.setattr(Spool, "store", store)
    house.run("queue")
    assert store.said[0] == ""
    assert messages[0] in store.said[1]


@pytest.mark.parametrize("words", [[], ["--json"], ["--to", "r1@*"]], ids=" ".join)
def test_a_long_list_is_the_same_whoever_makes_it(house, words, monkeypatch):
    for number in range(40):
        message = house.send(*(f"r{n}@example.net" for n in range(1 + number % 3)))
        if number % 3:
            house.fall_back(house.store.find(f"{message}.0")[0], number % 3)
    monkeypatch.setattr(queue, "_SHARE", 1)
    lists = set()
    for processors in ({0}, {0, 1}, {0, 1, 2}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, some=processors: some)
        ran = house.run("queue", *words)
        assert ran.code == 0
        lists.add(re.sub(r" +[0-9]+s  ", "  ", ran.out))  # an age may change meanwhile
    (out,) = lists
    assert out.count("r1@example.net") == 26


def chosen(house, *words):
    return [json.loads(line)["node"] for line in house.run("queue", "--json", *words).out.splitlines()]


def test_selectors_list_what_fits_all_of_them(house):
    one, two = house.send("sue@example.net", "bob@example.com"), house.send("sue@example.net", from_="")
    house.hold(house.store.find(f"{one}.1")[0])
    assert chosen(house, "--to", "sue@example.net") == sorted([f"{one}.0", f"{two}.0"])  # of one second: any order
    assert chosen(house, "--to", "sue@*", "--from", "<>") == [f"{two}.0"]
    assert chosen(house, "--domain", "example.com", "--held") == [f"{one}.1"]
    assert chosen(house, "--id", one, "--queued") == [f"{one}.0"]
    assert chosen(house, "--held", "--queued") == sorted([f"{one}.0", f"{one}.1", f"{two}.0"])
    assert chosen(house, "--older", "1h") == []
    assert chosen(house, "--younger", "1h", "--limit", "1") == [f"{min(one, two)}.0"]
    assert house.run("queue", "--tier", "1-").out == "No node fits\n"


def test_count_is_just_the_number_of_nodes(house):
    house.send(*(f"r{n}@example.net" for n in range(5)))
    assert house.run("queue", "--count").out == "5\n"
    assert house.run("queue", "--count", "--to", "r3@*").out == "1\n"
    assert house.run("queue", "--count", "--domain", "example.com").out == "0\n"


def test_an_unknown_id_is_told_and_ends_with_1(house):
    message, _ = house.node()
    ran = house.run("queue", message, "0NOSUCH")
    assert ran.code == 1
    assert message in ran.out
    assert "0NOSUCH names no node" in ran.err


@pytest.mark.parametrize(
    ("words", "opened"), [(["--domain", "d3.example"], 0), (["--tier", "2"], 0), (["--from", "@example.org"], 10)]
)
def test_envelopes_are_read_only_for_addresses(house, words, opened, monkeypatch):
    for n in range(10):
        house.send(f"sue@d{n}.example")
    store = Counting(house.store.root, house.store.owner)
    monkeypatch.setattr(Spool, "store", store)
    house.run("queue", "--count", *words)
    assert store.opened == opened


@pytest.mark.parametrize(
    "value",
    [["--older", "5"], ["--tier", "x"], ["--from", "joe"], ["--domain", "not a name"], ["--limit", "-1"]],
    ids=" ".join,
)
def test_a_selector_that_makes_no_sense_is_named_with_its_value(house, value):
    ran = house.run("queue", *value)
    assert ran.code == 64
    assert value[0] in ran.err
    assert value[1] in ran.err


def test_scripts_that_count_messages_in_mailq_find_what_they_look_for(house):
    for _ in range(3):
        house.send("sue@example.net", "bob@example.com")
    lines = house.run("queue").out.splitlines()
    assert sum(bool(re.match(r"[A-Z0-9]", line)) for line in lines) == 3
    assert re.match(r"--[\s]+[\d]+[\s]+Kbytes[\s]+in[\s]+(\d+)[\s]+Request", lines[-1])[1] == "3"
    assert lines[-1].split()[4] == "3"


@pytest.mark.parametrize("words", [["mailq", "-C"], ["sendmail", "-bp", "-C"]])
def test_mailq_is_the_same_list(house, capsys, words):
    message, _ = house.node()
    assert sendmail.main([*words, str(house.config)]) == 0
    assert message in capsys.readouterr().out
