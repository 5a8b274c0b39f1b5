# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the scout does for a stranger: finds its hosts, connects, and waits for a whole greeting, but leaves it unread.

The hosts are those that a worker would try, in the same order and with the same patience. Only that none of them
speaks is decided here; what a host says, and all else that may be wrong, is for a worker to judge. It says nothing
to any host, and sends no message.
"""

import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from threading import Lock
from typing import NamedTuple

import msgspec

from mailspool.config.schema import Settings
from mailspool.delivery.network import at_most
from mailspool.delivery.route import Route
from mailspool.dns.resolver import Resolver, Unknown
from mailspool.errors import DeliveryError, SpoolError, TransientError
from mailspool.model.outcome import Attempt, Deferred
from mailspool.model.phase import Phase, Watch
from mailspool.model.rules import Rules
from mailspool.model.status import LOCAL_FAULT
from mailspool.model.target import SUBMISSIONS_PORT, Host
from mailspool.model.timeouts import Timeouts
from mailspool.model.wait import Steps
from mailspool.smtp.stream import Stream, connecting
from mailspool.store import nodename
from mailspool.store.base import Location
from mailspool.supervisor.destination import HELD
from mailspool.supervisor.scout import Answer, Question, Verdict

MOST_STRANGE, MOST_KNOWN = 3, 10
"""Connections at a time to one address: while nobody has heard from it; and once it has greeted, those included that
may still wait for a worker. Never more than it may have workers: for others nobody would come."""

MAX_REMEMBERED = 10_000
"""Addresses."""

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(tuple[Attempt, ...]).decode


def refusal(host: str, text: str, now: float) -> str:
    """How a destination refuses sessions since `now` (Unix seconds), in words. host: who has said so, or ""."""
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    return f"since {since}: {text if host in text else f'{host}: {text}'}"


def unreached(found: bytes) -> Deferred:
    """The outcome for a node that the scout has tried. found: as in `Answer`."""
    attempts = _decode(found)
    return Deferred(attempts[-1].status, "", attempts[-1].text, attempts)


class NotForUs(Exception):
    """A worker must find out. Its text: under which rule, if that is why."""


class Crowded(Exception):
    """Enough others wait for this address already."""


class Search:
    """A `supervisor.scout.Search`. watch: asked before each connection. resolver: what the route's look-ups ask.

    in_turn: they may ask something else, which blocks: one name is looked up at a time, in a thread.
    now: Unix seconds; clock: monotonic ones.
    """

    def __init__(
        self,
        route: Route,
        resolver: Resolver,
        settings: Settings,
        *,
        watch: Watch,
        in_turn: bool,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._route, self._timeouts, self._impatience = route, settings.timeouts, settings.first_attempt_timeout
        self._rules = Rules(settings.limits)
        self._resolver, self._in_turn = resolver, in_turn
        self._turn: AbstractContextManager[object] = Lock() if in_turn else nullcontext()
        self._now = now
        self._addresses = Addresses(watch, settings.cool_down, settings.max_per_host, clock)

    def __call__(self, question: Question) -> Steps[tuple[Answer, socket.socket | None]]:
        """The first host that speaks, or how none does."""
        self._addresses.enter_era(question.era)
        try:
            return (yield from self._ask_hosts(question))
        except Crowded:
            return Answer(question.number, Verdict.BUSY), None
        except NotForUs as error:
            return Answer(question.number, Verdict.UNKNOWN, rule=str(error)), None
        except (DeliveryError, SpoolError):
            return Answer(question.number, Verdict.UNKNOWN), None

    def _ask_hosts(self, question: Question) -> Steps[tuple[Answer, socket.socket | None]]:
        at = Location.queued(question.job.key)
        attempts: list[Attempt] = []
        for host in (yield from self._begin(nodename.destination_in(at.name))):
            began = self._now()
            try:
                connection = yield from self._open(host, self._patience(question))
            except TransientError as error:
                if error.status == LOCAL_FAULT:
                    raise
                label = "" if isinstance(host, TransientError) else str(host)
                seconds = round(self._now() - began, 3)
                attempts.append(Attempt(began, at.tier, label, error.status, error.text, seconds))
                yield None  # to look the next one up
            else:
                assert isinstance(host, Host)  # the other kind is never opened
                return Answer(question.number, Verdict.SPEAKS, host, rule=self._rule_of(host)), connection
        return self._silent(question.number, attempts), None

    def _begin(self, domain: str) -> Steps[Iterator[Host | TransientError]]:
        """Its hosts. What is to be known for the first of them is asked for beforehand: so that needs no thread."""
        learnt: set[Unknown] = set()
        while not self._in_turn:
            hosts = self._hosts(domain)
            try:
                with self._resolver.without_asking():
                    first = next(hosts, None)
                return chain((first,), hosts) if first else hosts
            except Unknown as unknown:
                what = unknown.with_traceback(None)  # which would lead back to here, in a circle
            if what in learnt or not (yield from self._resolver.learn(what)):
                break
            learnt.add(what)
        yield None
        return self._hosts(domain)

    def _hosts(self, domain: str) -> Iterator[Host | TransientError]:
        """Those of the route; that they cannot be found is one more trouble with one of them."""
        hosts = self._route.find_hosts(domain)
        while True:
            with self._turn:
                try:
                    host = next(hosts, None)
                except TransientError as error:
                    host = error
            if host is None:
                return
            yield host

    def _open(self, host: Host | TransientError, timeouts: Timeouts) -> Steps[socket.socket | None]:
        if isinstance(host, TransientError):
            raise host
        if host.port == SUBMISSIONS_PORT:
            raise NotForUs  # it waits for us to speak first
        rule = self._rules.of_host(host.name)
        if rule and rule.limit.concurrency:
            raise NotForUs(rule.pattern)  # connections to it are counted
        return (yield from self._addresses.open(host, timeouts))

    def _rule_of(self, host: Host) -> str:
        rule = self._rules.of_host(host.name)
        return rule.pattern if rule and rule.is_shared else ""

    def _patience(self, question: Question) -> Timeouts:
        """A worker's: see `DeliveryAgent`."""
        if question.job.patient:
            return self._timeouts
        return at_most(self._timeouts, min(self._impatience, question.patience))

    def _silent(self, number: int, attempts: Sequence[Attempt]) -> Answer:
        if not attempts:
            raise NotForUs
        why = refusal(attempts[-1].host, attempts[-1].text, attempts[0].time)
        return Answer(number, Verdict.SILENT, refusal=why, found=_encode(attempts))


