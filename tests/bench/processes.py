# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a process and its descendants have used, read from /proc (proc(5)). Who has ended is counted by its parent."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 60.0

Value = TypeVar("Value")


def family(pid: int) -> list[int]:
    """A process, its children, theirs, and so on."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            found += [int(child) for child in _read(each, f"task/{each}/children").split()]
    return found


def name_of(pid: int) -> str:
    """As the kernel shortens it."""
    with suppress(OSError):
        return _read(pid, "comm").strip()
    return ""


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes, and of those children of theirs that were waited for."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):
            fields = _read(pid, "stat").rpartition(")")[2].split()
            total += int(_read(pid, "schedstat").split()[0]) / 1e9 + (int(fields[13]) + int(fields[14])) / _TICKS
    return total


def resident(pids: Iterable[int]) -> int:
    """Octets in memory; pages that processes share count for each of them."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += int(_read(pid, "statm").split()[1]) * _PAGE
    return total


def own(pids: Iterable[int]) -> int:
    """Octets in memory that no file is behind; a page that n processes still share counts 1/n for each. Slow."""
    return sum(_line(pid, "smaps_rollup", "Pss_Anon:") for pid in pids)


def peak(pid: int) -> int:
    """The most octets that one process had in memory since it began its program."""
    return _line(pid, "status", "VmHWM:")


def _line(pid: int, file: str, key: str) -> int:
    with suppress(OSError):
        for line in _read(pid, file).splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


def _read(pid: int, file: str) -> str:
    return Path(f"/proc/{pid}/{file}").read_text()


def eventually(condition: Callable[[], Value], what: str, timeout: float = PATIENCE) -> Value:
    """The condition's value as soon as it is true."""
    until = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > until:
            raise SystemExit(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)
    return value
