# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is known of one destination: how many workers it bears at once, and when it is left alone. Time is an argument.

Its concurrency starts low, grows by one with each batch of which it takes something, and is halved when it refuses a
session. When a single worker, or a stranger's, is refused it cools down, each time twice as long as before; then one
worker with one group of jobs, the probe, finds out whether it takes mail again. All other jobs are put off meanwhile.
"""

from collections import deque
from itertools import takewhile

from mailspool.supervisor.job import Job

FIRST_CONCURRENCY = 2

LONGEST_COOL_DOWN = 3600.0
"""Seconds; the cool-down is doubled no further than to this, unless it was longer from the beginning."""

REMEMBERED = 3600.0
"""Seconds after its last delivery in which a destination is no stranger, and after a cool-down till it is forgotten."""


class Destination:
    """more: a look found more jobs than fit. most: how many waited after the last one was added.

    refusals: cool-downs since it last took something. refusal: how it refused the first of them, and when.
    """

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()
        self.workers = 0
        self.more = False
        self.most = 0
        self.concurrency = FIRST_CONCURRENCY
        self.cool_until = 0.0
        self.refusals = 0
        self.refusal = ""
        self._known_until = 0.0

    def stranger(self, now: float) -> bool:
        """Whether it has taken nothing lately."""
        return now >= self._known_until

    def may_have_more(self, most: int, now: float) -> bool:
        """Whether one more worker may go there. most: whatever it bears."""
        return bool(self.waiting) and now >= self.cool_until and self.workers < min(most, self.concurrency)

    def keep(self, number: int) -> list[Job]:
        """Let go of all waiting jobs but the first ones, so many; which those are."""
        gone = [self.waiting.pop() for _ in range(len(self.waiting) - number)]
        if gone:
            self.more, self.most = True, number
        return gone

    def probe(self) -> int:
        """How many of the waiting jobs, the first ones, are of one group."""
        return sum(1 for _ in takewhile(lambda job: job.group == self.waiting[0].group, self.waiting))

    def may_put_off(self, now: float) -> bool:
        """Whether jobs wait in vain behind the probe."""
        return now < self.cool_until and not self.workers and len(self.waiting) > self.probe()

    def took(self, now: float, most: int) -> None:
        """It has taken something of a batch. most: workers that any destination may have."""
        self.concurrency = min(self.concurrency + 1, most)
        self._known_until = now + REMEMBERED
        self.end_cool_down()

    def refused(self, now: float, cool_down: float, refusal: str) -> None:
        """It has refused a session. cool_down: seconds, the first time. refusal: how."""
        if now < self.cool_until:  # a worker that had set out before
            return
        if self.concurrency > 1 and not self.stranger(now):
            self.concurrency //= 2
            return
        self.concurrency = 1
        self.refusal = self.refusal or refusal
        self.cool_until = now + min(cool_down * 2.0**self.refusals, max(cool_down, LONGEST_COOL_DOWN))
        self.refusals += 1

    def slow_down(self) -> bool:
        """It wants less: from now on it bears as many as are still at work there. False if it had only one already."""
        had, self.concurrency = self.concurrency, max(1, min(self.concurrency - 1, self.workers))
        return had > 1

    def end_cool_down(self) -> None:
        """It is as if it had never refused."""
        self.cool_until, self.refusals, self.refusal = 0.0, 0, ""

    def idle(self, now: float) -> bool:
        """Whether nothing is left to remember of it."""
        remembered = self.cool_until + REMEMBERED if self.refusals else 0.0
        return not self.waiting and not self.workers and now >= max(remembered, self._known_until)
