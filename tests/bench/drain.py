# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Draining a full queue into one sink, from its release to the last message: W1, W2, W4, W4b and W5."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from names import HEALTHY, MANY, SILENT, STALLING
from processes import cpu_seconds, eventually, own, resident
from server import RECIPIENT, SMARTHOST, Setup

MEBI = 1 << 20
_POLL, _SAMPLE = 0.005, 0.25  # seconds between looks at the sink's counters, and at the processes' memory


class Drain(NamedTuple):
    """groups: recipients of messages that are queued group after group. counted: how many of the last one must come.

    smarthost: all goes to the sink's own port; else DNS says where. sink, options: see Sink and Setup.
    """

    groups: Sequence[Sequence[str]]
    size: int = 4096
    smarthost: bool = False
    sink: Mapping[str, Any] = {}
    options: Mapping[str, Mapping[str, object]] = {}

    @property
    def counted(self) -> int:
        return len(self.groups[-1])

    @property
    def complete(self) -> bool:
        """Whether the queue is empty in the end."""
        return len(self.groups) == 1

    @property
    def setup(self) -> Setup:
        return Setup(SMARTHOST if self.smarthost else "", self.options)


TWENTY = {"mailspool": {"max_dequeue_processes": 20}, "Postfix": {"default_process_limit": 20}}
_TWENTY_TO_ONE = {"mailspool": {"max_dequeue_processes": 40, "max_per_destination": 20, "max_per_host": 20}}
_LATE = {"delay": 20}
_CHUNKS = {"chunking": True}


def drains(most: int, late: int) -> dict[str, Drain]:
    """By name. most: messages of any kind that are left of a larger number. late: of those to a slow peer."""

    def to(*domains: str, count: int = 0) -> list[str]:
        count = min(count or len(domains), most)
        return [f"user@{domains[number % len(domains)]}" for number in range(count)]

    one, slow, large = [RECIPIENT] * min(5000, most), [RECIPIENT] * min(late, most), [RECIPIENT] * min(100, most)
    good = to("good.test", count=1000)
    return {
        "W1": Drain([one], smarthost=True),
        "W1 CHUNKING": Drain([one], smarthost=True, sink=_CHUNKS),
        "W1 late": Drain([slow], smarthost=True, sink=_LATE, options=_TWENTY_TO_ONE),
        "W1 late CHUNKING": Drain([slow], smarthost=True, sink={**_LATE, **_CHUNKS}, options=_TWENTY_TO_ONE),
        "W2": Drain([to(*MANY, count=5000)]),
        "W4": Drain([to(*SILENT), good], options=TWENTY),
        "W4 alone": Drain([good], options=TWENTY),
        "W4b silent": Drain([to(*SILENT), to(*HEALTHY)], options=TWENTY),
        "W4b stalling": Drain([to(*STALLING), to(*HEALTHY)], options=TWENTY),
        "W5": Drain([large], size=10 * MEBI, smarthost=True),
        "W5 CHUNKING": Drain([large], size=10 * MEBI, smarthost=True, sink=_CHUNKS),
    }


def drain(server, sink, what: Drain, cap: float) -> dict[str, Any]:
    """One server, filled while held, then released. What it took, at most `cap` seconds."""
    server.hold()
    for number, group in enumerate(what.groups):
        if number:
            time.sleep(1.1)  # names tell the second in which a message came
        server.fill(group, what.size)
    if (queued := server.queued()) != sum(map(len, what.groups)):
        raise SystemExit(f"{server.name}: {queued} messages in the queue instead of {sum(map(len, what.groups))}")
    os.sync()
    time.sleep(1)  # whatever filled it comes to rest
    sink.reset()
    cpu, released = cpu_seconds(server.processes), time.monotonic()
    server.release()
    memory = _watch(server, sink, what, released + cap)
    counters, anonymous = sink.counters, own(server.deliverers)
    done = counters.messages >= what.counted
    if what.complete and done:
        eventually(lambda: not server.queued(), f"{server.name} has settled all")
        if sink.counters.messages != what.counted:
            raise SystemExit(f"{server.name}: {sink.counters.messages} messages at the sink instead of {what.counted}")
    seconds = counters.last / 1e9 - released if done else cap
    came = max(1, counters.messages)
    return {
        "messages": what.counted,
        "came": counters.messages,
        "seconds": round(seconds, 4),
        "rate": round(counters.messages / seconds, 1),
        "mb_rate": round(counters.messages * what.size / seconds / 1e6, 1),
        "first_after": round(counters.first / 1e9 - released, 4) if counters.first else None,
        "cpu_ms": round((cpu_seconds(server.processes) - cpu) / came * 1e3, 4),
        "rss_mb": round(memory / 1e6, 1),
        "own_mb": round(anonymous / 1e6, 1),
        "processes": len(server.deliverers),
        "sessions": counters.sessions,
    }


def _watch(server, sink, what: Drain, until: float) -> int:
    """Returns the most octets that all its processes had in memory at once, when all has come or it is over."""
    most, next_sample = 0, 0.0
    while sink.counters.messages < what.counted and (now := time.monotonic()) < until:
        if now >= next_sample:
            most, next_sample = max(most, resident(server.deliverers)), now + _SAMPLE
        time.sleep(_POLL)
    return max(most, resident(server.deliverers))
