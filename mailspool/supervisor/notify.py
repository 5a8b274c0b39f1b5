# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Telling systemd how we are: ready, reloading, stopping, alive (sd_notify(3), sd_watchdog_enabled(3)).

Datagrams to the socket that NOTIFY_SOCKET names. Nothing is said where there is none, and no error matters: who
listens there may be gone. The variables are taken out of the environment, so that no child speaks for us.
"""

import contextlib
import os
import socket
from collections.abc import Callable, MutableMapping

_NEVER = float("inf")
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """clock: CLOCK_MONOTONIC in seconds, which systemd compares with its own. environment: where the variables are."""

    def __init__(self, clock: Callable[[], float], environment: MutableMapping[str, str] = os.environ) -> None:
        self._clock = clock
        path, usec, pid = (environment.pop(name, "") for name in _VARIABLES)
        self._address = path.replace("@", "\0", 1) if path.startswith("@") else path
        self._socket = None
        if self._address[:1] in {"/", "\0"}:  # all others are no sockets of this host
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        watched = self._socket and usec.isdecimal() and pid in {"", str(os.getpid())}
        self._period = int(usec) / 1e6 / 2 if watched and int(usec) else _NEVER
        self._next_ping = clock() + self._period
        self._status = ""

    def ready(self) -> None:
        """The start, or a reload, is over."""
        self._say("READY=1", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1e6)}")

    def stopping(self) -> None:
        """No more work is begun."""
        self._say("STOPPING=1")

    def status(self, text: str) -> None:
        """One line about what we do; sent with the next ping or change as well as now, if it is new."""
        if text != self._status:
            self._status = text
            self._say()

    def ping_if_due(self) -> None:
        """WATCHDOG=1, twice in each period that the watchdog grants. To be called by what it watches."""
        if self._clock() >= self._next_ping:
            self._next_ping = self._clock() + self._period
            self._say("WATCHDOG=1")

    @property
    def left(self) -> float:
        """Seconds until the next ping is due."""
        return self._next_ping - self._clock()

    def close(self) -> None:
        """In a child."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _say(self, *lines: str) -> None:
        if self._socket:
            said = "\n".join((*lines, f"STATUS={self._status}"))
            with contextlib.suppress(OSError):
                self._socket.sendto(said.encode(), self._address)
