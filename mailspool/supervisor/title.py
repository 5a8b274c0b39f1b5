# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Titles, as `ps` and `top` show them: rewritten once a second at most, however busy the process is."""

import time
from _thread import start_new_thread
from collections.abc import Callable

from setproctitle import setproctitle

from mailspool.model.phase import Phase
from mailspool.supervisor.scoreboard import Slot
from mailspool.supervisor.signals import held_back

PERIOD = 1.0
"""Seconds between two titles."""

_NEVER = float("inf")


class Title:
    """The supervisor's. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shown = self._wanted = ""
        self._next = 0.0

    def show(self, state: str) -> bool:
        """Show it now, or once it is given again after `left`. Whether it was shown now, and is new."""
        self._wanted = state
        if state == self._shown or self._clock() < self._next:
            return False
        self._shown, self._next = state, self._clock() + PERIOD
        setproctitle(f"mailspool: supervisor [{state}]")
        return True

    @property
    def left(self) -> float:
        """Seconds until what has changed may be shown."""
        return self._next - self._clock() if self._wanted != self._shown else _NEVER


class WorkerTitle:
    """A worker's: what its line of the scoreboard says. about: what is done, for whoever reads it.

    A thread keeps it, so that a phase costs nothing to show, and one is shown too that hangs in a call to a dead file
    server. clock: that of the slot.
    """

    def __init__(self, serial: int, slot: Slot, clock: Callable[[], float]) -> None:
        self._serial, self._slot, self._clock = serial, slot, clock
        self.about = ""

    def keep(self) -> None:
        """From now on, for as long as the process lives."""
        with held_back():  # a signal is to wake whoever waits for a peer
            start_new_thread(self._keep, ())  # `threading`'s objects would be a quarter of a megabyte in each worker

    def _keep(self) -> None:
        shown = ""
        while True:
            time.sleep(PERIOD)
            if (wanted := str(self)) != shown:
                setproctitle(wanted)
                shown = wanted

    def __str__(self) -> str:
        entry = self._slot.read()
        if entry.phase is Phase.IDLE:
            return f"mailspool: worker {self._serial} idle"
        about, where = self.about and f" {self.about}", entry.host and f" → {entry.host}"
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - (self._clock() - entry.since)))
        return f"mailspool: worker {self._serial}{about}{where} {entry.phase.name} since {since}"
