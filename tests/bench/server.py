# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A mail server that is measured, as it is after installation, and where it finds those it sends to.

All are held in the same way while they are filled: everything is up and running, but the one process that decides
what is delivered next is stopped (SIGSTOP). All keep their queue on the same disk, and write their log lines there.
"""

import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from processes import cpu_seconds, eventually, family, name_of

SMARTHOST = "127.0.3.1:25"  # not where the servers themselves listen, or Postfix would see a loop
SENDER, RECIPIENT = "sender@bench.test", "user@good.test"

_SETTLED, _NOTHING = 0.5, 0.004  # seconds: of CPU time that may be used in so long by who does nothing
_LINE = b"The quick brown fox jumps over the lazy dog, and the spool delivers what it says.\r\n"


class Setup(NamedTuple):
    """smarthost: "127.0.3.1:25", where all mail goes; "": where DNS says, port 25.

    options: by server's name, what differs from its defaults.
    """

    smarthost: str = ""
    options: Mapping[str, Mapping[str, object]] = {}


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
        self._folder, self._command = folder, command
        self.start()

    def start(self) -> None:
        """Again, with the queue that it left."""
        self.main = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, start_new_session=True
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
    @abstractmethod
    def version(self) -> str:
        """As it calls itself."""

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
    def fill(self, recipients: Sequence[str], size: int) -> None:
        """Put a message for each into the queue, as quickly as it can; all are durable when it returns."""

    @abstractmethod
    def send(self, content: bytes) -> None:
        """One message, as a program would that runs for long."""

    @property
    @abstractmethod
    def sendmail(self) -> list[str]:
        """The command that takes a message for RECIPIENT on standard input."""

    @property
    @abstractmethod
    def list_queue(self) -> list[str]:
        """The command that lists the queue."""

    @abstractmethod
    def fill_with_waiting(self, count: int) -> None:
        """Stop; put so many messages of 1 KiB into the queue, none of them due within the hour; start again."""

    @abstractmethod
    def scan(self) -> float:
        """CPU seconds of a look through its whole queue for what is due."""

    def settled_cpu(self) -> float:
        """CPU seconds of all its processes, once they use none any more."""
        used, last = -1.0, cpu_seconds(self.processes)
        while last - used > _NOTHING:
            time.sleep(_SETTLED)
            used, last = last, cpu_seconds(self.processes)
        return last

    @abstractmethod
    def queued(self) -> int:
        """Messages in the queue."""

    def stop(self, patience: float = 60.0) -> None:
        """patience: seconds; then it is killed."""
        if self.main.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.release()
        members = self.processes
        self.main.terminate()
        try:
            self.main.wait(patience)
        except subprocess.TimeoutExpired:
            self.main.kill()
            self.main.wait()
        finally:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.stop(5.0)
        self._output.close()


def files_in(*folders: Path) -> int:
    return sum(len(files) for folder in folders for _, _, files in os.walk(folder))
