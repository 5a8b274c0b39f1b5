# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool fsck` tells each finding in a line, repairs after a question, and disturbs no daemon."""

import json
import os

import pytest

from mailspool.cli import fsck
from mailspool.cli.admin import main
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from tests.running import eventually

MESSAGE = "Subject: hello\n\nworld\n"


@pytest.fixture
def damaged(house, monkeypatch):
    """What is no node, what nobody knows, and what a dead owner claims; nothing moves."""
    monkeypatch.setattr(fsck, "SETTLING", 0.0)
    (house.root / "spool/0/rubbish").write_bytes(b"")
    (house.root / "spool/0/rubbish").chmod(0o600)
    (house.root / "spool/README").write_text("mine")
    message, at = house.node()
    FileStore(house.store.root, this_owner()._replace(start=1)).claim(at, "w1.1")
    house.message = message
    return house


def test_a_whole_spool_is_said_to_be_whole(house):
    house.node()
    before = house.everything()
    assert house.run("fsck") == (0, "the spool is whole\n", "")
    assert json.loads(house.run("fsck", "--json").out) == {"findings": []}
    assert house.run("fsck", "--repair") == (0, "the spool is whole\n", "")
    assert house.everything() == before


def test_each_finding_is_a_line_with_path_fault_and_cure_and_nothing_is_written(damaged):
    before = damaged.everything()
    ran = damaged.run("fsck")
    assert (ran.code, ran.err) == (1, "")
    *lines, end = ran.out.splitlines()
    assert end == "3 findings, 2 of which --repair mends"
    root = damaged.store.root
    assert any(line.startswith(f"{root}/0/rubbish: 'rubbish' is not a node name") for line in lines)
    assert any(line.endswith("; --repair: move it to quarantine") for line in lines)
    assert any(line.startswith(f"{root}/README: is no part of a spool; left alone: ") for line in lines)
    assert any("is claimed by an owner that has ended; --repair: return it to tier 0" in line for line in lines)
    assert damaged.everything() == before


def test_findings_are_one_object_for_programs(damaged):
    ran = damaged.run("fsck", "--json")
    assert ran.code == 1
    found = {os.path.basename(each["path"])[:7]: each for each in json.loads(ran.out)["findings"]}
    assert found["rubbish"]["repairable"]
    assert not found["README"]["repairable"]
    assert all(each["became"] == "" for each in found.values())
    done = json.loads(damaged.run("fsck", "--json", "--repair", "--yes").out)["findings"]
    assert sorted(each["became"] for each in done) == ["left", "repaired", "repaired"]


def test_repair_asks_and_where_nobody_can_be_asked_needs_yes(damaged):
    before = damaged.everything()
    ran = damaged.run("fsck", "--repair")
    assert ran.code == 64
    assert "Repair 2 of 3 findings?" in ran.err
    assert "say --yes" in ran.err
    assert damaged.everything() == before
    assert damaged.run("fsck", "--yes").code == 64


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 3), ("y", 1, 1)])
def test_repair_takes_no_for_an_answer(damaged, answer, code, left):
    assert damaged.on_terminal("fsck", "--repair", answer=f"{answer}\n").code == code
    assert len(json.loads(damaged.run("fsck", "--json").out)["findings"]) == left


def test_repair_mends_what_it_can_and_says_what_is_left(damaged):
    ran = damaged.run("fsck", "--repair", "--yes")
    assert ran.code == 1
    root = damaged.store.root
    assert f"repaired: {root}/0/rubbish\n" in ran.out
    assert f"left: {root}/README: left alone: " in ran.out
    assert ran.out.endswith("3 findings, 1 left\n")
    assert os.listdir(f"{root}/README".removesuffix("/README") + "/quarantine")
    assert [at.state for at in damaged.store.find(damaged.message)] == ["queued"]
    (damaged.root / "spool/README").unlink()
    assert damaged.run("fsck", "--repair", "--yes") == (0, "the spool is whole\n", "")


def test_where_there_is_no_spool_it_says_so(bare):
    ran = bare.run("fsck", "--repair", "--yes")
    assert ran.code == 75
    assert "there is no spool at" in ran.err


def test_a_spool_from_which_a_daemon_delivers_has_no_finding(daemon, make_spool, sink, capsys):
    options = {"sink": sink, "dequeue_timeout": 0.2}
    running, spool = daemon(**options), make_spool(**options)
    for _ in range(5):
        for _ in range(20):
            spool.send_mail(to=["joe@x.example", "sue@y.example"], from_="me@y.example", message=MESSAGE)
        assert main(["fsck", "-c", str(running.config)]) == 0, capsys.readouterr().out
    eventually(lambda: not list(spool.store.locations()))
    assert main(["fsck", "-c", str(running.config)]) == 0, capsys.readouterr().out
