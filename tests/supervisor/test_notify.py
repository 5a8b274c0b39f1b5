# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What systemd hears, on a real datagram socket."""

import os
import socket

import pytest

from mailspool.supervisor.notify import Notifier


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A socket, and what NOTIFY_SOCKET says of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setblocking(False)
        if request.param == "path":
            listening.bind(str(tmp_path / "notify"))
            yield listening, str(tmp_path / "notify")
        else:
            listening.bind("")  # the kernel finds an abstract name
            yield listening, "@" + listening.getsockname()[1:].decode()


def heard(listening):
    return dict(line.split("=", 1) for line in listening.recv(4096).decode().split("\n"))


def is_silent(listening):
    with pytest.raises(BlockingIOError):
        listening.recv(4096)
    return True


def test_it_says_that_it_is_ready_reloading_and_stopping(systemd):
    listening, address = systemd
    notifier = Notifier(Clock(), {"NOTIFY_SOCKET": address})
    notifier.ready()
    assert heard(listening) == {"READY": "1", "MAINPID": str(os.getpid()), "STATUS": ""}
    notifier.status("3 active")
    assert heard(listening) == {"STATUS": "3 active"}
    notifier.status("3 active")
    assert is_silent(listening)
    notifier.reloading()
    assert heard(listening) == {"RELOADING": "1", "MONOTONIC_USEC": "100000000", "STATUS": "3 active"}
    notifier.stopping()
    assert heard(listening)["STOPPING"] == "1"


def test_it_pings_twice_in_each_period_of_the_watchdog(systemd):
    listening, address = systemd
    clock = Clock()
    notifier = Notifier(
        clock, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
    )
    notifier.ping_if_due()
    assert is_silent(listening)
    assert notifier.left == 10.0
    for _ in range(2):
        clock.now += 10.0
        notifier.ping_if_due()
        assert heard(listening)["WATCHDOG"] == "1"
        notifier.ping_if_due()
        assert is_silent(listening)


@pytest.mark.parametrize(
    "watchdog", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog_and_that_of_another_process_get_no_ping(systemd, watchdog):
    listening, address = systemd
    clock = Clock()
    notifier = Notifier(clock, {"NOTIFY_SOCKET": address, **watchdog})
    clock.now += 1e9
    notifier.ping_if_due()
    assert is_silent(listening)
    assert notifier.left == float("inf")


def test_its_variables_are_for_no_child():
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Notifier(Clock(), environment)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative", "/nowhere/at/all", "@" + "x" * 200])
def test_where_nobody_listens_nothing_is_said_and_nothing_fails(address):
    notifier = Notifier(Clock(), {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    notifier.ready()
    notifier.status("fine")
    notifier.ping_if_due()
    notifier.close()
    notifier.stopping()


def test_a_listener_that_does_not_read_is_not_waited_for(systemd):
    _, address = systemd
    notifier = Notifier(Clock(), {"NOTIFY_SOCKET": address})
    for n in range(5000):
        notifier.status(f"{n} active")
