# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A whole spool has no finding; each damage is found, by its path; what can be mended is, without loss, for good."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailspool.cli.fsck import SETTLING
from mailspool.errors import ClaimLost
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt
from mailspool.store import fsops
from mailspool.store.base import Location, State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.fsck.examine import examine, repair
from mailspool.store.nodename import folder_of, new_id

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
NOW = 1_700_000_000
TIERS = 3
ME = this_owner()
DEAD = ME._replace(start=1)
ELSEWHERE = ME._replace(host="elsewhere")


def no_pause():
    """Nothing moves in a spool of a test's own."""


def queued(name, tier=0):
    return Location(State.QUEUED, tier, name)


class House:
    """A spool with mail in every state, all of it as it ought to be."""

    def __init__(self, root):
        self.store = FileStore(root, ME)
        self.store.create(TIERS)
        self.root = Path(root)
        self.sent = []
        self.plain = self.send()
        self.deferred = self.send()
        self.store.record(self.node_id(self.deferred), [Attempt(NOW, 0, "mx.a.example", "4.4.1", "later")])
        self.store.move(queued(self.deferred), queued(self.deferred, 1))
        self.store.claim(queued(self.send()), "w1.1")
        self.elsewhere = FileStore(root, ELSEWHERE).claim(queued(self.send()), "w1.1")
        self.held = self.store.move(queued(self.send()), Location(State.HELD, 0, self.sent[-1]))
        self.aside = self.store.quarantine(queued(self.send()), "not liked")
        drafts = (f"incoming/ABC~{ME}", f"incoming/ABC.3~{ELSEWHERE}")
        for name in (*drafts, f"hosts/{ME}", f"hosts/{ELSEWHERE}~status", "imported"):
            self.put(name, b"")

    def send(self, *addresses, arrival=NOW):
        to = tuple(map(Recipient, addresses or ["joe@a.example"]))
        envelope = Envelope(new_id(NOW, os.urandom), "me@b.example", to, arrival)
        names = self.store.accept(envelope, [MESSAGE], NOW)
        self.sent += names
        return names[0]

    def path(self, name):
        return self.root / name

    def put(self, name, content=b"odd"):
        path = self.path(name)
        path.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        path.write_bytes(content)
        path.chmod(0o600)

    @staticmethod
    def node_id(name):
        return name.split("-")[1]

    def findings(self, pause=no_pause):
        return examine(self.store, TIERS, pause)

    def nodes(self):
        """How many there are, wherever they are."""
        return len(list(self.store.locations()))

    def everything(self):
        found = {}
        for folder, folders, files in os.walk(self.root):
            for name in (".", *folders, *files):
                facts = os.lstat(f"{folder}/{name}")
                found[f"{folder}/{name}"] = (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_mode)
        return found


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "spool")


# --- how to damage a spool: each returns where


def put(house, name):
    house.put(name)
    return name


def tear(house, name):
    path = house.path(name)
    path.write_bytes(path.read_bytes()[:-1])
    return name


def rename(house, old, new):
    house.path(old).rename(house.path(new))
    return new


def mode(house, name, bits):
    house.path(name).chmod(bits)
    return name


def link(house, old, new):
    house.path(new).parent.mkdir(mode=0o700, exist_ok=True, parents=True)
    os.link(house.path(old), house.path(new))
    return new


def remove(house, name):
    house.path(name).unlink()
    return name


def without(house, name):
    for inner in house.path(name).iterdir():
        inner.unlink()
    house.path(name).rmdir()
    return name


def of_kind(make):
    def damage(house):
        name = f"0/{NOW}-{new_id(NOW, os.urandom)}.0-a.example"
        make(house.path(name))
        return name

    return damage


def dead_claim(house):
    claim = FileStore(house.root, DEAD).claim(queued(house.send()), "w1.1")
    return f"claimed/{DEAD}/0/{claim.name}"


def dead_claim_beyond(house):
    name = house.send()
    house.store.move(queued(name), queued(name, 7))
    FileStore(house.root, DEAD).claim(queued(name, 7), "w1.1")
    shutil.rmtree(house.path("7"))
    return f"claimed/{DEAD}/7/{name}~w1.1"


def beyond(house):
    name = house.send()
    house.store.move(queued(name), queued(name, 5))
    return "5"


