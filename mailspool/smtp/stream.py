# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One TCP connection to an SMTP server, in clear or in TLS: replies in, octets out, each under a deadline.

The only room of `smtp` with a socket. Every error of one becomes a TransientError right here; what else comes
through is what a signal handler raised, after which the stream must be closed. Reading waits no longer than its
timeout for a whole reply, however it drips, and no longer than `pace` allows one that has begun; content too must be
taken at a pace. Names are never resolved here.
"""

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mailspool.errors import TransientError, UsageError
from mailspool.model.phase import Phase
from mailspool.model.status import BAD_CONNECTION, LOCAL_FAULT, NO_ANSWER, TLS_TROUBLE
from mailspool.model.wait import Steps, Wait
from mailspool.smtp.letter import BLOCK, Block, Part
from mailspool.smtp.pace import GRACE, Pace, TooSlow
from mailspool.smtp.reply import MAX_OCTETS, Reply, ReplyParser

_NEVER = float("inf")

_READ = 16384  # octets at once: what a TLS record can hold
_DRIP = 0.05  # seconds between two looks at a reply that comes in pieces


class HandshakeFailed(TransientError):
    """TLS did not come to be on a connection that was good otherwise; it is of no more use."""


def connect(address: str, port: int, seconds: float, host: str) -> socket.socket:
    """A TCP connection to a numeric IPv4 or IPv6 address. host: how errors name it.

    Raises TransientError: NO_ANSWER, or LOCAL_FAULT if this machine has no socket to give; UsageError for a name.
    """
    with _reaching(address, host) as sock:
        sock.settimeout(seconds)
        sock.connect((address, port))
    return sock


def connecting(address: str, port: int, seconds: float, host: str) -> Steps[socket.socket]:
    """The same in steps."""
    with _reaching(address, host) as sock:
        sock.setblocking(False)
        if (number := sock.connect_ex((address, port))) == errno.EINPROGRESS:
            wait = Wait(seconds, sock.fileno(), select.POLLOUT)
            yield wait
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if wait.came else errno.ETIMEDOUT
        if number:
            raise OSError(number, os.strerror(number))
    return sock


@contextmanager
def _reaching(address: str, host: str) -> Iterator[socket.socket]:
    """A socket to be connected inside; closed if that fails."""
    family = _family(address)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise TransientError(LOCAL_FAULT, "", f"no socket to reach {host}: {_reason(error)}") from error
    try:
        yield sock
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError):
            raise
        raise TransientError(NO_ANSWER, "", f"connect to {host}: {_reason(error)}") from error


def has_tired(sock: socket.socket) -> bool:
    """Whether a host has welcomed us, with words that nobody has read, and has hung up since. Never waits."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    try:
        return bool(poll.poll(0)) and sock.recv(1, socket.MSG_PEEK) == b"2"
    except OSError:
        return True


def _family(address: str) -> socket.AddressFamily:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except OSError:
        raise UsageError(f"{address!r} is not a numeric IP address: resolve names first") from None
    return family


