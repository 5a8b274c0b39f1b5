# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The door out of one process: takes jobs, claims their nodes, has them delivered and settled, one message at a time.

Whatever goes wrong on the way ends in a result: a message file that cannot be read goes to quarantine, a local
fault gives the claims back, and an error of our own defers. Nothing that happens here loses a node: at the worst
it stays claimed, `perform` raises, and it is recovered when this process has ended.
"""

import os
import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, groupby, islice, takewhile
from operator import attrgetter
from typing import TypeVar

from msgspec.structs import replace

from mailspool.config.schema import Settings
from mailspool.delivery.agent import DeliveryAgent
from mailspool.delivery.bounds import Bounds
from mailspool.delivery.delivery import Delivery
from mailspool.delivery.hints import Hints
from mailspool.delivery.hooks import Hooks
from mailspool.delivery.lot import Lot
from mailspool.delivery.network import Network, OwnIpv6
from mailspool.delivery.route import Route
from mailspool.delivery.scout import unreached
from mailspool.delivery.settle import Case, Settler, unless_lost
from mailspool.dns.resolver import Resolver
from mailspool.dns.resolver import preload as preload_resolver
from mailspool.errors import (
    ClaimLost,
    Interrupted,
    NotAdmitted,
    ShutdownRequested,
    SpoolError,
    Unreadable,
)
from mailspool.log import get_logger
from mailspool.message.message import Message
from mailspool.model import status
from mailspool.model.outcome import Attempt, Deferred, Delivered, Outcome
from mailspool.model.phase import guarded
from mailspool.model.rules import Rules
from mailspool.store import nodename
from mailspool.store.base import Location, State, Stored
from mailspool.store.handle import Node
from mailspool.supervisor.job import FAULT, Job, Result, Station
from mailspool.tls.context import preload as preload_tls
from mailspool.tls.policy import TlsLevel, TlsPolicy

log = get_logger()

Item = TypeVar("Item")

_is_open = attrgetter("is_open")

_FAMILIES = {"both": (6, 4), "ipv6": (6,), "ipv4": (4,)}


class Door:
    """What a worker, or a program that delivers by itself (`delivery.immediate`), keeps between deliveries.

    patience: seconds for each phase before the content at a first attempt, 0: as configured.
    """

    def __init__(self, hooks: Hooks, settings: Settings, station: Station, patience: float = 0.0) -> None:
        self._hooks, self._settings, self._station = hooks, settings, station
        self._hints = Hints(hooks, station)
        self.watch = guarded(station.watch, self._check_lease)
        self._results: dict[str, Result] = {}  # of the batch, by the jobs' keys
        self._enough = False  # no more of it is begun
        self.network = Network(
            resolver=Resolver(settings.nameservers, settings.dns_timeout, time.monotonic),
            helo_name=settings.hostname,
            timeouts=settings.timeouts,
            tls=TlsPolicy(TlsLevel(settings.tls)),
            watch=self.watch,
            alarm=station.alarm,
            keyring=lambda: hooks.credentials,
            shuffle=random.shuffle,
            judge=hooks.check_sock_status,
            families=_FAMILIES[settings.address_families],
            has_ipv6=OwnIpv6(time.monotonic),
            min_rate=settings.min_rate,
            connection_to=station.connection_to,
        )
        self.route = Route(
            hooks,
            self.network.lookup_host,
            settings.routes,
            smarthost=settings.smarthost,
            port=settings.smtp_port,
            max_addresses=settings.max_hosts,
        )
        self.agent = DeliveryAgent(
            hooks,
            self.route,
            station.alarm,
            settings.hostname,
            patience or settings.first_attempt_timeout,
            settings.max_hops,
            hooks.now,
            time.monotonic,
            Bounds(Rules(settings.limits), station),
            lambda: station.order.host,
            lambda: station.order.careful,
        )
        self.settler = Settler(settings, self._report, hooks.now, os.urandom)

    def _check_lease(self) -> None:
        """Raises LeaseStale if others may deliver what we have claimed."""
        if lease := self._hooks.lease:
            lease.check()

    def _report(self, to: str, chunks: Iterable[bytes]) -> str:
        """A report tells what became of a node: only its owner may. Raises LeaseStale, SpoolError."""
        self._check_lease()
        try:
            return self._hooks.spool_report(to, Message(chunks))
        except OSError as error:
            raise SpoolError(f"cannot read the message to be reported on: {error.strerror}") from error

    # --- nodes

    def perform(self, jobs: Sequence[Job]) -> list[Result]:
        """Work the jobs off in their order, the nodes of one message together. One result for each.

        Those of a destination that refuses sessions fall back untried.
        After a refusal or a local fault, from a host that wants less, or that the batch was not counted for, and when
        the station is finishing, the rest is returned untried, but for what is past its final dot.
        Raises SpoolError if a claim can be neither settled nor given back: who goes on would keep it for ever.
        """
        self.settler.finish()
        self._results, self._enough = {}, False
        waiting = self._groups(jobs)
        lots: deque[Lot] = deque()  # claimed; as many as the session has room for
        try:
            while self._claim_ahead(waiting, lots):
                lot = lots.popleft()
                if self._is_over and not self._is_past_dot(lot):
                    self._return_untried(lot)
                else:
                    self._work_off(lot, lots)
        except BaseException:
            for lot in lots:
                with suppress(SpoolError):
                    self._return_untried(lot)
            raise
        return [self._results.get(job.key, Result.RETURNED) for job in jobs]

    def _claim_ahead(self, waiting: deque[list[Job]], lots: deque[Lot]) -> bool:
        """As many lots as there is room for, unless it is over. Whether there are any.

        Once half of the room is free: so several are begun together, and the other half is still under way meanwhile.
        """
        if self._is_over:
            waiting.clear()
        room = self.agent.room
        if len(lots) <= room // 2:
            while waiting and len(lots) < room:
                lots.extend(self._take(waiting.popleft()))
        return bool(lots)

    @property
    def _is_over(self) -> bool:
        """Whether what was not tried yet is returned."""
        return self._enough or self._station.finishing

    def _is_past_dot(self, lot: Lot) -> bool:
        """Then what came of it must be heard."""
        return lot.delivery is not None and self.agent.past_dot(lot.delivery)

    def _groups(self, jobs: Sequence[Job]) -> deque[list[Job]]:
        """Of one message, one destination, one transaction."""
        groups = groupby(jobs, key=attrgetter("group"))
        return deque(chain.from_iterable(cut(group, self._settings.max_recipients) for _, group in groups))

    def idle(self) -> None:
        """No job has come for a moment, or none comes any more: say goodbye to the host, leave nothing undone."""
        self.agent.close()
        self.settler.finish()

    def _take(self, jobs: list[Job]) -> list[Lot]:
        """Claim and read what is of one message: a lot for each that sends.

        What comes in the way waits there until the lot's turn comes: others may be under way.
        """
        lot = Lot(jobs, {})
        try:
            for job in jobs:  # one by one: those before a fault must be known, to be given back
                self._results[job.key] = Result.GONE
                if node := self._claim(job.key):
                    lot.nodes[job.key] = node
            self._read(lot.nodes)
            lots = lot.of_each_sender()
        except SpoolError as error:
            lot.error = error
            return [lot]
        for each in lots:
            if each.nodes and not jobs[0].refusal:
                each.delivery = self._prepare(each)
        return lots

    def _prepare(self, lot: Lot) -> Delivery:
        first, recipients = lot.first, [node.recipient for node in lot.nodes.values()]
        stored = first.open()
        envelope, to = stored.envelope, recipients[0]
        if (sender := envelope.sender_to(to)) != envelope.sender:
            envelope = replace(envelope, sender=sender)
        domain, tier = to.address.rpartition("@")[2], first.msh.tier.number
        return self.agent.prepare(envelope, recipients, stored.file, domain, tier, lot.seal)

    def _work_off(self, lot: Lot, behind: Iterable[Lot]) -> None:
        """Deliver and settle it. behind: those whose turn comes next."""
        try:
            if lot.error:
                raise lot.error
            cases = self._try(lot, behind)
            results = [_result(outcome) for _, outcome in cases]
            self._results.update(zip(lot.nodes, results))  # noqa: B905 - there are none if it went to quarantine
            heard = self._hints.hear(cases)
            self._enough |= heard.enough or Result.REFUSED in results
            self.settler.settle(cases)
            if heard.wishes:
                self._hints.appoint(heard.wishes, lot.jobs[0])
            if lot.delivery and Result.DELIVERED in results:
                self._count(lot.delivery.envelope.facts.size)
        except NotAdmitted as error:
            self._enough = True
            log.debug("returned", id=lot.jobs[0].group, reason=str(error))
            self._return(lot, Result.RETURNED)
        except (ShutdownRequested, ClaimLost):  # the lost one is told of when it is to be given back
            self._return(lot, Result.RETURNED)
        except SpoolError as error:
            self._enough = True
            self._station.alarm(FAULT, f"claims are given back: {error}")
            self._return(lot, Result.FAULT)
        finally:
            lot.close()

    def _return_untried(self, lot: Lot) -> None:
        try:
            self._return(lot, Result.RETURNED)
        finally:
            lot.close()

    def _return(self, lot: Lot, why: Result) -> None:
        """Give back what no host has taken. Raises SpoolError as `_give_back` does."""
        undelivered = [job.key for job in lot.jobs if self._results.get(job.key) is not Result.DELIVERED]
        self._give_back(lot.nodes[key] for key in undelivered if key in lot.nodes)
        self._results.update(dict.fromkeys(undelivered, why))

    def _claim(self, key: str) -> Node | None:
        """None if somebody else was first. Raises SpoolError."""
        node = self._hooks.node_at(Location.queued(key))
        return node if node.lock_node() else None

    def _read(self, nodes: dict[str, Node]) -> None:
        """Those whose message file is not whole go to quarantine, at once, and out of what we hold."""
        stored: Stored | None = None
        for key, node in list(nodes.items()):
            try:
                if stored:
                    node.adopt(stored)
                node.recipient  # noqa: B018 - opens the file, and looks for the recipient in its envelope
                stored = node.open()
            except Unreadable as error:
                self._put_aside(node, str(error))
                del nodes[key]  # not before: what cannot be put aside must be given back
            except ClaimLost as error:
                del nodes[key]
                log.warning("claim_lost", node=node.name, error=str(error))

    def _try(self, lot: Lot, behind: Iterable[Lot]) -> list[Case]:
        """What came of each of its nodes; of none if no host can be sent the message: it goes to quarantine."""
        nodes = list(lot.nodes.values())
        if lot.delivery is None:
            return [(node, self._not_to_be_tried(node, lot.jobs[0].refusal)) for node in nodes]
        followers = [each.delivery for each in takewhile(_is_open, behind) if each.delivery]
        try:
            return list(zip(nodes, self._deliver(lot.delivery, followers, nodes), strict=True))
        except Unreadable as error:
            for node in nodes:
                self._put_aside(node, str(error))
            return []

    def _deliver(self, delivery: Delivery, behind: Sequence[Delivery], nodes: Sequence[Node]) -> list[Outcome]:
        """Raises ShutdownRequested, SpoolError; ClaimLost if one was taken away before the final dot."""
        first = nodes[0]
        outcomes: list[Outcome] | None = None
        try:
            outcomes = self.agent.answered(delivery, behind)
            if outcomes is None:
                budget = self._settings.budget(delivery.envelope.facts.size)
                with self._station.deadline(budget, f"tier {first.msh.tier.number}"):
                    outcomes = self.agent.deliver(delivery, behind)
        except Interrupted as error:  # the agent hears of most; this one came just before it began, or after its end
            if not outcomes and isinstance(error, ShutdownRequested):
                raise
            return outcomes or [self._at_fault(first, str(error))] * len(nodes)
        except (SpoolError, NotAdmitted):
            raise
        except Exception as error:  # our own bug must not stop the others' mail, nor lose this one
            log.exception("internal error, deferred", id=first.id)
            return [self._at_fault(first, f"internal error: {type(error).__name__}: {error}")] * len(nodes)
        return outcomes

    def _not_to_be_tried(self, node: Node, refusal: str) -> Deferred:
        if found := self._station.order.found:
            return unreached(found)
        text = f"not tried, the destination refuses sessions {refusal}"
        attempt = Attempt(self._hooks.now(), node.msh.tier.number, "", status.NO_ANSWER, text)
        return Deferred(attempt.status, "", text, (attempt,), untried=True)

    def _at_fault(self, node: Node, text: str) -> Deferred:
        attempt = Attempt(self._hooks.now(), node.msh.tier.number, "", status.LOCAL_FAULT, text)
        return Deferred(attempt.status, attempt.host, text, (attempt,))

    def _count(self, size: int) -> None:
        """Figures are not worth a message: it has been settled, and an override that fails changes nothing."""
        try:
            self._hooks.log_usage(size, "Send")
        except Exception:
            log.exception("log_usage failed")

    def _give_back(self, nodes: Iterable[Node]) -> None:
        """What is still claimed stands in its tier again.

        Raises SpoolError if something cannot be given back: this process must end then, so that it is recovered.
        """
        faults: list[SpoolError] = []
        for node in nodes:
            if node.location.state is State.CLAIMED:
                try:
                    node.release()
                except ClaimLost as error:
                    log.warning("claim_lost", node=node.name, error=str(error))
                except SpoolError as error:
                    log.warning("claim not given back", node=node.name, error=str(error))
                    faults.append(error)
        if faults:
            raise faults[0]

    def _put_aside(self, node: Node, reason: str) -> None:
        unless_lost(node, partial(self._hooks.quarantine, node.location, reason))

    # --- after a worker's end

    def recover(self, location: Location, end: str) -> None:
        """Take back a claim whose worker has ended (`end`: how).

        The first time the node is due again at once. The second time it falls back like any that failed: it may be
        the message that ends workers.
        """
        if location.sealed:
            end += "; its final dot may have been said, or its bounce accepted, so that a second copy is possible"
        node = self._hooks.node_at(location)
        again = [attempt.status for attempt in node.history()[-1:]] == [status.LOCAL_FAULT]
        outcome = self._at_fault(node, f"the worker that tried it ended: {end}")
        if again:
            self.settler.settle([(node, outcome)])
        else:
            node.record(outcome.attempts)
            node.due_again()


def _result(outcome: Outcome) -> Result:
    if isinstance(outcome, Delivered):
        return Result.DELIVERED
    return Result.REFUSED if isinstance(outcome, Deferred) and outcome.refused else Result.SETTLED


def cut(group: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Lists of at most `most` items."""
    items = iter(group)
    while together := list(islice(items, most)):
        yield together


def preload() -> None:
    """Import and build what a delivery needs, so that forked workers find it there."""
    import mailspool.store.folders
    import mailspool.store.history
    import mailspool.store.recover  # noqa: F401 - all are loaded late, for the sake of `sendmail`

    nodename.arrival_of(nodename.parse(f"0-{'0' * 20}.0-a").id)  # compiles what reads names
    preload_resolver()
    preload_tls()
