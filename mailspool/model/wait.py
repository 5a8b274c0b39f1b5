# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is waited for between two steps, so that one thread can go on with many things: see `supervisor.loop`."""

from collections.abc import Generator
from typing import TypeVar

_Result = TypeVar("_Result")


class Wait:
    """For at most so many seconds, for a descriptor of which one of `events` is true (select.POLLIN, …).

    came: which were, 0 if none in time. descriptor: -1: nothing but time is waited for.
    """

    __slots__ = ("came", "descriptor", "events", "seconds")

    def __init__(self, seconds: float, descriptor: int = -1, events: int = 0) -> None:
        self.seconds, self.descriptor, self.events = seconds, descriptor, events
        self.came = 0


Steps = Generator[Wait | None, None, _Result]
"""It yields whenever it waits: None if it cannot say for what, because from there on it may block."""