class Stream:
    """Takes a connected socket over. host: how errors name it. clock: monotonic, in seconds. min_rate: see `Pace`.

    unread: replies that have come whole, for whoever reads to take from there. fault: of what has come behind them.
    The socket never blocks: what may wait polls first, so that a read or a write is one system call where it need not.
    """

    __slots__ = (
        "_clock",
        "_giving",
        "_host",
        "_lost",
        "_readable",
        "_replies",
        "_socket",
        "_taking",
        "_writable",
        "fault",
        "secured",
        "unread",
    )

    def __init__(self, sock: socket.socket, host: str, clock: Callable[[], float], min_rate: float = 0.0) -> None:
        self._host = host
        self._clock = clock
        self._giving, self._taking = Pace(min_rate), Pace(min_rate)  # a reply; content
        self.secured = ""  # the TLS version, as "TLSv1.3"
        if sock.family != socket.AF_UNIX:
            # Else the kernel keeps a small segment back until the one before it is acknowledged: 40 ms a message.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._take_over(sock)

    def _take_over(self, sock: socket.socket) -> None:
        """Whatever the last socket had said is forgotten."""
        sock.setblocking(False)
        self._socket = sock
        self._replies = ReplyParser(self._host)
        self.unread = self._replies.replies
        self.fault: TransientError | None = None  # behind them has come what is no reply
        self._lost: TransientError | None = None  # behind them nothing comes: it is known from a write
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    # --- reading

    def read_reply(self, phase: Phase, seconds: float) -> Reply:
        """The next one, whole. Raises as `await_replies` does."""
        if not self.unread:
            self.await_replies(phase, seconds)
        return self.unread.popleft()

    def await_replies(self, phase: Phase, seconds: float) -> None:
        """Until one, whole, is unread. Raises TransientError: BAD_CONNECTION, PROTOCOL_ERROR."""
        deadline = self._clock() + seconds
        try:
            while not (self.unread or self.fault or self._lost):
                giving = self._giving
                slowest = _NEVER if phase is Phase.FINAL or giving.began is None else giving.until(GRACE)
                self._wait(self._readable, deadline, slowest)
                self._receive()
        except OSError as error:
            raise self._trouble(error, phase, seconds) from error
        if not self.unread:
            fault = self.fault or self._lost
            assert fault
            raise fault

    def beyond(self, due: int) -> Reply | None:
        """What has come behind so many replies, as far as it was received. Raises TransientError if it is no reply."""
        if len(self.unread) > due:
            return self.unread[due]
        if self.fault and len(self.unread) == due:
            raise self.fault
        return None

    def await_reply(self, phase: Phase, seconds: float) -> Steps[None]:
        """Until a whole reply has come, which is left for whoever is given the socket. Raises as `read_reply` does.

        It looks at what there is only now and then, so that who drips does not keep us busy.
        """
        deadline = self._clock() + seconds
        try:
            while (left := deadline - self._clock()) > 0:
                wait = Wait(left, self._socket.fileno(), select.POLLIN | select.POLLRDHUP)
                yield wait
                if wait.came and self._holds_reply():
                    return
                if wait.came & ~select.POLLIN:
                    raise ConnectionResetError("closed by the peer")
                yield Wait(min(left, _DRIP))
            raise TimeoutError
        except OSError as error:
            raise self._trouble(error, phase, seconds) from error

    def _holds_reply(self) -> bool:
        replies = ReplyParser(self._host)
        try:
            replies.feed(self._socket.recv(MAX_OCTETS, socket.MSG_PEEK))
        except TransientError:
            if not replies.replies:
                raise
        return bool(replies.replies)

    def detach(self) -> socket.socket:
        """The socket, which is the caller's from now on."""
        return self._socket

    def early(self, due: int) -> bool:
        """Whether the peer has said anything beyond so many unread replies, or has hung up. Never waits."""
        if self._lost:
            return True
        if self.secured or self._readable.poll(0):  # what TLS has decrypted already no poll tells
            try:
                self._receive()
            except OSError:
                return True
        come = len(self.unread)
        return come > due or (come == due and (self._replies.waiting or self.fault is not None))

    def _receive(self) -> None:
        """Take what is there. Raises OSError."""
        try:
            octets = self._socket.recv(_READ)
        except (
            BlockingIOError,
            ssl.SSLWantReadError,
            ssl.SSLWantWriteError,
        ):  # TLS 1.3 sends its tickets when it likes: no octets for us
            return
        if not octets:
            raise ConnectionResetError("closed by the peer")
        if self.fault:
            return
        try:
            self._replies.feed(octets)
        except TransientError as error:
            self.fault = error
        if self.unread and self._giving.began is not None:
            self._giving.rest()
        if self._replies.waiting:
            self._giving.begin(self._clock())
            self._giving.move(len(octets))

    # --- writing

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside leaves in as few segments as hold it.

        Nothing waits longer for that than 200 ms, see tcp(7): who hangs inside, over a seal, say, keeps nothing back.
        """
        self._cork(True)
        try:
            yield
        finally:
            self._cork(False)

    def _cork(self, on: bool) -> None:
        if self._socket.family != socket.AF_UNIX:
            with suppress(OSError):  # of a connection that is lost: who writes to it, or reads, is told
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    def write(self, block: Block, phase: Phase, seconds: float) -> None:
        """All of the block; each BLOCK octets of it within so many seconds.

        That the connection is lost is for who reads to learn, behind the replies that had come before.
        Raises TransientError: BAD_CONNECTION, of a peer that takes nothing, or too slowly; Unreadable or SpoolError
        where a Part cannot be read.
        """
        sent = fresh = 0
        began, taking = self._clock(), self._taking
        deadline = began + seconds
        if phase is Phase.CONTENT:
            taking.begin(began)
        elif taking.began is not None:
            taking.rest()
        try:
            while True:
                try:
                    more = self._send(block, sent)
                    sent += more
                    taking.move(more)
                except (BlockingIOError, ssl.SSLWantWriteError):
                    self._wait(self._writable, deadline, taking.until(seconds))
                except ssl.SSLWantReadError:
                    self._wait(self._readable, deadline)
                if sent == len(block):
                    return
                if sent - fresh >= BLOCK:
                    fresh, deadline = sent, self._clock() + seconds
        except TimeoutError as error:
            raise self._trouble(error, phase, seconds) from error
        except OSError as error:
            with suppress(OSError):
                self._receive()  # its last words stay readable; they may settle what was said before
            self._lost = self._trouble(error, phase, seconds)

    def _send(self, block: Block, start: int) -> int:
        if isinstance(block, Part):
            return self._send_part(block, start)
        return self._socket.send(memoryview(block)[start:] if start else block)

    def _send_part(self, part: Part, start: int) -> int:
        """From the file to the socket, without passing through our memory unless it is to be encrypted."""
        if self.secured:
            return self._socket.send(part.read(start, BLOCK))
        try:
            sent = os.sendfile(self._socket.fileno(), part.descriptor, part.offset + start, part.octets - start)
        except BlockingIOError:
            raise
        except OSError:
            part.read(start, 1)  # whose fault was it?
            raise
        if not sent:
            part.read(start, 1)  # says that the file has ended
        return sent

    def _wait(self, ready: select.poll, deadline: float, slowest: float = _NEVER) -> None:
        """Until something can be read, or written. Raises TimeoutError; TooSlow if that was to be by `slowest`."""
        left = min(deadline, slowest) - self._clock()
        if left <= 0 or not ready.poll(left * 1000):
            raise TooSlow if slowest < deadline else TimeoutError

    def start_tls(self, context: ssl.SSLContext, server_name: str, seconds: float) -> None:
        """What the peer said in clear and was not read yet is dropped (RFC 3207 §4.2). Raises HandshakeFailed."""
        try:
            self._socket.settimeout(seconds)
            # As bytes: a str would go through the idna codec, whose tables every forked worker would load.
            sock = context.wrap_socket(
                self._socket, server_hostname=server_name.encode(), do_handshake_on_connect=False
            )
            self._take_over(sock)
            sock.settimeout(seconds)
            sock.do_handshake()
            sock.setblocking(False)
        except (OSError, ValueError) as error:
            raise HandshakeFailed(TLS_TROUBLE, "", f"TLS handshake with {self._host}: {_reason(error)}") from error
        self.secured = sock.version() or ""

    def close(self) -> None:
        """At once, without a word. Again does no harm."""
        with suppress(OSError):
            self._socket.close()

    def _trouble(self, error: OSError, phase: Phase, seconds: float) -> TransientError:
        if isinstance(error, TooSlow):
            rate = self._taking.min_rate
            return TransientError(
                BAD_CONNECTION, "", f"{self._host} is slower than {rate:.0f} octets/s in {phase.name}"
            )
        if isinstance(error, TimeoutError):
            return TransientError(BAD_CONNECTION, "", f"{self._host} timed out after {seconds:g} s in {phase.name}")
        return TransientError(BAD_CONNECTION, "", f"connection to {self._host} lost in {phase.name}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