def deferred(house):
    return f"1/{folder_of(house.deferred)}/{house.deferred}"


def by_hand(house):
    name = house.send()
    return rename(house, f"0/{name}", f"1/{name}")


def beside(house):
    name = house.send()
    house.store.move(queued(name), queued(name, 1))
    link(house, f"1/{folder_of(name)}/{name}", f"1/{name}")
    return f"1/{folder_of(name)}/{name}"


def another_name(old, new):
    def damage(house):
        name = house.send()
        return rename(house, f"0/{name}", f"0/{name.replace(old, new)}")

    return damage


def another_id(house):
    name, other = house.send(), new_id(NOW, os.urandom)
    return rename(house, f"0/{name}", f"0/{NOW}-{other}.0-a.example")


def timeless_id(house):
    names = house.store.accept(Envelope("XYZ", "", (Recipient("a@a.example"),), NOW), [MESSAGE], NOW)
    return f"0/{names[0]}"


def orphan_history(house):
    house.store.record("ABC.0", [Attempt(NOW, 0, "", "", "")])
    return "history/ABC.0"


MENDED = {
    "no node": lambda house: put(house, "0/rubbish"),
    "no node, held": lambda house: put(house, "held/0/rubbish"),
    "torn": lambda house: tear(house, f"0/{house.send()}"),
    "torn in a deeper tier": lambda house: tear(house, deferred(house)),
    "torn, and put there by hand": lambda house: tear(house, by_hand(house)),
    "in its folder and beside it": beside,
    "a folder is open": lambda house: mode(house, Path(deferred(house)).parent, 0o755),
    "torn and held": lambda house: tear(house, f"held/0/{house.held.name}"),
    "an empty file": of_kind(lambda path: path.touch(mode=0o600)),
    "a symbolic link": of_kind(lambda path: path.symlink_to("/etc/passwd")),
    "a FIFO": of_kind(os.mkfifo),
    "a directory": of_kind(Path.mkdir),
    "no such recipient": another_name(".0-", ".1-"),
    "another destination": another_name("a.example", "evil.example"),
    "another message's id": another_id,
    "an id without a time": timeless_id,
    "queued too": lambda house: link(house, f"held/0/{house.held.name}", f"0/{house.held.name}"),
    "in two tiers": lambda house: link(house, deferred(house), f"0/{house.deferred}"),
    "claimed too": lambda house: link(
        house, f"claimed/{ELSEWHERE}/0/{house.elsewhere.name}", f"1/{house.elsewhere.node}"
    ),
    "a dead owner's claim": dead_claim,
    "a dead owner's claim, torn": lambda house: tear(house, dead_claim(house)),
    "a dead owner's claim out of a tier beyond": dead_claim_beyond,
    "a tier beyond": beyond,
    "a history without node": orphan_history,
    "a reason without node": lambda house: put(house, "quarantine/gone.reason"),
    "a node without reason": lambda house: put(house, "quarantine/odd"),
    "written by a dead owner": lambda house: put(house, f"incoming/ABC~{DEAD}"),
    "copied by a dead owner": lambda house: put(house, f"incoming/ABC.1~{DEAD}"),
    "a dead owner's lease": lambda house: put(house, f"hosts/{DEAD}"),
    "the spool is open": lambda house: mode(house, ".", 0o750),
    "a tier is open": lambda house: mode(house, "0", 0o755),
    "claims are open": lambda house: mode(house, f"claimed/{ELSEWHERE}/0", 0o711),
    "a message file is open": lambda house: mode(house, f"0/{house.plain}", 0o644),
    "a quarantined file is open": lambda house: mode(house, f"quarantine/{house.aside.name}", 0o640),
    "a history is open": lambda house: mode(house, f"history/{house.node_id(house.deferred)}", 0o666),
    "the record of imports is open": lambda house: mode(house, "imported", 0o644),
    "no hosts": lambda house: without(house, "hosts"),
    "no tier": lambda house: without(house, "2"),
}


def another_message(house):
    """The same id twice, over copies: which is right?"""
    name = house.send("joe@a.example", "sue@a.example")
    sibling = house.path(f"0/{name.replace('.0-', '.1-')}")
    copy = sibling.read_bytes().replace(b"me@b.example", b"xx@b.example")
    sibling.unlink()
    house.put(f"0/{sibling.name}", copy)
    return [f"0/{sibling.name}", f"0/{name}"]


