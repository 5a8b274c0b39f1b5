# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool import` reports first, asks, does it once, and says what it has left and why."""

import json
import os

import pytest

from mailspool.model.envelope import Envelope, Recipient
from mailspool.store.base import State
from mailspool.store.imported import FILE, Imported, Record, Stage
from tests.running import eventually

ID = "80EA68E2D942BA85"
BODY = b"Subject: hello\n\nhello\n"
NODES = {
    f"0/1007000000-{ID}-joe@a.example-me@b.example": BODY,
    f"3/1007000001-{ID}-joe-smith@a-b.example-": BODY,
    f"0/1007000000-{ID}-joe@a.example-me@b.example.NFSLock": b"",
}
UNREADABLE = {
    "0/what is this": BODY,
    f"1/1007000000-{ID}-sue@a.example-": b"",
    f"2/1007000000-{ID}-sue-": BODY,
}


@pytest.fixture
def old(tmp_path):
    """A spool of the original's, all of which can be read."""
    return write(tmp_path / "old", NODES)


def write(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def addresses(house):
    return sorted(house.store.open(at).envelope.recipients[0].address for at in house.store.locations())


def test_it_reports_and_does_nothing_unless_somebody_says_yes(house, old):
    before = house.everything()
    ran = house.run("import", str(old))
    assert ran.code == 0
    assert f"{old}: 2 messages to 2 recipients to take over" in ran.out
    assert "the oldest of 2001-11-2" in ran.out or "the oldest of 2001-11-3" in ran.out
    assert "nothing was taken over: say --yes" in ran.out
    assert house.everything() == before


def test_yes_takes_all_over_once(house, old):
    ran = house.run("import", "--yes", str(old))
    assert (ran.code, ran.err) == (0, "")
    assert f"2 messages taken over; {old} is as it was" in ran.out
    assert addresses(house) == ["joe-smith@a-b.example", "joe@a.example"]
    assert {at.state for at in house.store.locations()} == {State.QUEUED}
    again = house.run("import", "--yes", str(old))
    assert again.code == 0
    assert "0 messages to 0 recipients to take over" in again.out
    assert "2 taken over before" in again.out
    assert len(addresses(house)) == 2


def test_what_cannot_be_read_is_listed_with_the_reason_and_left(house, old):
    write(old, UNREADABLE)
    ran = house.run("import", "--yes", str(old))
    assert ran.code == 1
    assert "3 cannot be read and will be left:" in ran.out
    assert "0/what is this: its name is not of the form TIME-ID-TO-FROM" in ran.out
    assert f"1/1007000000-{ID}-sue@a.example-: there is no message in it" in ran.out
    assert len(addresses(house)) == 2
    assert all((old / name).read_bytes() == content for name, content in UNREADABLE.items())


def test_a_name_without_a_domain_goes_where_our_aliases_say(house, tmp_path):
    """The configuration here has none, so it is left."""
    old = write(tmp_path / "old", {f"0/1007000000-{ID}-nobody.at.all-": BODY})
    ran = house.run("import", "--yes", str(old))
    assert ran.code == 1
    assert "nobody.at.all" in ran.out


def test_on_a_terminal_it_asks(house, old):
    refused = house.on_terminal("import", str(old), answer="n\n")
    assert refused.code == 1
    assert "Take over 2 messages?" in refused.out
    assert addresses(house) == []
    agreed = house.on_terminal("import", str(old), answer="y\n")
    assert agreed.code == 0
    assert len(addresses(house)) == 2


def test_a_dry_run_asks_nobody(house, old):
    ran = house.on_terminal("import", "--dry-run", str(old), answer="y\n")
    assert ran.code == 0
    assert "Take over" not in ran.out
    assert addresses(house) == []


def test_json_tells_one_object_a_line(house, old):
    write(old, UNREADABLE)

    def lines(*words):
        ran = house.run("import", "--json", *words, str(old))
        return sorted((json.loads(line) for line in ran.out.splitlines()), key=lambda line: line["name"])

    assert [line["state"] for line in lines()] == ["found", "left", "left", "left", "found"]
    imported = [line for line in lines("--yes") if line["state"] == "imported"]
    assert [(line["sender"], line["recipients"]) for line in imported] == [
        ("me@b.example", ["joe@a.example"]),
        ("", ["joe-smith@a-b.example"]),
    ]
    assert all(house.store.find(line["queue_id"]) for line in imported)
    assert {line["queue_id"] for line in lines() if line["state"] == "before"} == {
        line["queue_id"] for line in imported
    }


def test_ages_begin_anew_unless_they_are_to_be_kept(house, old):
    ran = house.run("import", "--keep-age", "--yes", str(old))
    assert "2 older than max_age: with --keep-age the next failure ends them" in ran.out
    assert all(house.store.open(at).envelope.arrival < 1_008_000_000 for at in house.store.locations())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{root}/nothing"], 64, "nothing' is no directory"),
        (["{root}/spool"], 64, "spool of mailspool's own"),
        (["{root}/run"], 64, "--from mail-spool or nullmailer or dma"),
        (["--from", "sendmail", "{root}"], 64, "--from"),
    ],
)
def test_what_makes_no_sense_is_refused(house, words, code, said):
    (house.root / "run").mkdir()
    ran = house.run("import", *(word.format(root=house.root) for word in words))
    assert (ran.code, said in ran.err) == (code, True), ran


def test_without_a_spool_it_says_how_to_make_one(bare, old):
    ran = bare.run("import", "--yes", str(old))
    assert ran.code == 75
    assert "start mailspoold" in ran.err


def test_a_second_import_at_the_same_time_is_refused(house, old):
    with Imported(house.store.root):
        ran = house.run("import", "--yes", str(old))
    assert ran.code == 75
    assert "another import" in ran.err


def test_what_an_earlier_import_had_begun_is_finished_and_told(house, old):
    store = house.store
    name = "1-A.0-a.example"
    store.accept(Envelope("A", "", (Recipient("joe@a.example"),), 1.0), [b"\r\n"], 1, State.HELD)
    with Imported(store.root) as imported:
        imported.add([Record("of another source", "A", 1, Stage.ACCEPTED)])
    ran = house.run("import", "--yes", str(old))
    assert "2 messages taken over, and 1 finished that an earlier import had begun" in ran.out
    assert name in store.names(0)


def test_looking_leaves_no_record(house, old):
    house.run("import", "--dry-run", str(old))
    assert not os.path.lexists(f"{house.store.root}/{FILE}")


def test_the_daemon_delivers_what_was_imported_while_it_runs(daemon, sink, house, old):
    running = daemon(sink=sink, dequeue_timeout=3600.0)
    house.config = running.config
    assert house.run("import", "--yes", str(old)).code == 0
    eventually(lambda: len(sink.recipients) == 2, what="both messages")
    assert house.run("import", "--yes", str(old)).code == 0
    assert sorted(sink.recipients) == ["joe-smith@a-b.example", "joe@a.example"]
