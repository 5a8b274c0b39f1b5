# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Killed before or after any step on the disk, nothing that was promised is lost, torn, or in two places.

The cases are the rows of the crash tables in docs/spool-format.md: each operation there is done here by a child
that is killed, each row is a step that really happens, and each step that happens has its row.
"""

import re
import time
from collections import defaultdict
from pathlib import Path

import pytest

from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt
from mailspool.store import fsops, syncfs
from mailspool.store.base import Location, State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.lease import Lease
from mailspool.store.nodename import folder_of, node_id_of
from mailspool.store.recover import shorten
from mailspool.store.waiting import Waiting
from tests.store import crash

MESSAGES = {
    "A": b"Subject: one\r\n\r\nhello\r\n",
    "B": b"Subject: bounce\r\n\r\nsorry\r\n",
    "00T3A": b"Subject: later\r\n\r\nhello\r\n",
}
TWO = ("A.0", "A.1")
THREE = (*TWO, "00T3A.0")
NODE = "5-A.0-a.example"
LATER = Location(State.QUEUED, 1, "9-A.0-a.example")
IN_FOLDER = Location(State.QUEUED, 1, "1763841986-00T3A.0-a.example")
HELD = Location(State.HELD, 0, NODE)

DOCUMENT = Path(__file__).parents[2] / "docs/spool-format.md"
ROW = re.compile(r"^\| `([a-z-]+)\.(\d+)` \| (\w+) ", re.MULTILINE)


def documented():
    tables = defaultdict(list)
    for operation, number, step in ROW.findall(DOCUMENT.read_text(encoding="utf-8")):
        assert int(number) == len(tables[operation]) + 1, f"{operation}.{number} is out of order"
        tables[operation].append(step)
    return dict(tables)


def accept(store, message_id="A", recipients=("joe@a.example", "jane@b.example")):
    envelope = Envelope(message_id, "me@c.example", tuple(map(Recipient, recipients)), 5.0)
    return store.accept(envelope, [MESSAGES[message_id]], 5)


def accept_batch(store):
    """Both nodes, each of a message of its own."""
    with store.batch() as batch:
        for message_id, recipient in (("A", "joe@a.example"), ("B", "me@c.example")):
            envelope = Envelope(message_id, "me@c.example", (Recipient(recipient),), 5.0)
            batch.accept(envelope, [MESSAGES[message_id]], 5)


def queued(name=NODE, tier=0):
    return Location(State.QUEUED, tier, name)


def no_links(source, target):
    raise fsops.CannotLink(target)


# What the child finds, made before steps are counted. Each returns what its operation works on.


class Given:
    def __init__(self, root):
        self.store = FileStore(root, this_owner())

    def nothing(self):
        pass

    def no_links(self):
        fsops.link = no_links

    def one_sync(self):
        """A file system and a kernel where that is enough for a batch."""
        syncfs.is_enough = lambda _fd: True

    def no_sync_for_all(self):
        syncfs.is_enough = lambda _fd: False

    def nodes(self):
        accept(self.store)

    def claim(self):
        self.nodes()
        return self.store.claim(queued(), "w1.1")

    def failed(self):
        """A claim in tier 1, with a history."""
        first = self.claim()
        self.store.record("A.0", [Attempt(6.0, 0, "mx.a.example", "4.0.0", "421 later")])
        return self.store.claim(self.store.move(first, LATER), "w1.2")

    def dated(self):
        """A claim, of an id that tells when it arrived."""
        self.nodes()
        (name,) = accept(self.store, "00T3A", ["joe@a.example"])
        return self.store.claim(queued(name), "w1.1")

    def empty_folder(self):
        self.nodes()
        Path(self.store.root, "1", folder_of(IN_FOLDER.name)).mkdir()

    def deep(self):
        """Both nodes stand in tier 2."""
        self.nodes()
        for name in self.store.names(0):
            self.store.move(queued(name), queued(name, 2))

    def quarantined(self):
        return self.store.quarantine(self.claim(), "why")

    def no_lease(self):
        self.nodes()
        return Lease(self.store.root, self.store.owner, 60.0, time.monotonic)

    def lease(self):
        """With a roll-call beside it."""
        lease = self.no_lease()
        lease.create()
        Path(self.store.root, "hosts", f"{self.store.owner}~rollcall").write_bytes(b"{}")
        return lease

    def left_by_the_dead(self):
        """Lease, roll-call, a sealed claim, and a message half written, by an owner of an earlier boot."""
        self.nodes()
        dead = FileStore(self.store.root, this_owner()._replace(boot="0" * 32))
        dead.seal(dead.claim(queued(), "w1.1"))
        for name in (f"incoming/X~{dead.owner}", f"hosts/{dead.owner}", f"hosts/{dead.owner}~rollcall"):
            Path(dead.root, name).write_bytes(b"half a mess")


# The operations: from what, what is done, and which nodes must be there if it was done, and if it was not.

OPERATIONS = {
    "create": (Given.nothing, lambda store, _: store.create(1), (), ()),
    "accept": (Given.nothing, lambda store, _: accept(store), (), TWO),
    "accept-copy": (Given.no_links, lambda store, _: accept(store), (), TWO),
    "accept-batch": (Given.one_sync, lambda store, _: accept_batch(store), (), ("A.0", "B.0")),
    "accept-batch-each": (Given.no_sync_for_all, lambda store, _: accept_batch(store), (), ("A.0", "B.0")),
    "lease": (Given.no_lease, lambda _, lease: lease.create(), TWO, TWO),
    "beat": (Given.lease, lambda _, lease: lease.beat(), TWO, TWO),
    "lease-end": (Given.lease, lambda _, lease: lease.end(), TWO, TWO),
    "claim": (Given.nodes, lambda store, _: store.claim(queued(), "w1.1"), TWO, TWO),
    "seal": (Given.claim, lambda store, claim: store.seal(claim), TWO, TWO),
    "delivered": (Given.failed, lambda store, claim: store.delete(claim), TWO, ("A.1",)),
    "fall-back": (Given.claim, lambda store, claim: fall_back(store, claim), TWO, TWO),
    "fall-back-first": (Given.dated, lambda store, claim: store.move(claim, IN_FOLDER), THREE, THREE),
    "look": (Given.empty_folder, lambda store, _: store.look(1, Waiting(2 * 10**9, 3 * 10**9, 0)), TWO, TWO),
    "bounce": (Given.failed, lambda store, claim: bounce(store, claim), TWO, ("A.1", "B.0")),
    "fewer-tiers": (Given.deep, lambda store, _: list(shorten(store, 1)), TWO, TWO),
    "hold": (Given.nodes, lambda store, _: store.move(queued(), HELD), TWO, TWO),
    "quarantine": (Given.claim, lambda store, claim: store.quarantine(claim, "why"), TWO, TWO),
    "release": (Given.quarantined, lambda store, place: store.move(place, queued()), TWO, TWO),
    "recover": (Given.left_by_the_dead, lambda store, _: store.recover(), TWO, TWO),
}


def fall_back(store, claim):
    store.record("A.0", [Attempt(6.0, 0, "mx.a.example", "4.0.0", "421 later")])
    store.move(claim, LATER)


def bounce(store, claim):
    claim = store.seal(claim)
    accept(store, "B", ["me@c.example"])
    store.delete(claim)


class Case:
    """One operation, done by a child in a fresh spool."""

    def __init__(self, operation, root):
        self.given, self.do, self.before, self.after = OPERATIONS[operation]
        self.root = root
        if operation != "create":
            FileStore(root, this_owner()).create(3)

    def live(self, moment=None):
        return crash.run(self._prepare, self._act, moment)

    def _prepare(self):
        given = Given(self.root)
        return given.store, self.given(given)

    def _act(self, prepared, say):
        self.do(*prepared)
        say("done")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_document_lists_exactly_the_steps_that_happen(operation, tmp_path):
    assert documented()[operation] == Case(operation, tmp_path / "spool").live().steps


def test_every_documented_operation_is_exercised():
    assert documented().keys() == OPERATIONS.keys()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "number"),
    [pytest.param(name, n, id=f"{name}.{n + 1}") for name, steps in documented().items() for n in range(len(steps))],
)
def test_a_kill_at_this_step_loses_nothing(operation, number, when, tmp_path):
    case = Case(operation, tmp_path / "spool")
    life = case.live(crash.Moment(number, when))
    assert life.killed
    assert len(life.steps) == number + 1
    check(case, done=bool(life.said))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_was_acknowledged_lasts(operation, tmp_path):
    case = Case(operation, tmp_path / "spool")
    life = case.live()
    assert life.said == ["done"]
    check(case, done=True)


def check(case, *, done):
    store = FileStore(case.root, this_owner())
    store.create(3)
    store.recover()
    places = list(store.locations())
    found = [node_id_of(at.name) for at in places]
    assert len(found) == len(set(found)), "a node is in two places"
    assert all(at.state is not State.CLAIMED for at in places)
    if done:
        assert set(found) == set(case.after)
    else:
        assert set(case.before) & set(case.after) <= set(found) <= set(case.before) | set(case.after)
        if case.before:  # a node is gone only once what takes its place is there
            assert set(case.before) <= set(found) or set(case.after) <= set(found)
    for at in places:
        assert_whole(store, at)
        if at.state is State.QUARANTINED:
            assert store.reason(at) == "why"
    assert fsops.read_names(f"{store.root}/incoming") == []
    assert fsops.read_names(f"{store.root}/claimed") == []
    assert fsops.read_names(f"{store.root}/hosts") == []
    assert fsops.read_names(f"{store.root}/hosts") == []
    assert store.recover() == []


def assert_whole(store, at):
    stored = store.open(at)
    with stored.file:
        assert stored.file.read() == MESSAGES[stored.envelope.id]
