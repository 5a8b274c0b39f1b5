# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Durations and sizes as people write them, "1h30m" and "10 MB"; a configuration of plain numbers never loads this.

Sizes mean what they mean to GNU's tools: kB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB and the bare letters
k, M, G, T are powers of 1024. Capitals and spaces make no difference.
"""

from collections.abc import Callable
from typing import Final

SECONDS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
"""The units of a duration, in the order in which they are written."""

OCTETS: Final = (
    {"": 1, "b": 1}
    | {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    | {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
    | {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
)
"""The units of a size, in lower case."""

_WRITTEN = ("kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB")


def parse_duration(text: str) -> float:
    """Seconds of "30m", "1h30m", "1.5 h", "90". Larger units come first, each once. Raises ValueError."""
    rest = "".join(text.lower().split())
    if SECONDS.keys().isdisjoint(rest):
        return _number(rest)
    seconds = 0.0
    for unit, size in SECONDS.items():
        number, found, after = rest.partition(unit)
        if found:
            seconds += _number(number) * size
            rest = after
    if rest:
        raise ValueError(f"{text!r} is no duration such as 1h30m")
    return seconds


def parse_size(text: str) -> int:
    """Octets of "10 MB", "10 MiB", "4k", "512". Raises ValueError."""
    whole = "".join(text.lower().split())
    number = whole.rstrip("bikmgt")
    try:
        return round(_number(number) * OCTETS[whole[len(number) :]])
    except (KeyError, OverflowError):
        raise ValueError(f"{text!r} is no size such as 10 MB or 10 MiB") from None


PARSERS: Final[dict[str, Callable[[str], float]]] = {"seconds": parse_duration, "octets": parse_size}
"""For each unit that an option may have, what reads it."""


def written(number: float, unit: str) -> str:
    """A number of that unit as people write it, "" where they would write the bare number."""
    if unit == "seconds" and number % 1 == 0:
        return _duration(int(number))
    if unit == "octets" and number:
        return next((f"{number // size} {name}" for name, size in _sizes() if not number % size), "")
    return ""


def _duration(seconds: int) -> str:
    parts = []
    for unit, size in list(SECONDS.items())[1:]:  # "7d", not "1w": nobody reads 12d as 1w5d
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def _sizes() -> list[tuple[str, int]]:
    return sorted(((name, OCTETS[name.lower()]) for name in _WRITTEN), key=lambda one: -one[1])


def _number(text: str) -> float:
    """A plain decimal number; float() would take "nan", "1_0" and "-1" too."""
    if not (text.isascii() and text.replace(".", "", 1).isdecimal()):
        raise ValueError(f"{text!r} is no number")
    return float(text)
