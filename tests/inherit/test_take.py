# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Each message is taken over once, wherever an import is killed, and whatever became of its mail meanwhile."""

import os

import pytest

from mailspool.errors import InputError, SpoolError, Unreadable
from mailspool.inherit import nullmailer
from mailspool.inherit.source import Source
from mailspool.inherit.take import House, Taken, examine, settle_earlier, take
from mailspool.message.mailbox import parse_for_address
from mailspool.store import nodename
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.imported import Imported, Stage, read
from mailspool.submission.prepare import keep
from mailspool.submission.submit import new_message_id
from tests.store import crash

NOW = 1_700_000_000.0
OLD = 1_007_000_000
LETTERS = {
    "1.1": ("me@a.example", ("one@b.example",), b"Subject: one\n\nhello\n"),
    "2.2": ("", ("two@b.example", "three@c.example"), b"Subject: two\r\n\r\n.dot\r\nbare\rend"),
    "3.3": ("me@a.example", ("one@b.example",), b"no header at all\n"),
}
EXPECTED = sorted((name, to) for name, (_, recipients, _) in LETTERS.items() for to in recipients)
SUBJECTS = {b"one": "1.1", b"two": "2.2", b"no header": "3.3"}


@pytest.fixture
def queue(write, folder):
    (folder / "tmp").mkdir()
    for name, (sender, recipients, message) in LETTERS.items():
        write(f"queue/{name}", "".join(f"{line}\n" for line in [sender, *recipients, ""]).encode() + message, at=OLD)
    return folder


def spool_at(root):
    store = FileStore(root, this_owner())
    store.create(2)
    return store


def read_all(source):
    return [examine(nullmailer, source, name, parse_for_address, keep) for name in nullmailer.names(source)]


def house_of(store, **more):
    return House(store, "mail.test", lambda: NOW, new_message_id, **more)


def run_import(store, folder, **more):
    """What `mailspool import` does: its queue ids, by the names in the source."""
    with Source(str(folder)) as source, Imported(store.root) as imported:
        settle_earlier(store, imported)
        letters = [letter for letter in read_all(source) if not imported.has(letter.key)]
        return {
            taken.letter.name.partition("/")[2]: taken.queue_id or taken.reason
            for taken in take(house_of(store, **more), imported, source, letters)
        }


def nodes_of(store):
    """Which message each node is of, and for whom."""
    return sorted(_letter_at(store, at) for at in store.locations())


def _letter_at(store, at):
    stored = store.open(at)
    with stored.file as file:
        text = file.read()
    (name,) = (name for words, name in SUBJECTS.items() if words in text)
    return name, stored.envelope.recipients[nodename.parse(at.name).index].address


def test_each_message_becomes_one_of_ours_due_now_its_bytes_as_they_were(tmp_path, queue):
    store = spool_at(tmp_path / "spool")
    ids = run_import(store, queue)
    assert ids.keys() == LETTERS.keys()
    assert nodes_of(store) == EXPECTED
    assert {at.state for at in store.locations()} == {State.QUEUED}
    at = store.find(ids["2.2"])[0]
    with store.open(at).file as file:
        received, rest = file.read().split(b"\r\n", 2)[0], store.open(at).file.read()
    assert received == b"Received: by mail.test (mailspool import)"
    assert rest.endswith(b"\r\nSubject: two\r\n\r\n.dot\r\nbare\r\nend\r\n")
    assert rest.count(b"Received:") == 1
    assert b"Date:" not in rest
    envelope = store.open(at).envelope
    assert (envelope.sender, envelope.arrival, nodename.parse(at.name).time) == ("", NOW, NOW)


def test_keeping_the_age_keeps_the_arrival_in_envelope_and_id(tmp_path, queue):
    store = spool_at(tmp_path / "spool")
    for queue_id in run_import(store, queue, keep_age=True).values():
        at = store.find(queue_id)[0]
        assert (
            store.open(at).envelope.arrival == nodename.arrival_of(queue_id) == float(queue_id and arrival(store, at))
        )
        assert nodename.parse(at.name).time == NOW


def arrival(store, at):
    name, _ = _letter_at(store, at)
    return int(name.partition(".")[0])


def test_a_second_import_takes_nothing_over_even_when_all_was_delivered(tmp_path, queue):
    store = spool_at(tmp_path / "spool")
    assert len(run_import(store, queue)) == len(LETTERS)
    assert run_import(store, queue) == {}
    for at in list(store.locations()):
        store.delete(at)
    assert run_import(store, queue) == {}
    assert nodes_of(store) == []