def file_for_directory(house):
    without(house, "2")
    return put(house, "2")


LEFT = {
    "a foreign name in the spool": lambda house: put(house, "README"),
    "a foreign name in held": lambda house: put(house, "held/README"),
    "a foreign name among owners": lambda house: put(house, "claimed/README"),
    "a foreign name among claims": lambda house: put(house, f"claimed/{ELSEWHERE}/README"),
    "a foreign name in history": lambda house: put(house, "history/README"),
    "a foreign name in incoming": lambda house: put(house, "incoming/README"),
    "a foreign name in hosts": lambda house: put(house, "hosts/README"),
    "a file for a directory": file_for_directory,
    "a file for a folder": lambda house: put(house, "1/1000000-ABCD"),
    "a torn claim of another host": lambda house: tear(house, f"claimed/{ELSEWHERE}/0/{house.elsewhere.name}"),
    "another message of the same id": another_message,
    "an arrival that is not the id's": lambda house: f"0/{house.send(arrival=NOW + 3600)}",
}


# --- the promises


def test_a_spool_with_mail_in_every_state_has_no_finding_and_looking_writes_nothing(house):
    for name in ("usage", "lost+found"):
        house.path(name).mkdir()
    house.put("0/.nfs0001")
    before = house.everything()
    assert house.findings() == []
    assert house.everything() == before


def test_a_spool_just_made_has_no_finding(spool):
    assert examine(spool, TIERS, no_pause) == []


def test_copies_of_one_message_where_nothing_can_be_linked_are_no_finding(house, monkeypatch):
    def refuse(source, target):
        raise fsops.CannotLink(target)

    monkeypatch.setattr(fsops, "link", refuse)
    house.send("a@a.example", "b@b.example")
    assert house.findings() == []


@pytest.mark.parametrize("damage", MENDED)
def test_what_can_be_mended_is_found_by_looking_only_and_mended_for_good_with_every_node_kept(house, damage):
    name = MENDED[damage](house)
    before, kept = house.everything(), house.nodes()
    (finding,) = house.findings()
    assert Path(finding.path) == house.path(name)
    assert finding.mend
    assert house.everything() == before
    (done,) = repair([finding])
    assert (done.trouble, done.moved) == ("", False)
    assert house.findings() == []
    assert house.nodes() == kept


@pytest.mark.parametrize("damage", LEFT)
def test_what_a_person_must_judge_is_found_and_never_touched(house, damage):
    name = LEFT[damage](house)
    before = house.everything()
    (finding,) = house.findings()
    assert Path(finding.path) in [house.path(each) for each in ([name] if isinstance(name, str) else name)]
    assert finding.mend is None
    (done,) = repair([finding])
    assert done.trouble == finding.cure != ""
    assert house.everything() == before


def test_what_stands_in_a_folder_of_others_is_led_out_to_where_it_is_seen(house):
    name = house.send()
    house.path("1/1000000-ABCD").mkdir(mode=0o700)
    rename(house, f"0/{name}", f"1/1000000-ABCD/{name}")
    house.put(f"1/{folder_of(house.deferred)}/rubbish")
    before = house.everything()
    strays = house.findings()
    assert {Path(finding.path).name for finding in strays} == {name, "rubbish"}
    assert house.everything() == before
    assert [done.trouble for done in repair(strays)] == ["", ""]
    (rubbish,) = house.findings()
    assert Path(rubbish.path) == house.path("1/rubbish")
    assert [done.trouble for done in repair([rubbish])] == [""]
    assert house.findings() == []
    assert name in house.store.names(1)


def test_who_has_left_a_folder_of_others_is_not_led_out_of_it(house):
    name = house.send()
    house.path("1/1000000-ABCD").mkdir(mode=0o700)
    path = house.path(rename(house, f"0/{name}", f"1/1000000-ABCD/{name}"))
    findings = house.findings()
    path.rename(house.path(f"1/{name}"))
    assert [(done.trouble, done.moved) for done in repair(findings)] == [("", True)]
    assert house.findings() == []


