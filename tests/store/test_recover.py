# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What dead owners held goes back, file by file; the living, other hosts and the unknown are left alone."""

import os
import signal
from pathlib import Path

import pytest

from mailspool.errors import ClaimLost, SpoolError
from mailspool.model.outcome import Attempt
from mailspool.store import fsops, recover
from mailspool.store.base import Location, State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
NOW = 1_700_000_000


def queued(name, tier=0):
    return Location(State.QUEUED, tier, name)


@pytest.fixture
def child():
    """Starts a child that runs an action as an owner of its own and then waits to be killed."""
    children = []

    def start(root, action):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                action(FileStore(root, this_owner()))
                os.write(writer, b"ready")
                signal.pause()
            finally:
                os._exit(1)
        os.close(writer)
        children.append(pid)
        try:
            assert os.read(reader, 5) == b"ready"
        finally:
            os.close(reader)
        return pid

    yield start
    for pid in children:
        kill(pid)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_a_killed_owners_claims_go_back_under_the_same_names(spool, letter, child):
    names = spool.accept(letter("a@a.example", "b@b.example", "c@c.example"), [MESSAGE], NOW)
    spool.move(queued(names[2]), queued(names[2], 2))

    def claim(store):
        store.claim(queued(names[0]), "w1.1")
        store.claim(queued(names[2], 2), "w2.1")

    pid = child(spool.root, claim)
    assert spool.recover() == []
    assert spool.names(0) == [names[1]]
    kill(pid)
    assert set(spool.recover()) == {queued(names[0]), queued(names[2], 2)}
    assert set(spool.locations()) == {queued(names[0]), queued(names[1]), queued(names[2], 2)}
    assert os.listdir(f"{spool.root}/claimed") == []


def test_what_a_killed_owner_was_writing_is_swept_and_what_a_living_one_writes_is_not(spool, child):
    def write(store):
        Path(store.root, "incoming", f"ABC~{store.owner}").write_bytes(b"half")

    first, second = child(spool.root, write), child(spool.root, write)
    kill(first)
    spool.recover()
    (left,) = os.listdir(f"{spool.root}/incoming")
    assert left.split(".")[-2] == str(second)