def test_the_same_queue_mounted_elsewhere_is_the_same(tmp_path, queue):
    store = spool_at(tmp_path / "spool")
    run_import(store, queue)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.system(f"cp -r {queue}/. {elsewhere}")
    assert run_import(store, elsewhere) == {}


def test_what_arrives_later_is_taken_over_by_the_next_import(tmp_path, queue, write):
    store = spool_at(tmp_path / "spool")
    run_import(store, queue)
    write("queue/4.4", b"me@a.example\nfour@d.example\n\nSubject: four\n\n")
    assert run_import(store, queue).keys() == {"4.4"}


def test_the_source_is_as_it_was(tmp_path, queue):
    def facts():
        return {
            path: (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_atime_ns)
            for path in queue.rglob("*")
            if path.is_file()
            for found in (path.stat(),)
        }

    before = facts()
    run_import(spool_at(tmp_path / "spool"), queue)
    assert facts() == before


def test_what_changes_between_the_look_and_the_taking_is_left_and_the_others_are_not(tmp_path, queue, write, source):
    store = spool_at(tmp_path / "spool")
    letters = read_all(source)
    write("queue/1.1", b"me@a.example\nother@b.example\n\nSubject: one\n\n")
    (queue / "queue/3.3").unlink()
    with Imported(store.root) as imported:
        taken = list(take(house_of(store), imported, source, letters))
    assert [bool(one.queue_id) for one in taken] == [False, True, False]
    assert "changed" in taken[0].reason
    assert {name for name, _ in nodes_of(store)} == {"2.2"}
    assert all(record.is_settled for record in read(store.root).values())
    assert run_import(store, queue).keys() == {"1.1"}


def test_a_local_fault_leaves_those_before_it_taken_over_and_the_others_for_the_next_time(tmp_path, queue, source):
    class Full(FileStore):
        def accept(self, envelope, chunks, entered, state=State.QUEUED):
            if len(list(self.locations())) > 1:
                raise SpoolError("disk full")
            return super().accept(envelope, chunks, entered, state)

    spool_at(tmp_path / "spool")
    store = Full(tmp_path / "spool", this_owner())
    taken: list[Taken] = []
    with Imported(store.root) as imported, pytest.raises(SpoolError, match="disk full"):
        taken.extend(take(house_of(store), imported, source, read_all(source)))
    assert {at.state for at in store.locations()} == {State.QUEUED}
    run_import(spool_at(tmp_path / "spool"), queue)
    assert nodes_of(store) == EXPECTED


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"me@a.example\nyou@b.example\n\n", Unreadable),
        (b"me@a.example\nnobody\n\nSubject: x\n\n", InputError),
        (b"me@a.example\nyou@b.example\x00\n\nSubject: x\n\n", InputError),
        (b"me@@a\nyou@b.example\n\nSubject: x\n\n", InputError),
        (b"me@a.example\nyou@b.example\n\nSubject: \0\n\n", InputError),
    ],
)
def test_what_could_not_be_sent_is_refused_with_the_reason(write, source, content, error):
    write("queue/9.9", content)
    with pytest.raises(error):
        examine(nullmailer, source, "queue/9.9", parse_for_address, keep)


# --- killed


def test_an_import_killed_at_any_step_takes_each_message_over_once(tmp_path, queue):
    """Whatever is visible to a worker at the moment of the crash is delivered before the next import."""
    roots = (tmp_path / f"spool{number}" for number in range(10_000))

    def lives(root, moment=None):
        return crash.run(lambda: spool_at(root), lambda store, _say: run_import(store, queue), moment)

    life = lives(next(roots))
    assert {"open_to_append", "sync", "link", "rename", "write"} <= set(life.steps)
    for moment in crash.moments(life):
        root = next(roots)
        assert lives(root, moment).killed
        store = FileStore(root, this_owner())
        delivered = []
        for at in list(store.locations()):
            if at.state is State.QUEUED:
                delivered.append(_letter_at(store, at))
                store.delete(at)
        store.recover()
        run_import(store, queue)
        assert sorted([*delivered, *nodes_of(store)]) == EXPECTED, moment
        assert {at.state for at in store.locations()} <= {State.QUEUED}, moment
        assert {record.stage for record in read(str(store.root)).values()} == {Stage.RELEASED}
        assert not os.listdir(root / "incoming")
