# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a check finds: how bad, what, and what mends it. And running checks beside each other, in bounded time."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from threading import Thread

import msgspec

from mailspool.errors import DeliveryError, MailspoolError


class Level(StrEnum):
    """ok; warning: mail may be late or refused somewhere, or it could not be known; problem: mail stays here."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    """One thing found. check: the area, as "dns". fix: what to do, "" where there is nothing to do."""

    check: str
    level: Level
    text: str
    fix: str = ""


Found = tuple[Level, str, str]
"""Level, text and fix."""

Check = Callable[[], Iterable[Found]]


def ok(text: str) -> Found:
    """All is well."""
    return Level.OK, text, ""


def warning(text: str, fix: str) -> Found:
    """It may do harm."""
    return Level.WARNING, text, fix


def problem(text: str, fix: str) -> Found:
    """It does harm."""
    return Level.PROBLEM, text, fix


def unknown(why: str, fix: str = "") -> Found:
    """It could not be found out: that is no sign of either."""
    return Level.WARNING, f"not known: {why}", fix


def run(checks: Mapping[str, Check], seconds: float) -> list[Finding]:
    """Run all checks beside each other, in their order; what has no result within so many seconds is not known."""
    results: dict[str, list[Found]] = {}
    threads = {
        name: Thread(target=_run_one, args=(name, check, results), daemon=True) for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    return list(_findings(checks, dict(results), seconds))


def _run_one(name: str, check: Check, results: dict[str, list[Found]]) -> None:
    try:
        results[name] = list(check())
    except DeliveryError as error:
        results[name] = [unknown(error.text)]
    except MailspoolError as error:
        results[name] = [unknown(str(error))]
    except PermissionError as error:
        results[name] = [unknown(f"{error.filename}: {error.strerror}: ask again as root")]
    except Exception as error:  # noqa: BLE001 - one check must not keep the others' results back
        results[name] = [unknown(f"{type(error).__name__}: {error}")]


def _findings(checks: Iterable[str], results: Mapping[str, list[Found]], seconds: float) -> Iterator[Finding]:
    for name in checks:
        for level, text, fix in results.get(name, [unknown(f"no result within {seconds:g} s")]):
            yield Finding(name.partition(" ")[0], level, text, fix)
