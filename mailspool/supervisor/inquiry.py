# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the scout is asked of strangers, what it answers, and which connections wait for a worker. Time is an argument.

At most MAX_ASKED questions are open, counting the connections that wait for a worker: hosts dislike who comes and goes
in silence. Half of them are about what has failed before, for which the scout is patient. An answer to a question
that is not open is dropped, and so is a connection that nobody came for in time.
"""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

from mailspool.model.target import Host
from mailspool.supervisor.destination import Destination
from mailspool.supervisor.scout import MAX_ASKED, Answer, Question, Verdict

ROUND, LEAST_PATIENCE = 40.0, 3.0
"""Seconds in which each of the strangers that wait has its turn; and which each of them has for an answer at least."""

_NEVER = float("inf")


def patience(places: int, waiting: int) -> float:
    """Seconds for each answer of strangers that have so many places, while so many others wait for one."""
    return max(LEAST_PATIENCE, ROUND * places / waiting) if waiting else _NEVER


class Inquiries:
    """destinations: all that are known, by name; those that are asked about stay known.

    changed: told the name of each of which something else is known now.
    """

    def __init__(self, destinations: Mapping[str, Destination], changed: Callable[[str], object]) -> None:
        self._destinations, self._changed = destinations, changed
        self._asked: dict[int, str] = {}  # by the number of the question
        self._patient: set[int] = set()  # those of them for which the scout is
        self._held: dict[str, Destination] = {}  # those whose connection waits, the oldest first
        self._numbers = count()
        self._era = 0

    def put(self, names: Iterable[str], waiting: int) -> Iterator[Question]:
        """Questions to ask at once, about these destinations. waiting: how many may need it."""
        if self._all_open:
            return
        for name in names:
            destination = self._destinations[name]
            is_patient = destination.waiting[0].patient
            if is_patient and len(self._patient) >= MAX_ASKED // 2:
                continue
            destination.asked, destination.patient = True, is_patient
            number = next(self._numbers)
            self._asked[number] = name
            self._patient |= {number} if is_patient else set()
            self._changed(name)
            yield Question(number, destination.waiting[0], patience(MAX_ASKED, waiting), self._era)
            if self._all_open:
                return

    @property
    def _all_open(self) -> bool:
        return len(self._asked) + len(self._held) >= MAX_ASKED

    def answered(self, answer: Answer, connection: socket.socket | None, cool_down: float, now: float) -> str:
        """What the scout found. The connection is ours now. cool_down: as in `job.Limits`.

        The destination that it is about, "" if it was asked about none.
        """
        name = self._asked.pop(answer.number, "")
        self._patient.discard(answer.number)
        if not name:
            if connection:
                connection.close()
            return ""
        destination = self._destinations[name]
        destination.asked = False
        self._changed(name)
        match answer.verdict:
            case Verdict.SPEAKS:
                destination.spoke(now, answer.host, connection)
            case Verdict.SILENT:
                destination.silent(now, cool_down, answer.refusal, answer.found)
            case Verdict.BUSY:
                destination.busy(now)
            case Verdict.UNKNOWN:
                destination.spoke(now)
        if connection:
            self._held[name] = destination
        return name

    def begin_era(self) -> None:
        """From now on no earlier silence counts."""
        self._era += 1

    def unanswered(self, now: float) -> None:
        """The scout has ended: workers find out what it was asked."""
        for name in self._asked.values():
            self._destinations[name].spoke(now)
        self.forget()

    def forget(self) -> None:
        """Whoever was asked will not answer."""
        for name in self._asked.values():
            self._destinations[name].asked = False
            self._changed(name)
        self._asked.clear()
        self._patient.clear()

    # --- connections

    def contact(self, name: str, now: float) -> tuple[Host | None, socket.socket | None]:
        """For a worker: the host of a destination that has spoken, and the connection if nobody has it yet."""
        self._held.pop(name, None)
        return self._destinations[name].contact(now)

    def release_held(self, now: float) -> None:
        """Close the connections that no worker came for in time."""
        while self._held and now >= next(iter(self._held.values())).held_until:
            self._held.pop(next(iter(self._held))).release()

    def close_in_child(self) -> None:
        """They are the parent's: a copy would keep them open."""
        for each in self._held.values():
            each.release()

    def left(self, now: float) -> float:
        """Seconds until there is one to close, inf if none is held."""
        return next((each.held_until - now for each in self._held.values()), _NEVER)
