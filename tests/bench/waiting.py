# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A queue in which nothing is due: W6. What it costs to list it, and to look through it."""

import statistics
import subprocess
import time
from typing import Any

LISTS, SCANS = 3, 3


def wait_full(server, count: int) -> dict[str, Any]:
    """Seconds of a list, and CPU seconds of a scan: medians."""
    server.fill_with_waiting(count)
    if (queued := server.queued()) != count:
        raise SystemExit(f"{server.name}: {queued} messages wait instead of {count}")
    server.settled_cpu()
    return {
        "waiting": count,
        "list_s": round(statistics.median(_list(server.list_queue, count) for _ in range(LISTS)), 3),
        "scan_cpu_s": round(statistics.median(server.scan() for _ in range(SCANS)), 4),
    }


def _list(command: list[str], count: int) -> float:
    began = time.perf_counter()
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    seconds = time.perf_counter() - began
    if (lines := listed.count(b"\n")) < count:
        raise SystemExit(f"{command}: lists {lines} lines for {count} messages")
    return seconds
