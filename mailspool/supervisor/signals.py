# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which signals mean something here, to the parent and to its children: docs/signals.md has the table.

The parent's handlers only queue, and its loop takes them off when it wakes. A child has its own from its first moment
on: around the fork they are held back, so that none is lost and none meets the parent's handlers in a child.
"""

import contextlib
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Self

from mailspool import log

QUEUED = (
    *(signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD),
)

_COUNTED = (signal.SIGTTIN, signal.SIGTTOU)
"""Two of them mean twice as much."""

Handlers = Mapping[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers]


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

    def take(self) -> list[signal.Signals]:
        """The signals that have come since the last call, in order; each at most once, but for those that count."""
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            pass
        taken: list[signal.Signals] = []
        while self._queue:  # one by one: another may come between any two of these steps
            number = signal.Signals(self._queue.popleft())
            if number in _COUNTED or number not in taken:
                taken.append(number)
        return taken

    def pass_time(self, seconds: float) -> None:
        """Wait so long; what comes meanwhile means nothing, but for USR1: the log is opened anew."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            select.select([self], [], [], left)
            if signal.SIGUSR1 in self.take():
                log.reopen()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._queue.append(number)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal: then WINCH comes whenever its window is resized."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


# --- around a fork


_HELD = (*QUEUED, signal.SIGALRM)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside it no signal is taken; those that come are taken at its end. A thread made there never takes any."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_in_child(handlers: Handlers) -> None:
    """In a child that was forked inside of `held_back`: take what comes from here on, as `handlers` say.

    What they say nothing of ends the child, reopens its log, or is the parent's business: a terminal and
    `kill -- -PGID` send it to all of us.
    """
    signal.set_wakeup_fd(-1)
    for number, handler in {**_IN_CHILD, **handlers}.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def _reopen_log(_number: int, _frame: FrameType | None) -> None:
    log.reopen()


_IN_CHILD: Handlers = {
    **dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD), signal.SIG_DFL),
    **dict.fromkeys((signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH), signal.SIG_IGN),
    signal.SIGUSR1: _reopen_log,
}
