# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A mail server that is measured, as it is after installation, sending all mail to the sink.

All are held in the same way while they are filled: everything is up and running, but the one process that decides
what is delivered next is stopped (SIGSTOP). All keep their queue on the same disk, and write their log lines there.
"""

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from processes import eventually, family, name_of

SENDER, RECIPIENT = "sender@bench.test", "user@good.test"

_LINE = b"The quick brown fox jumps over the lazy dog, and the spool delivers what it says.\r\n"


def message(size: int, number: int = 0) -> bytes:
    """A complete message of about so many octets, in CRLF form."""
    header = (
        b"From: <sender@bench.test>\r\nTo: <user@good.test>\r\nSubject: number %d\r\n"
        b"Date: Sun, 01 Mar 2026 00:00:00 +0000\r\nMessage-ID: <%d.%d@bench.test>\r\n\r\n"
        % (number, number, os.getpid())
    )
    return header + _LINE * max(1, (size - len(header)) // len(_LINE))


class Server(ABC):
    """What both have in common. main: the process that all others descend from; decider: the one that is stopped."""

    name = ""
    only_fills: frozenset[str] = frozenset()  # processes that have no part in the delivery

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._output = (folder / "output").open("ab")
        self._folder = folder
        self.main = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, start_new_session=True
        )
        eventually(self._runs, f"{self.name} runs")
        self.decider = eventually(self._find_decider, f"{self.name} is complete")

    def _runs(self) -> bool:
        if self.main.poll() is not None:
            raise SystemExit(f"{self.name} has ended:\n{self.log[-5000:]}")
        return self._answers()

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it can be used."""

    @abstractmethod
    def _find_decider(self) -> int:
        """The process to stop, 0 if it is not there yet."""

    @property
    def log(self) -> str:
        return "".join(
            file.read_text(errors="replace") for file in (self._folder / "output", *self._folder.glob("log"))
        )

    @property
    def processes(self) -> list[int]:
        return family(self.main.pid)

    @property
    def deliverers(self) -> list[int]:
        """Its processes without those that only fill it."""
        return [pid for pid in self.processes if name_of(pid) not in self.only_fills]

    def hold(self) -> None:
        os.kill(self.decider, signal.SIGSTOP)

    def release(self) -> None:
        os.kill(self.decider, signal.SIGCONT)

    @abstractmethod
    def fill(self, count: int, size: int) -> None:
        """Put messages into the queue; all are durable when it returns."""

    @abstractmethod
    def queued(self) -> int:
        """Messages in the queue."""

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.release()
        members = self.processes
        self.main.terminate()
        try:
            self.main.wait(60)
        finally:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._output.close()


def files_in(*folders: Path) -> int:
    return sum(len(files) for folder in folders for _, _, files in os.walk(folder))
