# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Delivers one message to its recipients at one destination: host after host, until each recipient has its verdict.

A host that cannot be reached, ends the session or says 4yz is followed by the next one; what a host takes or
refuses for good is settled (RFC 5321 §5.1). The session stays open for the next message to the same destination.
It claims nothing and settles nothing: it turns an envelope and a file into outcomes.
"""

from collections.abc import Callable, Sequence
from typing import IO

from msgspec.structs import replace

from mailspool.delivery.bounds import Bounds
from mailspool.delivery.hooks import Hooks
from mailspool.delivery.route import Host, Route
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
from mailspool.model.outcome import Attempt, Deferred, Delivered, Failed, Outcome
from mailspool.smtp.session import Session, always

log = get_logger()


class DeliveryAgent:
    """One per worker. own_name: as said in EHLO. patience: the timeout of `open_smtp_connection` at a first attempt.

    alarm: told (host:port, text) of a host that wants a login. now: Unix seconds; clock: monotonic ones.
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
    ) -> None:
        self._bounds, self._room = bounds, 0  # messages that the session may still take
        self._hooks, self._route, self._alarm, self._own_name = hooks, route, alarm, own_name.lower()
        self._patience, self._max_hops = patience, max_hops
        self._now, self._clock = now, clock
        self._session: Session | None = None
        self._destination = ""  # which the session is with

    def deliver(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        file: IO[bytes],
        domain: str,
        tier: int,
        seal: Callable[[], object] = always,
    ) -> list[Outcome]:
        """An outcome for each recipient, in their order; all of them are of one domain.

        file: stands at the message's first octet. seal: called before each final dot, which is not said if it raises.
        Raises Unreadable, ShutdownRequested, NotAdmitted, what `seal` raises, and whatever is our own fault, but not
        once a host has taken the message: who has it must not get it again. The session is closed then.
        """
        delivery = Delivery(envelope, recipients, file, tier, seal, self._now, self._clock)
        if envelope.facts.received > self._max_hops:
            hops = f"the message has made {envelope.facts.received} hops: it is in a loop (RFC 5321 §6.3)"
            return delivery.failed(PermanentError(status.LOOP, "", hops))
        try:
            return self._to_hosts(delivery, domain)
        except DeadlineExceeded:
            self._drop()
            return delivery.deferred(TransientError(status.BAD_CONNECTION, delivery.host, "the delivery took too long"))
        except BaseException as error:
            self._drop()
            if not (delivery.taken and isinstance(error, Exception | ShutdownRequested)):
                raise
            log.warning("look cut short, some were delivered", id=envelope.id, error=repr(error))
            return delivery.outcomes()

    def close(self) -> None:
        """Say goodbye to the host that the session is with."""
        session, self._session = self._session, None
        if session is not None:
            session.quit()

    def _to_hosts(self, delivery: "Delivery", domain: str) -> list[Outcome]:
        destination = self._route.destination(domain)
        if self._resume(destination) and self._send(delivery, domain, kept=True):
            return delivery.outcomes()
        try:
            for host in self._route.find_hosts(domain):
                if str(host) in delivery.heard:  # on the session that was kept
                    continue
                if self._connect(delivery, host, domain) and self._send(delivery, domain):
                    break
        except PermanentError as error:
            return delivery.failed(error)
        except TransientError as error:
            return delivery.deferred(error)
        return delivery.outcomes()

    def _resume(self, destination: str) -> bool:
        """Whether the session of the last message can be used for this one."""
        if self._session and (self._destination != destination or not self._room or not self._session.alive):
            self.close()
        return self._session is not None

    def _connect(self, delivery: "Delivery", host: Host | TransientError, domain: str) -> bool:
        self.close()
        delivery.begin(host)
        try:
            if isinstance(host, TransientError):
                raise host
            self._bounds.admit(host.name)
            self._session = self._hooks.open_smtp_connection(host.label, host.port, delivery.seconds(self._patience))
            self._refuse_ourselves(self._session, domain)
        except DeliveryError as error:
            self.close()
            delivery.note_refusal(error)
            return False
        self._destination = self._route.destination(domain)
        self._room = self._bounds.messages(self._destination, host.name)
        return True

    def _refuse_ourselves(self, session: Session, domain: str) -> None:
        """A host out of DNS that bears our name is ourselves (RFC 5321 §6.3); one of a route is meant."""
        if self._own_name in session.names and self._route.is_by_mx(domain):
            raise PermanentError(
                status.LOOP, "", f"mail loops back to myself: {session.host} calls itself {self._own_name}"
            )

    def _send(self, delivery: "Delivery", domain: str, *, kept: bool = False) -> bool:
        """One transaction for all recipients without a verdict. True if none is left without."""
        session = self._session
        assert session is not None
        self._room -= 1
        if kept:
            delivery.begin(session.host)
        verdicts = session.send(delivery.envelope, delivery.open_recipients(), delivery.rewound(), delivery.seal)
        if kept and not session.alive and delivery.unread:
            # Most often the host has closed an idle session: that says nothing about this message.
            self._drop()
            return False
        if session.locked_out and not _any_delivered(verdicts) and not self._route.is_by_mx(domain):
            self._lock_out(delivery, session)
            return False
        delivery.note(verdicts)
        return delivery.complete

    def _lock_out(self, delivery: "Delivery", session: Session) -> None:
        """A host that the administrator named wants a login: what is missing is missing here, not in the message."""
        text = f"{session.host} wants a login first, see credentials_file: {session.locked_out}"
        self._alarm(_host_and_port(session.host), text)
        delivery.note_refusal(LoginFailed(status.NO_LOGIN, "", text))
        self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _any_delivered(verdicts: Sequence[Outcome]) -> bool:
    return any(isinstance(verdict, Delivered) for verdict in verdicts)


