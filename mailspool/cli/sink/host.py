# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The sink's hosts: sessions on sockets, any number of them in one thread, with the faults that were ordered.

What is said on them is `submission.server`'s business. Nothing here waits for a single client.
"""

import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, NamedTuple, Self

from mailspool.cli.sink.faults import Drop, Faults, Greylist, Hang, Stage
from mailspool.cli.sink.keep import Keeper
from mailspool.errors import MailspoolError
from mailspool.model.envelope import Recipient
from mailspool.submission.command import Transaction
from mailspool.submission.policy import C, Limits
from mailspool.submission.server import Session, State

NEVER = float("inf")
"""The pace of a host that accepts connections and never says a word."""

_BLOCK = 65536
_MAX_UNSAID = 1 << 20  # octets
_FULL_PAUSE = 0.02  # seconds until a client that does not read is tried again
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_FOR_EVER = 1 << 62  # a client under test may do what it does as often as it likes


def bracketed(host: str) -> str:
    """As it stands before a port."""
    return f"[{host}]" if ":" in host else host


class Rules(NamedTuple, Generic[C]):
    """How clients are received. size: octets of the largest message, 0 for any. tls: what STARTTLS is done with."""

    keeper: Keeper[C]
    faults: Faults = Faults()
    greylist: Greylist | None = None
    name: str = "sink.test"
    size: int = 0
    tls: ssl.SSLContext | None = None


class SinkPolicy(Generic[C]):
    """The policy of one session, which takes all but what its faults refuse. peer: the client's address."""

    def __init__(self, rules: Rules[C], peer: str) -> None:
        self._rules, self._peer = rules, peer
        self._strike = rules.faults.strike

    def check_client(self) -> None:
        """Before the greeting."""
        self._strike(Stage.CONNECT)

    def check_hello(self, _name: str) -> None:
        """At EHLO and HELO."""
        self._strike(Stage.EHLO)

    def check_sender(self, transaction: Transaction) -> str:
        """At MAIL; whatever it is."""
        self._strike(Stage.MAIL)
        return transaction.sender

    def check_recipient(self, transaction: Transaction, recipient: Recipient) -> Recipient:
        """At RCPT; whatever it is."""
        address = recipient.address.lower()
        self._strike(Stage.RCPT, address)
        if self._rules.greylist:
            self._rules.greylist.check(transaction.sender, address)
        return recipient

    def open_content(self, _transaction: Transaction) -> C:
        """At DATA."""
        self._strike(Stage.DATA)
        return self._rules.keeper.open()

    def accept(self, transaction: Transaction, content: C) -> str:
        """A fault comes first: then the message is not taken."""
        self._strike(Stage.FINAL)
        self._rules.keeper.take(transaction, content, self._peer)
        return "taken"


class Connection:
    """One client. pace: seconds between two octets of what it is told; 0: at once."""

    def __init__(
        self, client: socket.socket, session: Session[Any], tls: ssl.SSLContext | None, pace: float, now: float
    ) -> None:
        client.setblocking(False)
        self._client, self._session, self._tls, self._pace = client, session, tls, pace
        self._hung = self._dropped = False
        self._unsaid = b""
        self._next = now + pace
        self._let(session.begin)

    def fileno(self) -> int:
        """For a selector."""
        return self._client.fileno()

    def wait(self, now: float) -> float:
        """Seconds until it may be told more; NEVER if there is no more."""
        return max(0.0, self._next - now) if self._unsaid else NEVER

    def hear(self) -> bool:
        """Take what has come; False once the client is gone, or asks and asks and never reads."""
        try:
            if self._session.state is State.SECURING:
                self._shake_hands()
                return True
            octets = self._client.recv(_BLOCK)
        except _WAIT:
            return True
        except OSError:
            return False
        if octets and not self._hung:
            self._let(partial(self._session.receive, octets))
        return bool(octets) and len(self._unsaid) <= _MAX_UNSAID

    def say(self, now: float) -> bool:
        """Tell what may be told by now; False once all is said and done."""
        if self.wait(now) <= 0:
            try:
                sent = self._client.send(self._unsaid[:1] if self._pace else self._unsaid)
            except _WAIT:
                self._next = now + _FULL_PAUSE
                return True
            except OSError:
                return False
            self._unsaid, self._next = self._unsaid[sent:], now + self._pace
        return bool(self._unsaid) or not (self._dropped or self._session.state is State.ENDED)

    def close(self) -> None:
        """Hang up."""
        self._session.close()
        self._client.close()

    def _let(self, happen: Callable[[], None]) -> None:
        """What was said before the fault is said."""
        try:
            happen()
        except Hang:
            self._hung = True
        except Drop:
            self._dropped = True
        self._unsaid += self._session.replies()

    def _shake_hands(self) -> None:
        """Once the 220 is out. Raises OSError: it failed, or needs another look."""
        if self._unsaid:
            return
        if self._tls and not isinstance(self._client, ssl.SSLSocket):
            self._client = self._tls.wrap_socket(self._client, server_side=True, do_handshake_on_connect=False)
        if isinstance(self._client, ssl.SSLSocket):
            self._client.do_handshake()
            self._session.secured()


class Sink:
    """Hosts, as many as `listen` is called for, all served by whoever calls `serve`. A context.

    clock: monotonic seconds.
    """

    def __init__(self, rules: Rules[Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._clock = rules, clock
        self._limits = Limits(rules.size, errors=_FOR_EVER, commands=_FOR_EVER)
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._listeners: list[socket.socket] = []
        self.accepted = 0
        """Connections so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop(list(self._connections))
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def listen(self, host: str = "127.0.0.1", port: int = 0, pace: float = 0.0) -> int:
        """Be one more host; returns its port, 0 being any. Raises MailspoolError.

        pace: seconds between two octets of what it says; 0: no waiting, NEVER: it is silent.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error  # create_server() says all of it twice
            other = "" if port == 0 else f": --listen {host}:0 takes any free port"
            raise MailspoolError(f"cannot listen on {host}, port {port}: {reason}{other}") from error
        listener.setblocking(False)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener, pace))
        return int(listener.getsockname()[1])

    def wake_for(self, file: Any) -> None:
        """`serve` returns when there is something to read in `file`, too."""
        self._selector.register(file, selectors.EVENT_READ, lambda: None)

    def serve(self, seconds: float) -> None:
        """Wait at most so long for something to happen, and do what there is to do."""
        now = self._clock()
        pause = min([seconds, *(connection.wait(now) for connection in self._connections)])
        for key, _ in self._selector.select(pause):
            key.data()
        now = self._clock()
        self._drop([connection for connection in self._connections if not connection.say(now)])

    def _accept(self, listener: socket.socket, pace: float) -> None:
        with suppress(OSError):  # the client has gone, or no descriptor is free: it may come again
            client, address = listener.accept()
            self.accepted += 1
            policy = SinkPolicy(self._rules, f"{bracketed(address[0])}:{address[1]}")
            session = Session(policy, self._rules.name, self._limits, starttls=self._rules.tls is not None)
            connection = Connection(client, session, self._rules.tls, pace, self._clock())
            self._connections.add(connection)
            self._selector.register(connection, selectors.EVENT_READ, partial(self._hear, connection))

    def _hear(self, connection: Connection) -> None:
        if not connection.hear():
            self._drop([connection])

    def _drop(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            self._connections.remove(connection)
            self._selector.unregister(connection)
            connection.close()
