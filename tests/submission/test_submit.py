# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `submit` promises: one node for each recipient, or nothing at all."""

import os

import pytest

from mailspool.errors import InputError, SpoolError
from mailspool.message.message import Message
from mailspool.model.envelope import Envelope, Recipient
from mailspool.store.base import Location, State
from mailspool.store.memory import MemoryStore
from mailspool.store.nodename import names_of
from mailspool.submission.submit import new_message_id, submit

ENVELOPE = Envelope("ID1", "f@x", (Recipient("a@x"), Recipient("b@y")), arrival=1000.9)


def accept(text=b"A: b\n\nbody\n", **more):
    store = MemoryStore()
    store.create(1)
    return store, lambda: submit(store, Message([text]), ENVELOPE, **more)


def test_a_message_becomes_a_node_for_each_recipient():
    store, go = accept()
    accepted = go()
    assert accepted.names == ("1000-ID1.0-x", "1000-ID1.1-y")
    assert accepted.size == len(b"A: b\r\n\r\nbody\r\n")
    stored = store.open(Location(State.QUEUED, 0, accepted.names[1]))
    assert stored.file.read() == b"A: b\r\n\r\nbody\r\n"
    assert stored.envelope.facts.size == accepted.size


@pytest.mark.parametrize(("limit", "fits"), [(0, True), (14, True), (13, False)])
def test_a_message_over_the_limit_is_refused_and_leaves_nothing(limit, fits):
    store, go = accept(max_size=limit)
    if fits:
        go()
    else:
        with pytest.raises(InputError, match="message larger than 13 octets"):
            go()
    assert len(store.names(0)) == 2 * fits


def test_the_supervisor_is_poked_after_the_message_is_durable():
    seen = []
    store, go = accept(poke=lambda: seen.append(len(store.names(0))))
    go()
    assert seen == [2]


def test_nobody_there_to_be_poked_is_no_failure():
    def poke():
        raise SpoolError("nobody listens")

    store, go = accept(poke=poke)
    assert len(go().names) == len(store.names(0)) == 2


def test_a_message_that_was_not_accepted_pokes_nobody():
    seen = []
    _, go = accept(max_size=1, poke=lambda: seen.append(1))
    with pytest.raises(InputError):
        go()
    assert not seen


def test_a_message_that_fails_while_it_is_read_leaves_nothing():
    def failing():
        yield b"A: b\n\n"
        raise SpoolError("cannot be read")

    store, _ = accept()
    with pytest.raises(SpoolError):
        submit(store, Message(failing()), ENVELOPE)
    assert store.names(0) == []


def test_queue_ids_of_one_second_and_of_forks_differ():
    assert len({new_message_id(1000.0) for _ in range(1000)}) == 1000
    reader, writer = os.pipe()
    children = []
    for _ in range(4):
        if not (pid := os.fork()):
            os.write(writer, f"{new_message_id(1000.0)}\n".encode())
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert len(set(lines)) == 4


@pytest.mark.parametrize("given", ["", "my-id/../42", "x" * 500, "é\n", "---"])
def test_a_callers_id_stands_behind_ours_and_fits_into_a_node_name(given):
    ours = new_message_id(1000.0, lambda n: b"\0" * n)
    queue_id = new_message_id(1000.0, lambda n: b"\0" * n, given)
    assert queue_id.startswith(ours)
    assert queue_id == ours + "".join(c for c in given if c.isascii() and c.isalnum())[:40]
    assert names_of(Envelope(queue_id, "", (Recipient("a@b"),), 0.0), 1)
