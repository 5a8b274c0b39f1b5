# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Goes on with hundreds of things in one thread, each when what it waits for has come; what may block gets its own.

A thread for each would cost more than what it does: each call to the kernel gives the interpreter's lock away, and
hundreds that want it wake each other up.
"""

import _thread
import select
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import NamedTuple, TypeVar

from mailspool.model.wait import Steps, Wait

_Result = TypeVar("_Result")

_NEVER = float("inf")


class _Waiting(NamedTuple):
    """until: of the clock."""

    steps: Steps[None]
    wait: Wait
    until: float


class Loop:
    """clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._waiting: dict[int, _Waiting] = {}  # by descriptor; who has none, by a number that is none
        self._numbers = count(-1, -1)
        self._next = _NEVER  # nobody's time is over before

    def begin(self, steps: Steps[None]) -> None:
        """Go on with it, until it waits. What it raises is raised here; in a thread of its own, nowhere."""
        try:
            wait = next(steps)
        except StopIteration:
            return
        if wait:
            self._await(steps, wait)
            return
        try:
            # Not by threading.Thread, which waits until its thread has run: behind all others, with each.
            _thread.start_new_thread(through, (steps,))
        except RuntimeError as error:  # no thread is to be had
            with suppress(StopIteration):
                steps.throw(error)

    def _await(self, steps: Steps[None], wait: Wait) -> None:
        until = self._clock() + wait.seconds
        self._next = min(self._next, until)
        if wait.descriptor < 0:
            self._waiting[next(self._numbers)] = _Waiting(steps, wait, until)
        else:
            self._waiting[wait.descriptor] = _Waiting(steps, wait, until)
            self._epoll.register(wait.descriptor, wait.events)

    def turn(self) -> None:
        """Wait until something has come, or somebody's time is over, and go on with that."""
        left = None if self._next == _NEVER else max(0.0, self._next - self._clock())
        for descriptor, events in self._epoll.poll(left):
            self._go_on(descriptor, events)
        now = self._clock()
        if now >= self._next:
            for key in [key for key, each in self._waiting.items() if now >= each.until]:
                self._go_on(key)
            self._next = min((each.until for each in self._waiting.values()), default=_NEVER)

    def _go_on(self, key: int, came: int = 0) -> None:
        steps, wait, _ = self._waiting.pop(key)
        if key >= 0:
            self._epoll.unregister(key)
        wait.came = came
        self.begin(steps)


def through(steps: Steps[_Result]) -> _Result:
    """All of it, in this thread, which waits wherever it does."""
    while True:
        try:
            wait = next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
        if wait:
            poll = select.poll()
            if wait.descriptor >= 0:
                poll.register(wait.descriptor, wait.events)
            wait.came = next((events for _, events in poll.poll(wait.seconds * 1000)), 0)
