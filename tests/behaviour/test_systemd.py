# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool run` as a service of systemd's, which is played by a datagram socket."""

import signal
import socket
import sys

import pytest

from tests import running as running_module
from tests.running import ROOT, eventually, write_config


class Systemd:
    """Remembers what it was told, message by message."""

    def __init__(self, path):
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        self.told = []

    def hears(self, **wanted):
        """Whether it has been told all of this in one message by now."""
        try:
            while True:
                self.told.append(dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n")))
        except BlockingIOError:
            pass
        return [message for message in self.told if wanted.items() <= message.items()]

    def close(self):
        self._socket.close()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    one = Systemd(tmp_path / "notify")
    environment = {**running_module.ENVIRONMENT, "NOTIFY_SOCKET": one.address, "WATCHDOG_USEC": "200000"}
    monkeypatch.setattr(running_module, "ENVIRONMENT", environment)
    yield one
    one.close()


def test_systemd_hears_of_the_start_the_reload_each_watchdog_period_and_the_end(daemon, systemd, tmp_path):
    command = [sys.executable, str(ROOT / "bin/mailspool"), "run", "-c", str(tmp_path / "mailspool.toml")]
    running = daemon(command=command)
    (ready,) = eventually(lambda: systemd.hears(READY="1"))
    assert ready["MAINPID"] == str(running.pid)
    eventually(lambda: len(systemd.hears(WATCHDOG="1")) > 5)
    eventually(lambda: [m for m in systemd.hears() if m["STATUS"].startswith("0 active, 0 deferred, next look ")])
    running.send(signal.SIGHUP)
    (reloading,) = eventually(lambda: systemd.hears(RELOADING="1"))
    assert int(reloading["MONOTONIC_USEC"]) > 0
    eventually(lambda: len(systemd.hears(READY="1")) == 2)
    write_config(running.config, {**running.properties, "max_hops": 0})
    running.send(signal.SIGHUP)
    eventually(lambda: len(systemd.hears(READY="1")) == 3)  # refused is over, too
    assert running.stop() == 0
    assert systemd.hears(STOPPING="1")
    kinds = [next(iter(message)) for message in systemd.told]
    assert [kind for kind in kinds if kind not in {"WATCHDOG", "STATUS"}] == [
        *("READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING")
    ]
