# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The trigger: a FIFO in `run_dir` whose only meaning is "look". Who pulls it waits for nothing and hears nothing.

After qmail's lock/trigger. It costs `sendmail` one open and one write, and no socket.
"""

# ruff: noqa: PTH108 - pathlib would cost `sendmail` milliseconds

import contextlib
import os

from mailspool.errors import SpoolError

_NAME = "trigger"
_MORE_THAN_A_PIPE_HOLDS = 1 << 20


def poke(run_dir: str) -> bool:
    """Tell the running supervisor that mail has come in. Never blocks, never raises; False if nobody listens."""
    try:
        fifo = os.open(_path(run_dir), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        with contextlib.suppress(OSError):  # full: it has been poked enough
            os.write(fifo, b"!")
    finally:
        os.close(fifo)
    return True


class Trigger:
    """The supervisor's end. Raises SpoolError if it cannot be made."""

    def __init__(self, run_dir: str) -> None:
        self._path = _path(run_dir)
        # One left by a supervisor that was killed is in the way; the lock says that nobody else lives here.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        try:
            os.mkfifo(self._path, 0o600)
            # Open for writing too: without a writer it would be at its end, and always readable.
            self._fifo = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolError(f"cannot make the trigger {self._path}: {error.strerror}") from None

    def fileno(self) -> int:
        """For a selector: readable when it was pulled."""
        return self._fifo

    def clear(self) -> None:
        """However often it was pulled, it counts once."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fifo, _MORE_THAN_A_PIPE_HOLDS)

    def close(self, *, unlink: bool) -> None:
        """unlink: only the supervisor itself, not its children."""
        os.close(self._fifo)
        if unlink:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


def _path(run_dir: str) -> str:
    return f"{run_dir}/{_NAME}"