def _host_and_port(host: str) -> str:
    """Of "mx.example.org[192.0.2.1]:25" what the configuration calls it."""
    return f"{host.partition('[')[0]}:{host.rpartition(':')[2]}"


class Delivery:
    """One message under way: who has a verdict, who has not, and all that was tried."""

    def __init__(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        file: IO[bytes],
        tier: int,
        seal: Callable[[], object],
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.envelope, self.seal, self.host = envelope, seal, ""
        self._recipients, self._file, self._tier = recipients, file, tier
        self._now, self._clock = now, clock
        self._start = file.tell()
        self._began = clock()
        self._verdicts: list[Outcome | None] = [None] * len(recipients)
        self._attempts: list[list[Attempt]] = [[] for _ in recipients]
        self._refusals: list[DeliveryError] = []
        self._met = False  # some host has let us say MAIL
        self.heard: set[str] = set()  # hosts that have given their verdicts

    # --- one host

    def begin(self, host: Host | TransientError | str) -> None:
        """A host's turn."""
        self.host = "" if isinstance(host, TransientError) else str(host)
        self._began = self._clock()

    def open_recipients(self) -> list[Recipient]:
        """Those whom no host has taken or refused for good."""
        return [self._recipients[index] for index in self._open()]

    def rewound(self) -> IO[bytes]:
        """The message, at its first octet."""
        self._file.seek(self._start)
        return self._file

    def note(self, verdicts: Sequence[Outcome]) -> None:
        """What this host said to each of the open recipients."""
        self.heard.add(self.host)
        for index, verdict in zip(self._open(), verdicts, strict=True):
            self._attempts[index].append(self._attempt(verdict.host, verdict.status, verdict.text))
            self._verdicts[index] = verdict
            self._met = self._met or not (isinstance(verdict, Deferred) and verdict.refused)

    def note_refusal(self, error: DeliveryError) -> None:
        """The host has let us say nothing."""
        self._refusals.append(error)
        for index in self._open():
            self._attempts[index].append(self._attempt(error.host or self.host, error.status, error.text))

    def seconds(self, patience: float) -> float:
        """The timeout for a host that may hang: later attempts, 0, are as patient as RFC 5321 §4.5.3.2 wants them."""
        return patience if self._tier == 0 else 0.0

    @property
    def unread(self) -> bool:
        """Whether no octet of the message can have reached the host."""
        return self._file.tell() == self._start

    @property
    def taken(self) -> bool:
        """Whether some host has taken the message for somebody."""
        return _any_delivered([verdict for verdict in self._verdicts if verdict])

    @property
    def complete(self) -> bool:
        """Whether no recipient waits for a better verdict, or none may be asked for."""
        verdicts = [self._verdicts[index] for index in self._open()]
        return all(isinstance(verdict, Deferred) and verdict.in_doubt for verdict in verdicts)

    # --- the end

    def outcomes(self) -> list[Outcome]:
        """After the last host."""
        return [self._outcome(index) for index in range(len(self._recipients))]

    def failed(self, error: PermanentError) -> list[Outcome]:
        """Nobody who is still open can ever be reached."""
        return self._close(Failed(error.status, error.host, error.text))

    def deferred(self, error: TransientError) -> list[Outcome]:
        """Nobody who is still open can be reached now."""
        return self._close(Deferred(error.status, error.host, error.text, refused=True))

    def _close(self, verdict: Outcome) -> list[Outcome]:
        self.note([verdict] * len(self._open()))
        return self.outcomes()

    def _outcome(self, index: int) -> Outcome:
        verdict = replace(self._verdicts[index] or self._refused(), attempts=tuple(self._attempts[index]))
        return replace(verdict, refused=not self._met) if isinstance(verdict, Deferred) else verdict

    def _refused(self) -> Outcome:
        """No host has let us say anything. It is final only if each of them refused for good (RFC 5321 §4.2.1)."""
        if not self._refusals:
            return Deferred(status.NOT_ROUTED, "", "there was no host to try")
        transient = [error for error in self._refusals if isinstance(error, TransientError)]
        last = (transient or self._refusals)[-1]
        kind = Deferred if transient else Failed
        return kind(last.status, last.host, last.text)

    def _open(self) -> list[int]:
        return [i for i, verdict in enumerate(self._verdicts) if not isinstance(verdict, Delivered | Failed)]

    def _attempt(self, host: str, code: str, text: str) -> Attempt:
        return Attempt(self._now(), self._tier, host, code, text, round(self._clock() - self._began, 3))
