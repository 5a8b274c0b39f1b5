# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What follows from an outcome, decided in this one place: delete, fall back, give up, report, quarantine.

A node is ended only after whatever must follow is durable: a bounce is accepted before its node is unlinked.
Neither a local fault nor that nobody was asked makes a message fail before `max_age`. A node that was tried before it
was due, because its host had asked for it, uses up no tier by that. Whoever finds its claim gone
repairs nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import msgspec

from mailspool.config.schema import Settings
from mailspool.dsn.notify import Kind, Notify, Quarantine, Verdict, whom_to_tell
from mailspool.dsn.report import Report, build_report
from mailspool.errors import ClaimLost, SpoolError
from mailspool.log import get_logger, record
from mailspool.model import status
from mailspool.model.outcome import Attempt, Deferred, Delivered, Failed, Outcome
from mailspool.store.handle import Node

log = get_logger()

Case = tuple[Node, Outcome]


class Settler:
    """Settles the nodes of one message that were tried together.

    submit: the way in; takes (recipient, chunks of a report in CRLF form) and returns the queue id once it is durable.
    now: Unix seconds. random: os.urandom.
    """

    def __init__(
        self,
        settings: Settings,
        submit: Callable[[str, Iterable[bytes]], str],
        now: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._settings, self._submit, self._now, self._random = settings, submit, now, random
        self._undone: list[Node] = []  # delivered, and still claimed

    def settle(self, cases: Sequence[Case]) -> None:
        """Give each node what its outcome asks for: first those that a host has taken, which nothing may keep here.

        Raises SpoolError, with the rest of the nodes still claimed.
        """
        failures: list[Case] = []
        relayed: list[Case] = []
        for node, outcome in cases:
            if not isinstance(outcome, Delivered):
                failures.append((node, outcome))
                continue
            self._log(node, outcome, "sent")
            if outcome.silent and "SUCCESS" in node.recipient.notify:
                relayed.append((node, outcome))
            else:
                self._end_delivered(node)
        if relayed:
            self._settle_relayed(relayed)
        if failures:
            self._settle_failures(failures)

    def finish(self) -> None:
        """End what was delivered and could not be removed, if the disk lets us now."""
        undone, self._undone = self._undone, []
        for node in undone:
            self._end_delivered(node, again=True)

    def _end_delivered(self, node: Node, *, again: bool = False) -> None:
        """It must not be given back, whatever the disk says: it would be delivered twice. So it stays claimed."""
        try:
            unless_lost(node, node.delete_node)
        except SpoolError as error:
            self._undone.append(node)
            if not again:
                log.error("delivered, but cannot be removed", id=node.id, node=node.name, error=str(error))  # noqa: TRY400
        else:
            if again:
                log.info("delivered, and removed at last", id=node.id, node=node.name)

    def _settle_relayed(self, cases: Sequence[Case]) -> None:
        """Who wants to hear of it hears from us. That this cannot be is no reason to deliver anything twice."""
        try:
            self._report(Kind.RELAYED, _with_history(cases))
        except SpoolError as error:
            log.warning("not reported", id=cases[0][0].id, what=str(Kind.RELAYED), error=str(error))
        for node, _ in cases:
            self._end_delivered(node)

    def _settle_failures(self, cases: Sequence[Case]) -> None:
        late: list[Case] = []
        failed: list[Case] = []
        for node, outcome in cases:
            story = tuple(node.history())
            verdict = self._final(node, outcome)
            whole = msgspec.structs.replace(verdict, attempts=story + outcome.attempts)
            if isinstance(verdict, Failed):
                failed.append((node, whole))
                continue
            node.record(outcome.attempts)
            self._log(node, outcome, "deferred")
            if self._notice_is_due(node, story):
                late.append((node, whole))
        self._report(Kind.DELAYED, late)
        for node, outcome in cases:
            if isinstance(outcome, Deferred) and not any(node is other for other, _ in failed):
                unless_lost(node, node.fallback if node.can_process() else node.release)  # early: it keeps its tier
        # Sealed, nobody takes it away any more, to hold or to try what bounces.
        self._give_up([case for case in failed if unless_lost(case[0], case[0].seal)])

    def bounce(self, cases: Sequence[Case]) -> None:
        """Give up nodes of one message because an operator says so. Raises SpoolError: then none of them has ended."""
        self._give_up(_with_history(cases))

    # --- when is it over?

    def _final(self, node: Node, outcome: Outcome) -> Outcome:
        """A Deferred past the last tier or the maximum age is Failed, with its own reply: that is what went wrong."""
        if isinstance(outcome, Failed):
            return outcome
        if node.age >= self._settings.max_age:
            return _failed(status.EXPIRED, outcome)
        untried = isinstance(outcome, Deferred) and outcome.untried
        if node.msh.tier.last and node.can_process() and not untried and outcome.status not in status.LOCAL_FAULTS:
            return _failed(status.as_permanent(outcome.status), outcome)
        return outcome

    def _notice_is_due(self, node: Node, story: Sequence[Attempt]) -> bool:
        """Once: at the first look past `delay_notice`; the look before it was made earlier than that."""
        after = self._settings.delay_notice
        arrival = node.envelope.arrival
        return after > 0 and node.age >= after and (not story or story[-1].time - arrival < after)

    # --- telling

    def _give_up(self, failed: Sequence[Case]) -> None:
        quarantined = self._report(Kind.FAILED, failed)
        for node, outcome in failed:
            self._log(node, outcome, "bounced")  # not before the bounce is accepted: until then nothing has happened
            if node not in quarantined:
                unless_lost(node, node.delete_node)

    def _report(self, kind: Kind, cases: Sequence[Case]) -> list[Node]:
        """Accept the report into the spool, or put aside what nobody can be told of. Returns the nodes put aside."""
        told: dict[str, list[Case]] = {}
        quarantined: list[Node] = []
        for case in cases:
            node = case[0]
            verdict: Verdict = whom_to_tell(kind, node.from_, node.recipient, self._settings.postmaster_address)
            if isinstance(verdict, Notify):
                told.setdefault(verdict.to, []).append(case)
            elif isinstance(verdict, Quarantine):
                unless_lost(node, partial(node.msh.spool.quarantine, node.location, verdict.reason))
                quarantined.append(node)
        for to, told_cases in told.items():
            report = self._submit(to, self._build(kind, to, told_cases))
            record("reported", id=told_cases[0][0].id, what=str(kind), to=to, report=report)
        return quarantined

    def _build(self, kind: Kind, to: str, cases: Sequence[Case]) -> Iterator[bytes]:
        stored = cases[0][0].reopen()
        report = Report(
            kind=kind,
            to=to,
            envelope=stored.envelope,
            cases=tuple((node.recipient, outcome) for node, outcome in cases),
            host=self._settings.hostname,
            now=self._now(),
            token=self._random(16).hex(),
            max_original=self._settings.bounce_size_limit,
            retry_until=stored.envelope.arrival + self._settings.max_age,
        )
        return build_report(report, stored.file)

    def _log(self, node: Node, outcome: Outcome, word: str) -> None:
        record(
            "delivery",
            id=node.id,
            to=node.to,
            relay=outcome.host or "none",
            delay=max(0.0, self._now() - node.envelope.arrival),
            dsn=outcome.status,
            status=word,
            text=outcome.text,
        )


def _failed(final_status: str, outcome: Outcome) -> Failed:
    return Failed(final_status, outcome.host, outcome.text, outcome.attempts)


def _with_history(cases: Sequence[Case]) -> list[Case]:
    return [
        (node, msgspec.structs.replace(outcome, attempts=tuple(node.history()) + outcome.attempts))
        for node, outcome in cases
    ]


def unless_lost(node: Node, step: Callable[[], object]) -> bool:
    """Take the step, or log that somebody else has the node now; that is no fault. Whether it was taken."""
    try:
        step()
    except ClaimLost as error:
        log.warning("claim_lost", id=node.id, node=node.name, error=str(error))
        return False
    return True
