# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The control socket in `run_dir`: one request in, one answer out.

Whoever may write to the socket (0600: the spool's user and root) may ask.
"""

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable, Iterator

from mailspool.errors import ControlForbidden, NoAnswer, NotRunning
from mailspool.supervisor.entrance import Entrance

_NAME = "control"
_MAX_REQUEST = 1024
PATIENCE = 5.0
"""Seconds that the supervisor has for an answer, and gives a client that does not read it."""

_SOON = 1.0  # seconds; whoever waits that long wants to know what for


def ask(run_dir: str, request: str, waiting: Callable[[], object] = lambda: None) -> str:
    """Send one request, return the answer. waiting: called once if that takes longer than it should.

    Raises NotRunning, NoAnswer; ControlForbidden if this user may not ask.
    """
    path = _path(run_dir)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(path)
            client.sendall(request.encode() + b"\n")
            if not select.select([client], [], [], _SOON)[0]:
                waiting()
            with client.makefile("rb") as answers:
                answer = answers.read()
    except PermissionError as error:
        raise ControlForbidden(f"{path}: {error.strerror}: ask again as root") from None
    except TimeoutError:
        look = f"ps -o pid,stat,wchan:20,args -p $(cat {run_dir}/pid)"
        fault = f"the supervisor of {run_dir} does not answer: is it stopped (T), or stuck (D)?"
        raise NoAnswer(f"{fault}: {look}") from None
    except OSError as error:
        raise NotRunning(
            f"no supervisor answers on {path} ({error.strerror or error}): is mailspoold running?"
            " 'mailspool check' tells what keeps it from starting"
        ) from None
    return answer.decode()


class Control:
    """The supervisor's end. answers: by a request's first word, who answers what stands behind it, "" if nothing."""

    def __init__(self, run_dir: str, answers: dict[str, Callable[[str], str]]) -> None:
        self._entrance = Entrance(_path(run_dir), 0o600)
        self._answers = answers
        self._spare = _spare_descriptor()

    def fileno(self) -> int:
        """For a selector: readable when somebody asks."""
        return self._entrance.fileno()

    def close(self, *, unlink: bool) -> None:
        """As of its entrance."""
        self._entrance.close(unlink=unlink)
        os.close(self._spare)

    def serve(self) -> None:
        """Answer everybody who is waiting now."""
        for client in self._clients():
            with client, contextlib.suppress(OSError):
                client.settimeout(PATIENCE / 100)  # our own clients send their one line at once
                request = client.recv(_MAX_REQUEST).decode(errors="replace").strip()
                word, _, about = request.partition(" ")
                answer = self._answers[word](about) if word in self._answers else "unknown request"
                client.settimeout(PATIENCE)
                client.sendall(answer.encode())

    def _clients(self) -> Iterator[socket.socket]:
        for _ in range(256):  # a storm of requests must not keep the loop from its work
            try:
                client, _address = self._entrance.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    self._turn_away()
                return  # or the client has gone
            yield client

    def _turn_away(self) -> None:
        """No descriptor is free: who waits would wake us for ever, so one is kept to hang up with."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._entrance.socket.accept()[0].close()
        self._spare = _spare_descriptor()


def _spare_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _path(run_dir: str) -> str:
    return f"{run_dir}/{_NAME}"