def test_other_hosts_and_what_is_not_understood_are_left_alone(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    me = this_owner()
    other = FileStore(spool.root, me._replace(host="elsewhere", boot="0" * 32))
    other.claim(queued(name), "w1.1")
    kept = [f"incoming/A~{other.owner}", "incoming/README", "incoming/B~somebody", "claimed/README/0/x"]
    for path in map(Path(spool.root).joinpath, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    before = sorted(Path(spool.root).rglob("*"))
    assert spool.recover() == []
    assert sorted(Path(spool.root).rglob("*")) == before


def test_a_dead_owners_directory_with_something_unknown_in_it_stays(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    dead = FileStore(spool.root, this_owner()._replace(boot="0" * 32))
    dead.claim(queued(name), "w1.1")
    odd = Path(spool.root, "claimed", str(dead.owner), "notes")
    odd.write_text("mine")
    assert spool.recover() == [queued(name)]
    assert odd.read_text() == "mine"


def test_a_claim_that_is_no_node_goes_to_quarantine(spool, letter):
    spool.accept(letter(), [MESSAGE], NOW)
    odd = spool.move(queued(spool.names(0)[0]), queued("odd"))
    FileStore(spool.root, this_owner()._replace(boot="0" * 32)).claim(odd, "w1.1")
    (place,) = spool.recover()
    assert place == Location(State.QUARANTINED, 0, "odd")
    assert "'odd' is not a node name" in spool.reason(place)


def test_a_frozen_owner_that_wakes_finds_its_node_gone(spool, letter):
    (name,) = spool.accept(letter(), [MESSAGE], NOW)
    frozen = FileStore(spool.root, this_owner()._replace(boot="0" * 32))
    claim = frozen.claim(queued(name), "w1.1")
    spool.recover()
    for act in (
        frozen.delete,
        frozen.open,
        lambda at: frozen.move(at, queued(name, 1)),
        lambda _: frozen.claim(queued(name), "w1.2"),
    ):
        with pytest.raises(ClaimLost):
            act(claim)
    assert spool.names(0) == [name]


def test_a_fault_with_one_claim_keeps_no_other_back(spool, letter):
    names = spool.accept(letter("a@a.example", "b@b.example", "c@c.example"), [MESSAGE], NOW)
    dead = FileStore(spool.root, this_owner()._replace(boot="0" * 32))
    for n, name in enumerate(names):
        dead.claim(queued(name), f"w1.{n}")
    Path(spool.path(queued(names[1]))).write_bytes(b"in the way")
    with pytest.raises(SpoolError, match="there already"):
        spool.recover()
    assert sorted(spool.names(0)) == sorted(names)
    assert [at.name for at in dead.claims("")] == [f"{names[1]}~w1.1"]
    assert Path(spool.path(queued(names[1]))).read_bytes() == b"in the way"


def test_two_that_recover_at_once_do_not_disturb_each_other(spool, letter, monkeypatch):
    names = spool.accept(letter("a@a.example", "b@b.example"), [MESSAGE], NOW)
    dead = FileStore(spool.root, this_owner()._replace(boot="0" * 32))
    for n, name in enumerate(names):
        dead.claim(queued(name), f"w1.{n}")
    Path(spool.root, "incoming", f"A~{dead.owner}").write_bytes(b"half")
    read_names = fsops.read_names

    def read_and_be_overtaken(directory):
        seen = read_names(directory)
        monkeypatch.setattr(fsops, "read_names", read_names)
        if directory.endswith(("/0", "/incoming")):
            spool.recover()
        monkeypatch.setattr(fsops, "read_names", read_and_be_overtaken)
        return seen

    monkeypatch.setattr(fsops, "read_names", read_and_be_overtaken)
    assert spool.recover() == []
    monkeypatch.undo()
    assert sorted(spool.names(0)) == sorted(names)
    assert os.listdir(f"{spool.root}/claimed") == os.listdir(f"{spool.root}/incoming") == []


def test_a_full_sweep_removes_histories_without_node_and_no_others(spool, letter):
    names = spool.accept(letter(*[f"{n}@a.example" for n in range(4)], message_id="A"), [MESSAGE], NOW)
    spool.claim(queued(names[1]), "w1.1")
    spool.move(queued(names[2]), Location(State.HELD, 0, names[2]))
    spool.quarantine(queued(names[3]), "why")
    for node_id in ("A.0", "A.1", "A.2", "A.3", "A.4", "B.0"):
        spool.record(node_id, [Attempt(1.0, 0, "", "", "")])
    assert recover.sweep_histories(spool, spool.root) == ["A.4", "B.0"]
    assert sorted(os.listdir(f"{spool.root}/history")) == ["A.0", "A.1", "A.2", "A.3"]


def test_what_is_no_history_is_left_alone_by_the_sweep(spool):
    Path(spool.root, "history", "README").write_text("mine")
    Path(spool.root, "history", "folder").mkdir()
    assert recover.sweep_histories(spool, spool.root) == []
    assert spool.recover() == []
    assert sorted(os.listdir(f"{spool.root}/history")) == ["README", "folder"]


def test_a_history_that_goes_while_it_is_swept_is_no_fault(spool, monkeypatch):
    spool.record("A.0", [Attempt(1.0, 0, "", "", "")])

    def settled_meanwhile():
        Path(spool.root, "history", "A.0").unlink(missing_ok=True)
        return iter(())

    monkeypatch.setattr(spool, "locations", settled_meanwhile)
    assert recover.sweep_histories(spool, spool.root) == ["A.0"]


# --- fewer tiers


def test_nodes_beyond_the_last_tier_move_into_it_and_keep_their_names(tmp_path):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(5)
    for tier, name in ((1, "5-A.0-a"), (2, "6-B.0-b"), (3, "7-C.0-c"), (4, "0-D.0-d")):
        Path(store.root, str(tier), name).write_bytes(MESSAGE)
    moved = list(recover.shorten(store, 2))
    assert moved == [queued("7-C.0-c", 3), queued("0-D.0-d", 4)]
    assert sorted(store.names(2)) == ["0-D.0-d", "6-B.0-b", "7-C.0-c"]
    assert store.names(1) == ["5-A.0-a"]
    assert list(recover.shorten(store, 2)) == []


def test_what_is_no_node_stays_where_it_is_and_holds_up_nobody(tmp_path):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(4)
    for name in ("README", "7-C.0-c"):
        Path(store.root, "3", name).write_bytes(MESSAGE)
    assert list(recover.shorten(store, 2)) == [queued("7-C.0-c", 3)]
    assert store.names(3) == ["README"]


def test_a_name_that_is_taken_in_the_last_tier_is_a_fault_and_the_others_move(tmp_path):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(4)
    Path(store.root, "2", "7-B.0-b").write_bytes(b"another")
    for name in ("7-B.0-b", "7-C.0-c"):
        Path(store.root, "3", name).write_bytes(MESSAGE)
    with pytest.raises(SpoolError, match="there already"):
        list(recover.shorten(store, 2))
    assert (sorted(store.names(2)), store.names(3)) == (["7-B.0-b", "7-C.0-c"], ["7-B.0-b"])
    assert Path(store.root, "2", "7-B.0-b").read_bytes() == b"another"


def test_who_was_claimed_meanwhile_is_passed_over(tmp_path):
    store = FileStore(tmp_path / "spool", this_owner())
    store.create(4)
    for name in ("7-B.0-b", "7-C.0-c"):
        Path(store.root, "3", name).write_bytes(MESSAGE)
    moving = recover.shorten(store, 2)
    first = next(moving)
    other = ({"7-B.0-b", "7-C.0-c"} - {first.name}).pop()
    store.claim(queued(other, 3), "w1.1")
    assert list(moving) == []
    assert store.names(2) == [first.name]
