# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Children as they are forked, with a channel or without one, and how they end."""

import contextlib
import os
import signal
import socket
import time

import pytest

from mailspool import log
from mailspool.supervisor.child import Child, fork_child, fork_with_channel
from tests.running import eventually, is_running

LONG = 30.0  # seconds that a child would take if nothing ended it


def test_a_child_and_its_parent_have_one_end_of_the_channel_each_and_hear_when_the_other_lets_go():
    released = os.pipe()

    def echo(channel):
        while packet := channel.recv(100):
            channel.send(packet)

    child = Child(*fork_with_channel("echo", echo, lambda: os.write(released[1], b"released")))
    assert os.read(released[0], 100) == b"released"
    child.channel.send(b"hello")
    assert child.channel.recv(100) == b"hello"
    child.close()
    assert child.closed
    assert os.waitpid(child.pid, 0) == (child.pid, 0)
    child.signal(signal.SIGTERM)  # it is gone, which is fine


def test_a_child_that_ends_is_heard_of():
    child = Child(*fork_with_channel("short", lambda channel: None, lambda: None))
    assert child.channel.recv(1) == b""
    os.waitpid(child.pid, 0)
    child.close()


def test_a_child_whose_lines_syslogd_did_not_take_says_so_at_its_end(tmp_path):
    ready, go = os.pipe(), os.pipe()

    def too_much_to_say():
        while not log.drops():
            log.record("flood")
        os.write(ready[1], b"x")
        os.read(go[0], 1)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslogd:
        syslogd.bind(str(tmp_path / "log"))
        log.configure(path=str(tmp_path / "log"))
        try:
            child = fork_child("worker 7", too_much_to_say)
        finally:
            log.configure(stream="stderr")
        os.read(ready[0], 1)
        syslogd.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while syslogd.recv(65536):
                pass
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        assert b"1 lines dropped" in syslogd.recv(65536)
        assert b"ended dropped_lines=1" in syslogd.recv(65536)


def test_a_child_dies_with_its_parent():
    reader, writer = os.pipe()
    parent = os.fork()
    if not parent:
        child = fork_child("orphan", lambda: time.sleep(LONG))
        os.write(writer, str(child).encode())
        time.sleep(LONG)
        os._exit(0)
    child = int(os.read(reader, 100))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    eventually(lambda: not is_running(child))


def test_a_fork_that_fails_leaves_no_descriptor_behind(monkeypatch):
    def no_fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("mailspool.supervisor.child.os.fork", no_fork)
    with pytest.raises(OSError):
        fork_with_channel("child", lambda channel: None, lambda: None)
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before
