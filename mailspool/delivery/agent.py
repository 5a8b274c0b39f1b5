# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Delivers one message to its recipients at one destination: host after host, until each recipient has its verdict.

A host that cannot be reached, ends the session or says 4yz is followed by the next one; what a host takes or
refuses for good is settled (RFC 5321 §5.1). The session stays open for the next message to the same destination,
which may be begun on it before this one is answered. It claims nothing and settles nothing: it turns messages into
outcomes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from operator import attrgetter
from typing import IO

from mailspool.delivery.bounds import Bounds
from mailspool.delivery.delivery import Answer, Delivery
from mailspool.delivery.hooks import Hooks
from mailspool.delivery.route import Route
from mailspool.errors import (
    DeadlineExceeded,
    DeliveryError,
    LoginFailed,
    PermanentError,
    ShutdownRequested,
    TransientError,
)
from mailspool.log import get_logger
from mailspool.model import status
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Delivered, Outcome
from mailspool.model.target import Host
from mailspool.smtp.letter import always
from mailspool.smtp.session import Session

log = get_logger()

_DESTINATION, _LETTER = attrgetter("destination"), attrgetter("letter")


class DeliveryAgent:
    """One per worker. own_name: as said in EHLO. patience: the timeout of `open_smtp_connection` at a first attempt.

    alarm: told (host:port, text) of a host that wants a login. now: Unix seconds; clock: monotonic ones.
    contact: a host of the destination at hand that is known to speak. careful: whether that one loses connections, so
    that it is sent one message at a time.
    bounds: what the administrator grants a host.
    """

    def __init__(
        self,
        hooks: Hooks,
        route: Route,
        alarm: Callable[[str, str], None],
        own_name: str,
        patience: float,
        max_hops: int,
        now: Callable[[], float],
        clock: Callable[[], float],
        bounds: Bounds,
        contact: Callable[[], Host | None] = lambda: None,
        careful: Callable[[], bool] = lambda: False,
    ) -> None:
        self._contact, self._careful = contact, careful
        self._bounds, self._left = bounds, 0  # messages that the session may still take
        self._hooks, self._route, self._alarm, self._own_name = hooks, route, alarm, own_name.lower()
        self._patience, self._max_hops = patience, max_hops
        self._now, self._clock = now, clock
        self._session: Session | None = None
        self._destination = ""  # which the session is with
        self._behind: list[Delivery] = []  # what may have been begun on it

    def prepare(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        file: IO[bytes],
        domain: str,
        tier: int,
        seal: Callable[[], object] = always,
    ) -> Delivery:
        """A message for some of its recipients, all of one domain; see `Delivery`."""
        delivery = Delivery(envelope, recipients, file, domain, tier, seal, self._now, self._clock)
        if (hops := envelope.facts.received) > self._max_hops:
            text = f"the message has made {hops} hops: it is in a loop (RFC 5321 §6.3)"
            delivery.hopeless = PermanentError(status.LOOP, "", text)
        else:
            delivery.destination = self._route.destination(domain)
        return delivery

    @property
    def room(self) -> int:
        """How many deliveries are of use at once: the one that is made, and those that may be begun behind it."""
        return min(self._session.room, max(1, self._left)) if self._session else 1

    def past_dot(self, delivery: Delivery) -> bool:
        """Whether its final dot was said behind another's: what came of it is to be told, whatever else ends."""
        return delivery.answer is not None or bool(self._session and self._session.past_dot(delivery.letter))

    def answered(self, delivery: Delivery, behind: Sequence[Delivery] = ()) -> list[Outcome] | None:
        """If it is past its final dot already, wait for the answer: the outcomes, or None if some host must be tried.

        To be called first, outside of any deadline: nothing may interrupt this.
        """
        if delivery.answer:
            delivery.begin(delivery.answer.host)
            delivery.note(delivery.answer.verdicts)
            delivery.answer = None
        elif not self.past_dot(delivery) or not self._send(delivery, behind, kept=True):
            return None
        return delivery.outcomes() if delivery.complete else None

    def deliver(self, delivery: Delivery, behind: Sequence[Delivery] = ()) -> list[Outcome]:
        """An outcome for each recipient, in their order.

        behind: what may be begun on the way. Who was called with one must have it delivered next, in order, or close.
        Raises Unreadable, ShutdownRequested, NotAdmitted, what the seal raises, and whatever is our own fault, but not
        once a host has taken the message: who has it must not get it again. The session is closed then.
        """
        if delivery.hopeless:
            return delivery.failed(delivery.hopeless)
        try:
            return self._to_hosts(delivery, behind)
        except DeadlineExceeded as error:
            self._drop()
            return delivery.deferred(TransientError(status.BAD_CONNECTION, delivery.host, str(error)))
        except BaseException as error:
            self._drop()
            if not (delivery.taken and isinstance(error, Exception | ShutdownRequested)):
                raise
            log.warning("look cut short, some were delivered", id=delivery.envelope.id, error=repr(error))
            return delivery.outcomes()

    def close(self) -> None:
        """Say goodbye to the host that the session is with."""
        if session := self._leave():
            session.quit()

    def _drop(self) -> None:
        if session := self._leave():
            session.close()

    def _leave(self) -> Session | None:
        """Those that are past their final dots have its answers first."""
        session, self._session = self._session, None
        for each in self._behind:
            if session and session.past_dot(each.letter):
                self._note_answer(each, session)
        self._behind = []
        return session

    def _note_answer(self, delivery: Delivery, session: Session) -> None:
        verdicts = session.exchange([delivery.letter])
        if not session.untouched:
            delivery.answer = Answer(session.host, verdicts)

    def _to_hosts(self, delivery: Delivery, behind: Sequence[Delivery]) -> list[Outcome]:
        if self._resume(delivery) and self._send(delivery, behind, kept=True):
            return delivery.outcomes()
        try:
            for host in self._hosts(delivery.domain):
                if str(host) in delivery.heard:  # on the session that was kept, or as the first of all
                    continue
                if self._connect(delivery, host) and self._send(delivery, behind):
                    break
        except PermanentError as error:
            return delivery.failed(error)
        except TransientError as error:
            return delivery.deferred(error)
        return delivery.outcomes()

    def _hosts(self, domain: str) -> Iterator[Host | TransientError]:
        """The one that is known to speak first, so that no name is looked up as long as it takes mail."""
        if contact := self._contact():
            yield contact
        yield from self._route.find_hosts(domain)

    def _resume(self, delivery: Delivery) -> bool:
        """Whether the session of the last message can be used for this one."""
        session = self._session
        if session and not (
            self._left and self._destination == delivery.destination and session.is_next(delivery.letter)
        ):
            self.close()
        return self._session is not None and self._session.host not in delivery.heard

    def _connect(self, delivery: Delivery, host: Host | TransientError) -> bool:
        self.close()
        delivery.begin(host)
        try:
            if isinstance(host, TransientError):
                raise host
            self._bounds.admit(host.name)
            self._session = self._hooks.open_smtp_connection(host.label, host.port, delivery.seconds(self._patience))
            self._refuse_ourselves(self._session, delivery.domain)
        except DeliveryError as error:
            self.close()
            delivery.note_refusal(error)
            return False
        self._destination = delivery.destination
        self._left = self._bounds.messages(self._destination, host.name)
        return True

    def _refuse_ourselves(self, session: Session, domain: str) -> None:
        """A host out of DNS that bears our name is ourselves (RFC 5321 §6.3); one of a route is meant."""
        if self._own_name in session.names and self._route.is_by_mx(domain):
            raise PermanentError(
                status.LOOP, "", f"mail loops back to myself: {session.host} calls itself {self._own_name}"
            )

    def _send(self, delivery: Delivery, behind: Sequence[Delivery], *, kept: bool = False) -> bool:
        """One transaction for all recipients without a verdict. True if none is left without."""
        session = self._session
        assert session is not None
        if self._careful():
            session.send_singly()
        self._left -= 1
        if kept:
            delivery.begin(session.host)
        letter = delivery.letter if session.has_begun(delivery.letter) else delivery.next_letter()
        self._behind = self._followers(session, behind)
        verdicts = session.exchange([letter, *map(_LETTER, self._behind)])
        if session.over:
            untouched = session.untouched
            self._drop()
            if kept and untouched:
                # Most often the host has closed an idle session: that says nothing about this message.
                return False
        if session.locked_out and not _any_delivered(verdicts) and not self._route.is_by_mx(delivery.domain):
            self._lock_out(delivery, session)
            return False
        delivery.note(verdicts)
        return delivery.complete

    def _followers(self, session: Session, behind: Sequence[Delivery]) -> list[Delivery]:
        together = list(islice(behind, min(session.room - 1, self._left)))
        destinations = list(map(_DESTINATION, together))
        if destinations.count(self._destination) == len(together):  # as most often
            return together
        return list(takewhile(lambda each: each.destination == self._destination, together))

    def _lock_out(self, delivery: Delivery, session: Session) -> None:
        """A host that the administrator named wants a login: what is missing is missing here, not in the message."""
        text = f"{session.host} wants a login first, see credentials_file: {session.locked_out}"
        self._alarm(_host_and_port(session.host), text)
        delivery.note_refusal(LoginFailed(status.NO_LOGIN, "", text))
        self._drop()


def _any_delivered(verdicts: Sequence[Outcome]) -> bool:
    return any(isinstance(verdict, Delivered) for verdict in verdicts)


def _host_and_port(host: str) -> str:
    """Of "mx.example.org[192.0.2.1]:25" what the configuration calls it."""
    return f"{host.partition('[')[0]}:{host.rpartition(':')[2]}"