class _Silence(NamedTuple):
    """patience: seconds that were not enough; until: monotonic, when to try again."""

    error: TransientError
    patience: float
    until: float


class Addresses:
    """Connects, and knows which addresses speak. Of one that does not it is enough that a few found out.

    rest: seconds for which nobody else tries it. workers: that one address may have. clock: monotonic.
    """

    def __init__(self, watch: Watch, rest: float, workers: int, clock: Callable[[], float]) -> None:
        self._watch, self._rest, self._workers, self._clock = watch, rest, workers, clock
        self._lock = Lock()  # for what follows
        self._waiting: Counter[tuple[str, int]] = Counter()
        self._silent: dict[tuple[str, int], _Silence] = {}
        self._greetings: dict[tuple[str, int], deque[float]] = {}  # when the last ones came
        self._era = 0

    def enter_era(self, era: int) -> None:
        """See `Question`: what was silent before may be tried again."""
        with self._lock:
            if era > self._era:
                self._era = era
                self._silent.clear()

    def open(self, host: Host, timeouts: Timeouts) -> Steps[socket.socket | None]:
        """A connection with a whole greeting to read; None if it speaks, but has enough connections.

        Raises TransientError, `Crowded`, and what the watch does.
        """
        place = host.address, host.port
        with self._lock:
            if not self._may_enter(place, timeouts):
                return None
            self._waiting[place] += 1
        try:
            connection = yield from self._connect(host, timeouts)
        except TransientError as error:
            self._note_silence(place, error, timeouts)
            raise
        finally:
            with self._lock:
                self._waiting[place] -= 1
                if not self._waiting[place]:
                    del self._waiting[place]
        with self._lock:
            self._note_greeting(place)
        return connection

    def _may_enter(self, place: tuple[str, int], timeouts: Timeouts) -> bool:
        silence = self._silent.get(place)
        if silence and self._clock() < silence.until and timeouts.greeting <= silence.patience:
            raise TransientError(silence.error.status, "", f"just now, for another destination: {silence.error.text}")
        if greetings := self._greetings.get(place):
            lately = sum(1 for at in greetings if self._clock() - at < HELD)
            return self._waiting[place] + lately < min(MOST_KNOWN, self._workers)
        if self._waiting[place] >= min(MOST_STRANGE, self._workers):
            raise Crowded
        return True

    def _connect(self, host: Host, timeouts: Timeouts) -> Steps[socket.socket]:
        label = str(host)
        self._watch(Phase.CONNECT, label, timeouts.connect)
        connection = yield from connecting(host.address, host.port, timeouts.connect, label)
        stream = Stream(connection, label, self._clock)
        try:
            yield from stream.await_reply(Phase.GREETING, timeouts.greeting)
        except BaseException:
            stream.close()
            raise
        return stream.detach()

    def _note_greeting(self, place: tuple[str, int]) -> None:
        self._silent.pop(place, None)
        if place not in self._greetings and len(self._greetings) >= MAX_REMEMBERED:
            self._greetings.clear()
        self._greetings.setdefault(place, deque(maxlen=MOST_KNOWN)).append(self._clock())

    def _note_silence(self, place: tuple[str, int], error: TransientError, timeouts: Timeouts) -> None:
        if error.status == LOCAL_FAULT:
            return
        gave_up = isinstance(error.__cause__, TimeoutError)  # else more patience would have been in vain
        patience = timeouts.greeting if gave_up else float("inf")
        with self._lock:
            self._greetings.pop(place, None)
            if len(self._silent) >= MAX_REMEMBERED:
                self._silent.clear()
            self._silent[place] = _Silence(error, patience, self._clock() + self._rest)