@given(st.sets(st.sampled_from(sorted(MENDED))))
@settings(max_examples=15, deadline=None)
def test_several_damages_are_mended_together_in_at_most_two_runs(tmp_path_factory, damages):
    house = House(tmp_path_factory.mktemp("several") / "spool")
    for damage in sorted(damages):
        MENDED[damage](house)
    kept = house.nodes()
    assert bool(house.findings()) == bool(damages)
    for _ in range(2):
        left = [each for each in repair(house.findings()) if each.trouble]
    assert left == []
    assert house.findings() == []
    assert house.nodes() == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_anothers_is_told_with_the_command_that_gives_it_back(house):
    os.chown(house.path(f"0/{house.plain}"), 4711, -1)
    (finding,) = house.findings()
    assert (finding.mend, "chown" in finding.cure, "4711" in finding.fault) == (None, True, True)


# --- what moves


def test_what_is_whole_at_the_second_look_is_no_finding(house):
    house.put("quarantine/odd.reason", b"")
    assert house.findings(lambda: house.put("quarantine/odd")) == []


def test_a_whole_spool_is_looked_at_once(house):
    def never():
        raise AssertionError

    assert house.findings(never) == []


def whole_again(house, path):
    path.write_bytes(path.read_bytes() + b"\n")


MOVED_ON = {
    "a torn node was delivered": ("torn", lambda house, path: path.unlink()),
    "a torn node is whole": ("torn", whole_again),
    "a second name was removed": ("queued too", lambda house, path: path.unlink()),
    "the first name was removed": ("in two tiers", lambda house, path: house.path(deferred(house)).unlink()),
    "what was beside it was removed": ("in its folder and beside it", lambda house, path: path.unlink()),
    "a reason's node came": ("a reason without node", lambda house, path: house.put("quarantine/gone")),
    "a node's reason came": ("a node without reason", lambda house, path: house.put("quarantine/odd.reason")),
    "a directory was made": ("no tier", lambda house, path: path.mkdir(mode=0o700)),
    "a history's node came": ("a history without node", lambda house, path: house.put("0/1-ABC.0-a.example")),
    "an open file went": ("a message file is open", lambda house, path: path.unlink()),
    "a draft went": ("written by a dead owner", lambda house, path: path.unlink()),
}


@pytest.mark.parametrize("case", MOVED_ON)
def test_what_has_moved_on_before_the_repair_is_left_alone(house, case):
    damage, move = MOVED_ON[case]
    path = house.path(MENDED[damage](house))
    findings = house.findings()
    move(house, path)
    before = house.everything()
    assert [(done.trouble, done.moved) for done in repair(findings)] == [("", True)]
    assert house.everything() == before


def test_no_claim_is_taken_from_an_owner_that_lives(house, monkeypatch):
    dead_claim(house)
    (finding,) = house.findings()
    monkeypatch.setattr("mailspool.store.fsck.finding.has_ended", lambda owner, me: False)
    with pytest.raises(ClaimLost):
        finding.mend()
    assert house.findings() == []


def test_a_mode_is_never_set_through_a_symbolic_link(tmp_path):
    target, name = tmp_path / "target", tmp_path / "name"
    target.write_text("")
    target.chmod(0o644)
    name.symlink_to(target)
    with pytest.raises(ClaimLost):
        fsops.set_mode(str(name), 0o600, os.geteuid())
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_busy_spool_has_no_finding(house):
    """A child claims, seals, falls back, holds, quarantines and ends nodes as fast as it can."""
    pid = os.fork()
    if pid == 0:
        try:
            store = FileStore(house.root, this_owner())
            for number in range(1_000_000):
                _life(store, number)
        finally:
            os._exit(1)
    try:
        for _ in range(5):
            assert house.findings(lambda: time.sleep(SETTLING)) == []
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)  # it is at it still
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _life(store, number):
    envelope = Envelope(new_id(NOW, os.urandom), "", (Recipient("a@a.example"),), NOW)
    (name,) = store.accept(envelope, [MESSAGE], NOW)
    later = f"{NOW + 1}-{name.partition('-')[2]}"
    claim = store.seal(store.claim(queued(name), f"w1.{number}.1"))
    store.record(House.node_id(name), [Attempt(NOW, 0, "", "", "")])
    held = store.move(store.move(claim, queued(later, 1)), Location(State.HELD, 1, later))
    aside = store.quarantine(held, "why")
    store.delete(store.claim(store.move(aside, queued(name, 2)), f"w1.{number}.2"))
