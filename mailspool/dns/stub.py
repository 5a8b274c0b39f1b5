# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A stub resolver (RFC 1034 §5.3.1): asks one name server after another until one answers, and remembers nothing.

Who keeps silent is asked again after the others; who replies with an error, or cannot be reached, is not. Each question
goes out from a port of its own, under a number of its own, and only who was asked is heard (RFC 5452 §9). What does not
fit into a datagram is asked for again over TCP (RFC 7766).
"""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple

import dns.entropy
import dns.exception
import dns.inet
import dns.message
import dns.query
import dns.resolver

from mailspool.dns.question import Question, Reply, Truncated

TRY_SECONDS = 2.0  # until the next name server is asked

_MAX_OCTETS = 65535


class Unanswered(Exception):
    """As text, what each name server said, or that it was silent. heard: whether any said something."""

    def __init__(self, said: Sequence[str], *, heard: bool) -> None:
        super().__init__("; ".join(dict.fromkeys(said)))  # only once, however often it was asked
        self.heard = heard


class NameServer(NamedTuple):
    """address: IPv4 or IPv6, the latter with its scope if need be. port: for UDP and TCP."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


class Stub:
    """rotate: each question goes to another of the name servers first. clock: monotonic seconds.

    Several threads may use it.
    """

    def __init__(self, servers: Sequence[NameServer], clock: Callable[[], float], *, rotate: bool = False) -> None:
        self.servers, self._clock = servers, clock
        self._turns = count(step=1 if rotate else 0)

    @classmethod
    def configured(cls, path: str, clock: Callable[[], float]) -> "Stub":
        """As resolv.conf(5) at `path` has it. Raises DNSException, OSError, ValueError."""
        found = dns.resolver.Resolver(path)
        return cls([NameServer(str(each), found.port) for each in found.nameservers], clock, rotate=found.rotate)

    def ask(self, question: Question, seconds: float) -> Reply:
        """The answer of the first that has one. seconds: for all of them together. Raises Unanswered."""
        first = next(self._turns) % len(self.servers)
        waiting = deque([*self.servers[first:], *self.servers[:first]])
        said, heard = list[str](), False
        while waiting and seconds > 0:
            server, patience = waiting.popleft(), min(seconds, TRY_SECONDS)
            try:
                reply = self._ask(server, question, patience)
            except (TimeoutError, dns.exception.Timeout):
                said.append(f"{server} timed out")
                waiting.append(server)
                seconds -= patience
            except (OSError, EOFError, dns.exception.DNSException) as error:
                said.append(f"{server} {_reason(error)}")
            else:
                if not reply.fault:
                    return reply
                said.append(f"{server} {reply.fault}")
                heard = True
        raise Unanswered(said, heard=heard)

    def _ask(self, server: NameServer, question: Question, seconds: float) -> Reply:
        number = dns.entropy.random_16()
        try:
            return self._ask_by_datagram(server, question, number, seconds)
        except Truncated:
            pass
        try:
            return question.read(_ask_by_stream(server, question.query(number), seconds))
        except Truncated:
            return Reply("truncated its answer over TCP too")

    def _ask_by_datagram(self, server: NameServer, question: Question, number: int, seconds: float) -> Reply:
        """Raises TimeoutError, OSError, Truncated."""
        deadline = self._clock() + seconds
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(dns.inet.low_level_address_tuple(server, family))  # from now on nobody else is heard
            sock.send(question.query(number))
            while (left := deadline - self._clock()) > 0:
                sock.settimeout(left)
                with suppress(ConnectionRefusedError, dns.exception.DNSException):  # as if it had said nothing
                    octets = sock.recv(_MAX_OCTETS)
                    if question.is_answered(number, octets):
                        return question.read(octets)
        raise TimeoutError


def _ask_by_stream(server: NameServer, query: bytes, seconds: float) -> bytes:
    """Raises OSError, EOFError, DNSException."""
    message = dns.message.from_wire(query)
    return dns.query.tcp(message, server.address, seconds, server.port).to_wire(max_size=_MAX_OCTETS)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
