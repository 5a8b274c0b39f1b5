# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What hosts let us know in passing is handed on: that they take no session, fewer messages, one later, or hang up.

It never decides what becomes of a message, and nothing here reads more than the text of a temporary refusal.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailspool.delivery.hooks import Hooks
from mailspool.delivery.scout import refusal
from mailspool.delivery.settle import Case
from mailspool.model.hint import Kind, parse_hint
from mailspool.model.outcome import Deferred
from mailspool.store.base import Location, State
from mailspool.store.handle import Node
from mailspool.supervisor.job import Job, Station


class Wish(NamedTuple):
    """In how many seconds a host wants a node again."""

    node: Node
    seconds: float


class Heard(NamedTuple):
    """enough: no more of the batch should be begun."""

    enough: bool
    wishes: Sequence[Wish]


_NOTHING = Heard(enough=False, wishes=())


class Hints:
    """station: where they are handed on."""

    def __init__(self, hooks: Hooks, station: Station) -> None:
        self._hooks, self._station = hooks, station

    def hear(self, cases: Iterable[Case]) -> Heard:
        """Before they are settled.

        A node that was tried before it was due is not wished for: it has had its chance until it is due.
        """
        deferred = [(node, outcome) for node, outcome in cases if isinstance(outcome, Deferred)]
        if not deferred:  # as most often
            return _NOTHING
        if refused := next((outcome for _, outcome in deferred if outcome.refused), None):
            self._station.refused(refusal(refused.host, refused.text, self._hooks.now()))
        if any(outcome.in_doubt for _, outcome in deferred):
            self._station.lost()
        enough, wishes = False, []
        for node, outcome in deferred:
            hint = None if outcome.untried else parse_hint(outcome.text)
            if hint and hint.kind is Kind.SLOWER:
                self._station.slower(outcome.text, hint.seconds)
                enough = True
            if hint and hint.seconds and node.can_process():
                wishes.append(Wish(node, hint.seconds))
        return Heard(enough, wishes)

    def appoint(self, wishes: Iterable[Wish], job: Job) -> None:
        """After they were settled. Nobody else tries them before they are due in their new tier. job: theirs."""
        for node, seconds in wishes:
            at = node.location
            if at.state is State.QUEUED and not self._is_due(at, seconds):
                patient = job.patient or at.tier > 0
                again = Job(at.key, job.destination, job.group, patient=patient)
                self._station.appoint(again, seconds)

    def _is_due(self, at: Location, seconds: float) -> bool:
        """Whether it is by then."""
        node, now = self._hooks.node_at(at), self._hooks.now()
        return node.msh.tier.is_due(node.time, now + seconds)
