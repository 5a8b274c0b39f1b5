# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The phases of an SMTP session and how long each may take (RFC 5321 §4.5.3.2)."""

from collections.abc import Callable
from enum import IntEnum

import msgspec


class Phase(IntEnum):
    """Where a session stands; in the order in which they happen. Numbers go to the shared scoreboard."""

    IDLE = 0
    RESOLVE = 1
    CONNECT = 2
    GREETING = 3
    EHLO = 4
    STARTTLS = 5
    MAIL = 6
    RCPT = 7
    DATA = 8
    CONTENT = 9
    FINAL = 10  # the final dot may be on its way: whoever interrupts from here on risks a second copy
    QUIT = 11
    SETTLE = 12


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds to wait for the whole of each reply (not for each piece of it: a dripping host gets no longer)."""

    connect: float = 30.0
    greeting: float = 300.0  # §4.5.3.2.1
    ehlo: float = 300.0
    starttls: float = 60.0
    mail: float = 300.0  # §4.5.3.2.2
    rcpt: float = 300.0  # §4.5.3.2.3
    data: float = 120.0  # §4.5.3.2.4
    content: float = 180.0  # §4.5.3.2.5: for each block of content to be taken
    final: float = 600.0  # §4.5.3.2.6: never shorter on purpose, or two copies arrive (RFC 1047)
    quit: float = 5.0  # nothing depends on the answer any more


Watch = Callable[[Phase, str, float], None]
"""Told when a phase begins: the phase, the host, and the seconds that it may take at most.

A worker's watch keeps the scoreboard, its title and its alarm by it; from `Phase.FINAL` on no alarm cuts.
"""


def nobody_watches(_phase: Phase, _host: str, _seconds: float) -> None:
    """The watch of a delivery that runs in the caller's own process."""
