# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How values are shown to people: ages, sizes and times in few characters, and others' words made harmless."""

import time
from functools import lru_cache
from textwrap import wrap

WIDTH = 80
"""Columns of what is read like a text, on a terminal or not."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def shown(text: str) -> str:
    """A text that others chose, with whatever could steer a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, width: int | None) -> str:
    """Shown, in at most `width` characters; None: in all of them."""
    if not text.isprintable():
        text = shown(text)
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def folded(line: str, hang: int = 4) -> list[str]:
    """A line that is too long for 80 columns in several, the others further in by `hang`. No word is broken."""
    inner = " " * (len(line) - len(line.lstrip()) + hang)
    return wrap(line, WIDTH, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False) or [line]


@lru_cache(1000)  # of whole seconds: in a list many arrived in the same
def span(seconds: float, units: int = 2) -> str:
    """A time span in its largest units: "3h 10m", or with one unit "3h". What is negative is 0s."""
    rest = max(0, round(seconds))
    said = ""
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        said += f" {number}{unit}" if number else ""
        units -= said != ""
        if not units:
            break
    return said[1:] or "0s"


def moment(when: float) -> str:
    """A point in time, Unix seconds, as the clock on the wall has it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def octets(number: float) -> str:
    """A size: "812", "1.2K", "34M"."""
    for unit in ("", "K", "M", "G"):
        if number < 1000 or unit == "G":
            break
        number /= 1024
    return f"{number:.1f}{unit}" if unit and number < 10 else f"{number:.0f}{unit}"


def count(number: int, thing: str) -> str:
    """A number of things: "1 node", "2 nodes"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
