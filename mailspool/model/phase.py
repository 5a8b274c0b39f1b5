# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The phases of an SMTP session, and who is told of them. How long each may take: `model.timeouts`."""

from collections.abc import Callable
from enum import IntEnum


class Phase(IntEnum):
    """Where a session stands; in the order in which they happen. Numbers go to the shared scoreboard."""

    IDLE = 0
    RESOLVE = 1
    CONNECT = 2
    GREETING = 3
    EHLO = 4
    STARTTLS = 5
    AUTH = 6
    MAIL = 7
    RCPT = 8
    DATA = 9
    CONTENT = 10
    SEAL = 11  # no signal interrupts from here on: a seal is never half known
    FINAL = 12  # the final dot may be on its way: whoever interrupts from here on risks a second copy
    QUIT = 13
    SETTLE = 14


Watch = Callable[[Phase, str, float], None]
"""Told when a phase begins: the phase, the host, and the seconds that it may take at most.

A worker's watch keeps the scoreboard, its title and its alarm by it; from `Phase.SEAL` on no alarm cuts.
"""


_COMMITTING = (Phase.SEAL, Phase.DATA, Phase.CONTENT, Phase.CONNECT)
"""What each of them begins is hard to take back: a session, a message, a delivery."""


def guarded(watch: Watch, check: Callable[[], object]) -> Watch:
    """A watch that asks `check` before a phase that commits us; if that raises, the phase is not begun."""

    def ask(phase: Phase, host: str, seconds: float) -> None:
        if phase in _COMMITTING:
            check()
        watch(phase, host, seconds)

    return ask


def nobody_watches(_phase: Phase, _host: str, _seconds: float) -> None:
    """The watch of a delivery that runs in the caller's own process."""
