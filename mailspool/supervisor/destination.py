# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is known of one destination: how many workers it bears at once, and when it is left alone. Time is an argument.

Its concurrency starts low, grows by one with each batch of which it takes something, and is halved when it refuses a
session. In its slow start (as in RFC 5681 §3.1), until it was halved or is all it may be, batches are small. When a
single worker, or a stranger's, is refused it cools down, each time twice as long as before; then one worker with one
group of jobs, the probe, finds out whether it takes mail again. All other jobs are put off meanwhile.
A stranger gets a worker only once some host of it has spoken with the scout, who keeps the connection open for it.
"""

import socket
from collections import deque
from itertools import takewhile

from mailspool.model.target import Host
from mailspool.supervisor.job import Job

FIRST_CONCURRENCY = 2

LONGEST_COOL_DOWN = 3600.0
"""Seconds; the cool-down is doubled no further than to this, unless it was longer from the beginning."""

REMEMBERED = 3600.0
"""Seconds after its last delivery in which a destination is no stranger, and after a cool-down till it is forgotten;
and for which one that loses connections is treated with care."""

SPOKEN = 120.0
"""Seconds after it has spoken in which a stranger needs no scout."""

HELD = 5.0
"""Seconds for which a connection waits for a worker; hosts drop who says nothing, but not so soon."""

FIRST_REST, LONGEST_REST = 4.0, 60.0
"""Seconds until the scout is asked again about a destination whose host was busy; doubled each time."""

_LONG_AGO, _NEVER = float("-inf"), float("inf")


class Destination:
    """more: a look found more jobs than fit. most: how many waited after the last one was added.

    refusals: cool-downs since it last took something. refusal: how it refused the first of them, and when.
    address: of the host that was spoken with last, "" if unknown.
    """

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()
        self.workers = 0
        self.more = False
        self.most = 0
        self.concurrency = FIRST_CONCURRENCY
        self._threshold = _NEVER  # of its concurrency, where the slow start ends
        self.cool_until = 0.0
        self.refusals = 0
        self.refusal = ""
        self.address = ""
        self.patient = False  # the last batch was
        self._known_until = self._careful_until = 0.0
        # what the scout said
        self.asked = False
        self.rest_until = 0.0
        self._rest = 0.0
        self._spoken_until = _LONG_AGO
        self._host: Host | None = None
        self._connection: socket.socket | None = None
        self.held_until = _LONG_AGO
        self._found = b""

    def stranger(self, now: float) -> bool:
        """Whether it has taken nothing lately."""
        return now >= self._known_until

    def may_have_more(self, most: int, now: float) -> bool:
        """Whether one more worker may go there. most: whatever it bears."""
        return bool(self.waiting) and now >= self.cool_until and self.workers < min(most, self.concurrency)

    def in_slow_start(self, most: int) -> bool:
        """Whether what it bears is yet to be found out. most: workers that it could have."""
        return self.concurrency < min(most, self._threshold)

    def free_from(self, now: float, *, scouted: bool) -> float:
        """When a worker may come here, as far as that is known; inf if the scout's answer is waited for."""
        if now < self.cool_until and not self.may_put_off(now):
            return self.cool_until
        return _NEVER if scouted and not (self.spoken(now) or self.may_put_off(now)) else now

    def keep(self, number: int) -> list[Job]:
        """Let go of all waiting jobs but the first ones, so many; which those are."""
        gone = [self.waiting.pop() for _ in range(len(self.waiting) - number)]
        if gone:
            self.more, self.most = True, number
        return gone

    def probe(self) -> int:
        """How many of the waiting jobs, the first ones, are of one group."""
        return sum(1 for _ in takewhile(lambda job: job.group == self.waiting[0].group, self.waiting))

    def put_off(self, now: float, most: int) -> list[Job]:
        """At most so many jobs that are not to be tried while it cools down, taken out: not the probe.

        What the scout has tried is settled by what it found, before the others, even if no cool-down is wanted.
        """
        if not self.may_put_off(now):
            return []
        probe = self.probe()
        if self._found:
            return [self.waiting.popleft()._replace(refusal=self.refusal) for _ in range(min(probe, most))]
        count = min(most, len(self.waiting) - probe)
        return [self.waiting.pop()._replace(refusal=self.refusal) for _ in range(count)]

    def may_put_off(self, now: float) -> bool:
        """Whether `put_off` would give any."""
        if self.workers or not self.waiting:
            return False
        return bool(self._found) or (now < self.cool_until and len(self.waiting) > self.probe())

    def took(self, now: float, most: int) -> None:
        """It has taken something of a batch. most: workers that any destination may have."""
        self.concurrency = min(self.concurrency + 1, most)
        self._known_until = now + REMEMBERED
        self.end_cool_down()

    def refused(self, now: float, cool_down: float, refusal: str) -> None:
        """It has refused a session. cool_down: seconds, the first time. refusal: how."""
        self._spoken_until = _LONG_AGO
        if now < self.cool_until:  # a worker that had set out before
            return
        if self.concurrency > 1 and not self.stranger(now):
            self._threshold = self.concurrency = self.concurrency // 2
            return
        self._threshold = self.concurrency = 1
        self.refusal = self.refusal or refusal
        self.cool_until = now + min(cool_down * 2.0**self.refusals, max(cool_down, LONGEST_COOL_DOWN))
        self.refusals += 1

    def lost(self, now: float) -> None:
        """A connection with it was lost before it was known what became of a job."""
        self._careful_until = now + REMEMBERED

    def careful(self, now: float) -> bool:
        """Whether that was lately."""
        return now < self._careful_until

    def slow_down(self) -> bool:
        """It wants less: from now on it bears as many as are still at work there. False if it had only one already."""
        had, self.concurrency = self.concurrency, max(1, min(self.concurrency - 1, self.workers))
        self._threshold = self.concurrency
        return had > 1

    def end_cool_down(self) -> None:
        """It is as if it had never refused."""
        self.cool_until, self.refusals, self.refusal, self._found = 0.0, 0, "", b""
        self.rest_until = self._rest = 0.0

    def idle(self, now: float) -> bool:
        """Whether nothing is left to remember of it."""
        if self.waiting or self.workers or self.asked or self._connection:
            return False
        remembered = self.cool_until + REMEMBERED if self.refusals else 0.0
        return now >= max(remembered, self._known_until, self._careful_until)

    # --- with a scout

    def spoken(self, now: float) -> bool:
        """Whether a worker need not fear that nobody answers there."""
        return now < self._spoken_until or not self.stranger(now)

    def unheard_from(self, now: float) -> float:
        """When the scout is to be asked about it; inf if it need not be, as things stand."""
        if self.asked or self._found or self.workers or not self.waiting or self.spoken(now):
            return _NEVER
        return max(self.cool_until, self.rest_until)

    def spoke(self, now: float, host: Host | None = None, connection: socket.socket | None = None) -> None:
        """It may be tried by workers; host: which of its hosts has spoken."""
        self.release()
        self._spoken_until = now + SPOKEN
        self.rest_until = self._rest = 0.0
        self._host, self._connection = host, connection
        if host:
            self.address = host.address
        if connection:
            self.held_until = now + HELD

    def silent(self, now: float, cool_down: float, refusal: str, found: bytes) -> None:
        """None of its hosts has spoken. The job that the scout was asked about has been tried thereby."""
        cooling = now < self.cool_until
        self.refused(now, cool_down, refusal)
        if not cooling:
            self._found = found

    def busy(self, now: float) -> None:
        """Its host has been asked by so many others that the answer is better waited for."""
        self._rest = min(LONGEST_REST, max(FIRST_REST, self._rest * 2))
        self.rest_until = now + self._rest

    def found(self) -> bytes:
        """What the scout met, for the job that it has tried; once."""
        found, self._found = self._found, b""
        return found

    def contact(self, now: float) -> tuple[Host | None, socket.socket | None]:
        """The host that has spoken, for a worker; for the first one with the connection."""
        connection, self._connection = self._connection, None
        self.held_until = _LONG_AGO
        return self._host if now < self._spoken_until else None, connection

    @property
    def holds(self) -> bool:
        """Whether a connection waits for a worker."""
        return self._connection is not None

    def release(self) -> None:
        """Nobody came for the connection in time: that is not the host's fault."""
        if self._connection:
            self._connection.close()
        self._connection, self.held_until = None, _LONG_AGO
