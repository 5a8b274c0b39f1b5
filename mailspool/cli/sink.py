# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""An SMTP server that takes mail and sends none, with faults to order: the other side of the demo.

It listens on loopback only and speaks RFC 5321 with PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152) and
ENHANCEDSTATUSCODES (RFC 2034). A line ends with CRLF and with nothing else, so no message can smuggle another one in.
"""

import re
import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import NamedTuple, Self

MAX_SIZE = 10 << 20
"""Octets of the largest message that is taken."""

MAX_LINE = 4096  # octets of a command; RFC 5321 §4.5.3.1.4 asks for 512, extensions add to it
_BLOCK = 65536
_MAX_UNSAID = 1 << 20  # octets
_FULL_PAUSE = 0.02  # seconds until a client that does not read is tried again
_EXTENSIONS = ("PIPELINING", "8BITMIME", f"SIZE {MAX_SIZE}", "ENHANCEDSTATUSCODES")
_PATH = re.compile(r'(FROM|TO): ?<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>((?: +[^ ]+)*) *', re.IGNORECASE)

NEVER = float("inf")
"""The pace of a host that accepts connections and never says a word."""


class Manner(Enum):
    """How mail for a recipient is received; the value is the reply to RCPT."""

    ACCEPT = "250 2.1.5 welcome"
    GREYLIST = "451 4.7.1 greylisted, try again later"  # each sender's first mail to each recipient
    UNKNOWN = "550 5.1.1 there is no such user here"
    DEFER = "452 4.2.2 the mailbox is full"


class Arrival(NamedTuple):
    """A message that was taken: its envelope, and its content in CRLF form without the dot-stuffing."""

    sender: str  # "" for the null sender
    recipients: tuple[str, ...]
    content: bytes


class Rules:
    """Who is received how, and what becomes of what is taken.

    manners: by address or by domain, lower case; all others are accepted. take: is given each message before it is
    answered for; if it raises OSError, the reply is 451.
    """

    def __init__(self, take: Callable[[Arrival], object], manners: Mapping[str, Manner]) -> None:
        self.take, self._manners = take, manners
        self._met: set[tuple[str, str]] = set()

    def receive(self, sender: str, recipient: str) -> Manner:
        """What RCPT is answered."""
        address = recipient.lower()
        manner = self._manners.get(address) or self._manners.get(address.rpartition("@")[2], Manner.ACCEPT)
        if manner is Manner.GREYLIST and (sender, address) in self._met:
            return Manner.ACCEPT
        self._met.add((sender, address))
        return manner


class Dialogue:
    """The server's side of one session. No I/O: octets in, octets out."""

    def __init__(self, rules: Rules, name: str = "sink.test") -> None:
        self._rules, self._name = rules, name
        self._unread = b""
        self._hear: Callable[[bytes], str] = self._command
        self._greeted = self.ended = False
        self._commands: dict[str, Callable[[str], str]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }
        self._begin()

    def _begin(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._content: list[bytes] = []
        self._size = 0

    def greeting(self) -> bytes:
        """What a server says before it is asked."""
        return f"220 {self._name} ESMTP, all mail ends here\r\n".encode()

    def receive(self, octets: bytes) -> bytes:
        """The replies to all lines that are complete, in their order (RFC 2920 §3.2)."""
        *lines, self._unread = (self._unread + octets).split(b"\r\n")
        replies = [reply for line in lines if not self.ended and (reply := self._hear(line))]
        if not self.ended and len(self._unread) > (MAX_SIZE if self._hear == self._line else MAX_LINE):
            replies.append(self._end("500 5.5.2 the line is too long"))
        return "".join(f"{reply}\r\n" for reply in replies).encode()

    # --- commands

    def _command(self, line: bytes) -> str:
        verb, _, rest = line.decode("utf-8", "replace").partition(" ")
        return self._commands.get(verb.upper(), self._unknown)(rest)

    def _ehlo(self, name: str) -> str:
        reply = self._helo(name)
        if not reply.startswith("250"):
            return reply
        *more, last = (reply.removeprefix("250 "), *_EXTENSIONS)
        return "\r\n".join([*(f"250-{text}" for text in more), f"250 {last}"])

    def _helo(self, name: str) -> str:
        if not name.strip():
            return "501 5.5.4 say your name"
        self._greeted = True
        self._begin()
        return f"250 {self._name}"

    def _mail(self, rest: str) -> str:
        if not self._greeted or self._sender is not None:
            return "503 5.5.1 not now"
        if not (found := _PATH.fullmatch(rest)) or found[1].upper() != "FROM":
            return "501 5.5.4 that is: MAIL FROM:<address>"
        for parameter in found[3].split():
            if refusal := _refuse_parameter(*parameter.upper().partition("=")[::2]):
                return refusal
        self._sender = found[2]
        return "250 2.1.0 go on"

    def _rcpt(self, rest: str) -> str:
        if self._sender is None:
            return "503 5.5.1 MAIL comes first"
        if not (found := _PATH.fullmatch(rest)) or found[1].upper() != "TO" or not found[2]:
            return "501 5.5.4 that is: RCPT TO:<address>"
        if found[3]:
            return "555 5.5.4 RCPT has no parameters here"
        manner = self._rules.receive(self._sender, found[2])
        if manner is Manner.ACCEPT:
            self._recipients.append(found[2])
        return manner.value

    def _data(self, _rest: str) -> str:
        if not self._recipients:
            return "503 5.5.1 there is no recipient"
        self._hear = self._line
        return "354 go on, end with a dot"

    def _rset(self, _rest: str) -> str:
        self._begin()
        return "250 2.0.0 forgotten"

    def _noop(self, _rest: str) -> str:
        return "250 2.0.0 fine"

    def _vrfy(self, _rest: str) -> str:
        return "252 2.5.0 send it and see"

    def _quit(self, _rest: str) -> str:
        return self._end("221 2.0.0 goodbye")

    def _unknown(self, _rest: str) -> str:
        return "500 5.5.2 there is no such command"

    def _end(self, reply: str) -> str:
        self.ended = True
        return reply

    # --- content

    def _line(self, line: bytes) -> str:
        """One line between DATA and the final dot (RFC 5321 §4.5.2)."""
        if line == b".":
            return self._final_dot()
        self._size += len(line) + 2
        if self._size <= MAX_SIZE:
            self._content.append(line[1:] if line.startswith(b".") else line)
        return ""

    def _final_dot(self) -> str:
        self._hear = self._command
        content = b"".join(line + b"\r\n" for line in self._content)
        arrival = Arrival(self._sender or "", tuple(self._recipients), content)
        too_big = self._size > MAX_SIZE
        self._begin()
        if too_big:
            return "552 5.3.4 the message is too big"
        try:
            self._rules.take(arrival)
        except OSError as error:
            return f"451 4.3.0 cannot keep it: {error.strerror}"
        return "250 2.0.0 taken"


def _refuse_parameter(name: str, value: str) -> str:
    """The reply to a parameter of MAIL that cannot be granted, "" for one that can."""
    match name:
        case "SIZE" if value.isdecimal():
            return "552 5.3.4 the message is too big" if int(value) > MAX_SIZE else ""
        case "BODY" if value in {"7BIT", "8BITMIME"}:
            return ""
    return f"555 5.5.4 MAIL has no parameter {name}={value} here"


class Connection:
    """One client. pace: seconds between two octets of what it is told; 0: at once."""

    def __init__(self, client: socket.socket, dialogue: Dialogue, pace: float, now: float) -> None:
        client.setblocking(False)
        self._client, self._dialogue, self._pace = client, dialogue, pace
        self._unsaid = dialogue.greeting()
        self._next = now + pace

    def fileno(self) -> int:
        """For a selector."""
        return self._client.fileno()

    def wait(self, now: float) -> float:
        """Seconds until it may be told more; NEVER if there is no more."""
        return max(0.0, self._next - now) if self._unsaid else NEVER

    def hear(self) -> bool:
        """Take what has come; False once the client is gone, or asks and asks and never reads."""
        try:
            octets = self._client.recv(_BLOCK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._unsaid += self._dialogue.receive(octets)
        return bool(octets) and len(self._unsaid) <= _MAX_UNSAID

    def say(self, now: float) -> bool:
        """Tell what may be told by now; False once all is said and done."""
        if self.wait(now) <= 0:
            try:
                sent = self._client.send(self._unsaid[:1] if self._pace else self._unsaid)
            except BlockingIOError:
                self._next = now + _FULL_PAUSE
                return True
            except OSError:
                return False
            self._unsaid, self._next = self._unsaid[sent:], now + self._pace
        return bool(self._unsaid) or not self._dialogue.ended

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class Sink:
    """Hosts on loopback, as many as `listen` is called for, all served by whoever calls `serve`. A context.

    clock: monotonic seconds.
    """

    def __init__(
        self,
        take: Callable[[Arrival], object],
        manners: Mapping[str, Manner] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules, self._clock = Rules(take, manners or {}), clock
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._listeners: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop(list(self._connections))
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def listen(self, port: int = 0, pace: float = 0.0) -> int:
        """Be one more host; returns its port, 0 being any. Raises OSError.

        pace: seconds between two octets of what it says; 0: no waiting, NEVER: it is silent.
        """
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        listener.setblocking(False)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener, pace))
        return int(listener.getsockname()[1])

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
            client, _address = listener.accept()
            connection = Connection(client, Dialogue(self._rules), pace, self._clock())
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
