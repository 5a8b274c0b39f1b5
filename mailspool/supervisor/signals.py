# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The parent's signals: handlers only queue, and the loop takes them off when it wakes."""

import os
import signal
from collections import deque
from types import FrameType
from typing import Self

QUEUED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)


class Signals:
    """A context in which signals are queued and `fileno` becomes readable when one is."""

    def __init__(self) -> None:
        self._queue: deque[int] = deque()

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._handle) for number in QUEUED}
        self._old[signal.SIGPIPE] = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """For a selector."""
        return self._reader

    def take(self) -> list[int]:
        """The signals that have come since the last call, in order, each at most once."""
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            pass
        taken: dict[int, None] = {}
        while self._queue:  # one by one: another may come between any two of these steps
            taken[self._queue.popleft()] = None
        return list(taken)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._queue.append(number)


def forget_in_child() -> None:
    """In a forked child: nothing is left of the parent's handlers and of its wake-up pipe."""
    signal.set_wakeup_fd(-1)
    for number in QUEUED:
        signal.signal(number, signal.SIG_DFL)
