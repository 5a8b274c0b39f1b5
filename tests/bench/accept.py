# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Handing mail in, durably, while nothing is delivered: W3; and the way of one message through an idle server."""

import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

from processes import eventually
from server import RECIPIENT, message

SIZE = 4096
_REST = 0.1  # seconds until a server counts as idle again


def accept(server, most: int) -> dict[str, Any]:
    """Messages per second, by each way in that the server has. most: messages that are left of a larger number."""
    server.hold()
    text = message(SIZE).replace(b"\r\n", b"\n")
    rates = {"sendmail": rate(min(200, most), lambda count: _sendmail(server.sendmail, text, count))}
    if hasattr(server, "fill_over_smtp"):
        for sessions, count in ((1, 1000), (20, 3000)):
            number = max(min(count, most), sessions)
            rates[f"smtp{sessions}"] = rate(number, lambda n, s=sessions: server.fill_over_smtp(s, n, SIZE))
    if hasattr(server, "spool"):
        rates["send_mail"] = rate(min(1000, most), lambda count: [server.send(message(SIZE, n)) for n in range(count)])
        rates["batch"] = rate(min(5000, most), lambda count: server.fill([RECIPIENT] * count, SIZE, 500))
    return rates


def rate(count: int, action: Callable[[int], object]) -> float:
    began = time.perf_counter()
    action(count)
    return round(count / (time.perf_counter() - began), 1)


def _sendmail(command: list[str], text: bytes, count: int) -> None:
    for _ in range(count):
        subprocess.run(command, input=text, check=True)


def latency(server, sink, most: int) -> dict[str, Any]:
    """Milliseconds from handing a message in to the first octet at the peer, and the longest."""
    found = []
    for number in range(min(30, most)):
        text = message(SIZE, number)
        sink.reset()
        began = time.monotonic_ns()
        server.send(text)
        eventually(lambda: sink.counters.messages == 1 and not server.queued(), f"{server.name} delivers one")
        found.append((sink.counters.spoken_to - began) / 1e6)
        time.sleep(_REST)
    return {"ms": round(statistics.median(found), 2), "most_ms": round(max(found), 2)}
