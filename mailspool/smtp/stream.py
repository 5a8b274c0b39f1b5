# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One TCP connection to an SMTP server, in clear or in TLS: replies in, octets out, each under a deadline.

The only room of `smtp` with a socket. Every error of one becomes a TransientError right here; what else comes
through is what a signal handler raised, after which the stream must be closed. Reading waits no longer than its
timeout for a whole reply, however it drips. Names are never resolved here.
"""

import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from mailspool.errors import TransientError, UsageError
from mailspool.model.phase import Phase
from mailspool.model.status import BAD_CONNECTION, LOCAL_FAULT, NO_ANSWER, TLS_TROUBLE
from mailspool.smtp.reply import Reply, ReplyParser

_READ = 16384  # octets at once: what a TLS record can hold


class HandshakeFailed(TransientError):
    """TLS did not come to be on a connection that was good otherwise; it is of no more use."""


def connect(address: str, port: int, seconds: float, host: str) -> socket.socket:
    """A TCP connection to a numeric IPv4 or IPv6 address. host: how errors name it.

    Raises TransientError: NO_ANSWER, or LOCAL_FAULT if this machine has no socket to give; UsageError for a name.
    """
    family = _family(address)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise TransientError(LOCAL_FAULT, "", f"no socket to reach {host}: {_reason(error)}") from error
    try:
        sock.settimeout(seconds)
        sock.connect((address, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError):
            raise
        raise TransientError(NO_ANSWER, "", f"connect to {host}: {_reason(error)}") from error
    return sock


def _family(address: str) -> socket.AddressFamily:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except OSError:
        raise UsageError(f"{address!r} is not a numeric IP address: resolve names first") from None
    return family


class Stream:
    """Takes a connected socket over. host: how errors name it. clock: monotonic, in seconds."""

    __slots__ = ("_clock", "_host", "_poll", "_replies", "_socket", "secured")

    def __init__(self, sock: socket.socket, host: str, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self.secured = ""  # the TLS version, as "TLSv1.3"
        self._take_over(sock)

    def _take_over(self, sock: socket.socket) -> None:
        """Whatever the last socket had said is forgotten."""
        self._socket = sock
        self._replies = ReplyParser(self._host)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def read_reply(self, phase: Phase, seconds: float) -> Reply:
        """The next reply, whole. Raises TransientError: BAD_CONNECTION, PROTOCOL_ERROR."""
        deadline = self._clock() + seconds
        while (reply := self._replies.take()) is None:
            left = deadline - self._clock()
            try:
                if left <= 0:
                    raise TimeoutError
                self._receive(left)
            except OSError as error:
                raise self._trouble(error, phase, seconds) from error
        return reply

    def _receive(self, seconds: float) -> None:
        """Wait for some octets; 0 seconds: take what is there."""
        self._socket.settimeout(seconds)
        octets = self._socket.recv(_READ)
        if not octets:
            raise ConnectionResetError("closed by the peer")
        self._replies.feed(octets)

    def spoke_early(self) -> bool:
        """Whether the peer has said anything that was not read yet, or has hung up. Never waits."""
        if self._replies.waiting or not self._poll.poll(0):
            return self._replies.waiting
        try:
            self._receive(0)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False  # readable, but no octets for us: TLS 1.3 sends its tickets when it likes
        except OSError:
            return True
        return True

    def write(self, octets: bytes, phase: Phase, seconds: float) -> None:
        """All of the octets within so many seconds. Raises TransientError: BAD_CONNECTION."""
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(octets)
        except OSError as error:
            raise self._trouble(error, phase, seconds) from error

    def start_tls(self, context: ssl.SSLContext, server_name: str, seconds: float) -> None:
        """What the peer said in clear and was not read yet is dropped (RFC 3207 §4.2). Raises HandshakeFailed."""
        try:
            self._socket.settimeout(seconds)
            # As bytes: a str would go through the idna codec, whose tables every forked worker would load.
            sock = context.wrap_socket(
                self._socket, server_hostname=server_name.encode(), do_handshake_on_connect=False
            )
            self._take_over(sock)
            sock.do_handshake()
        except (OSError, ValueError) as error:
            raise HandshakeFailed(TLS_TROUBLE, "", f"TLS handshake with {self._host}: {_reason(error)}") from error
        self.secured = sock.version() or ""

    def close(self) -> None:
        """At once, without a word. Again does no harm."""
        with suppress(OSError):
            self._socket.close()

    def _trouble(self, error: OSError, phase: Phase, seconds: float) -> TransientError:
        if isinstance(error, TimeoutError):
            return TransientError(BAD_CONNECTION, "", f"{self._host} timed out after {seconds:g} s in {phase.name}")
        return TransientError(BAD_CONNECTION, "", f"connection to {self._host} lost in {phase.name}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
