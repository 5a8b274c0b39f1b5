# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Many things in one thread: each goes on when what it waits for has come, and none waits for another."""

import select
import socket
import threading
import time

import pytest

from mailspool.model.wait import Wait
from mailspool.supervisor.loop import Loop, through
from tests.running import eventually


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def read(sock, seconds, heard):
    """What comes in time, None if nothing does."""
    wait = Wait(seconds, sock.fileno(), select.POLLIN | select.POLLRDHUP)
    yield wait
    heard.append((sock.recv(10) if wait.came & select.POLLIN else None, bool(wait.came & select.POLLRDHUP)))


def pause(seconds, name, heard):
    yield Wait(seconds)
    heard.append(name)


def test_who_waits_for_a_socket_goes_on_when_it_is_ready_and_is_told_how(pair):
    ours, theirs = pair
    loop, heard = Loop(time.monotonic), []
    loop.begin(read(ours, 60.0, heard))
    theirs.send(b"hello")
    theirs.close()
    loop.turn()
    assert heard == [(b"hello", True)]


def test_who_has_waited_long_enough_goes_on_without(pair, clock):
    loop, heard = Loop(clock), []
    loop.begin(read(pair[0], 5.0, heard))
    clock.now += 5.0
    loop.turn()
    assert heard == [(None, False)]


def test_each_waits_as_long_as_it_wants_and_no_longer(clock):
    loop, heard = Loop(clock), []
    for seconds in (3.0, 1.0, 2.0):
        loop.begin(pause(seconds, seconds, heard))
    for _ in range(3):
        clock.now += 1.0
        loop.turn()
    assert heard == [1.0, 2.0, 3.0]


def test_a_socket_may_be_waited_for_again_and_by_another(pair):
    ours, theirs = pair
    loop, heard = Loop(time.monotonic), []

    def twice():
        yield from read(ours, 60.0, heard)
        yield from read(ours, 60.0, heard)

    loop.begin(twice())
    for _ in range(2):
        theirs.send(b"x")
        loop.turn()
    loop.begin(read(ours, 60.0, heard))
    theirs.send(b"y")
    loop.turn()
    assert heard == [(b"x", False), (b"x", False), (b"y", False)]


def test_what_may_block_has_a_thread_of_its_own_from_there_on(pair):
    ours, theirs = pair
    loop, heard, threads = Loop(time.monotonic), [], []

    def steps():
        threads.append(threading.get_ident())
        yield None
        threads.append(threading.get_ident())
        yield from read(ours, 60.0, heard)

    loop.begin(steps())
    theirs.send(b"x")
    eventually(lambda: heard)
    assert threads[0] == threading.get_ident() != threads[1]


def test_all_of_it_may_be_done_at_once_by_who_can_wait(pair):
    ours, theirs = pair
    heard = []

    def steps():
        yield None
        yield from pause(0.001, "paused", heard)
        yield from read(ours, 60.0, heard)
        return "done"

    theirs.send(b"x")
    assert through(steps()) == "done"
    assert heard == ["paused", (b"x", False)]
