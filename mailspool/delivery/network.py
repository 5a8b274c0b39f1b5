# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `lookup_mx`, `lookup_host` and `open_smtp_connection` do where nobody overrides them.

Takes plain values, not the configuration. Host names are asked for in DNS only, as RFC 5321 §5.1 has it and
Postfix does by default: /etc/hosts and search lists are not consulted, so what a name means does not depend on
the machine. Two names need no DNS: an IP address is itself, and localhost is this host (RFC 6761 §6.3).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mailspool.dns.mx import Shuffle, order_hosts
from mailspool.dns.resolver import Absent, Resolver
from mailspool.errors import LoginFailed, TransientError
from mailspool.model.address import is_address
from mailspool.model.credentials import Keyring
from mailspool.model.phase import Phase, Watch
from mailspool.model.status import NO_LOGIN, NOT_ROUTED, TLS_TROUBLE
from mailspool.model.target import SUBMISSIONS_PORT
from mailspool.model.timeouts import Timeouts
from mailspool.smtp.reply import Judge, judge_by_code
from mailspool.smtp.session import Session
from mailspool.smtp.stream import has_tired
from mailspool.tls.policy import TlsPolicy

if TYPE_CHECKING:
    import socket

_IMPATIENT = ("connect", "greeting", "ehlo", "starttls", "mail", "rcpt", "data")
"""Phases in which a host that hangs is given up early; not AUTH, since hosts delay their refusals on purpose."""

_LOOPBACK = {4: "127.0.0.1", 6: "::1"}

_OWN_IPV6 = Path("/proc/net/if_inet6")
_LATELY = 1.0  # seconds
_HERE_ONLY = (b"10", b"20")  # scopes, as there: of the loopback interface; of one link


def no_connection(_address: str, _port: int) -> None:
    """Nobody has opened one."""


class Network:
    """The network as a worker sees it.

    alarm: told (host:port, text) when we cannot log in there, and with "" when we can. keyring: asked for each session.
    shuffle: random.shuffle, which differs in each forked worker (that of a random.Random made before does not).
    families: 6 and 4, or one of them, the one to try first in front. They alternate (RFC 8305 §4).
    has_ipv6: where it says no, IPv6 addresses are asked for only if there is no other. min_rate: see `smtp.pace`.
    connection_to: gives the connection to an address and port that the scout has opened, if it has.
    """

    def __init__(
        self,
        *,
        resolver: Resolver,
        helo_name: str,
        timeouts: Timeouts,
        tls: TlsPolicy,
        watch: Watch,
        alarm: Callable[[str, str], None],
        keyring: Callable[[], Keyring],
        shuffle: Shuffle,
        judge: Judge = judge_by_code,
        families: Sequence[int] = (6, 4),
        has_ipv6: Callable[[], bool] = lambda: True,
        min_rate: float = 0.0,
        connection_to: Callable[[str, int], "socket.socket | None"] = no_connection,
    ) -> None:
        self.resolver = resolver
        self._helo_name = helo_name
        self._timeouts = timeouts
        self._tls = tls
        self._watch = watch
        self._alarm = alarm
        self._keyring = keyring
        self._shuffle = shuffle
        self._judge = judge
        self._families, self._has_ipv6 = families, has_ipv6
        self._min_rate = min_rate
        self._connection_to = connection_to
        self._own_names = frozenset({helo_name.lower(), "localhost"})

    def lookup_mx(self, domain: str) -> list[str]:
        """Host names, best first. Raises TransientError 4.4.3, PermanentError 5.1.2, 5.1.10 (null MX) or 5.4.6."""
        self._watch(Phase.RESOLVE, domain, self.resolver.timeout)
        return order_hosts(domain, self.resolver.mx(domain), self._own_names, self._shuffle)

    def lookup_host(self, host: str) -> list[str]:
        """IP addresses, in the order in which to try them; [] if it has none. Raises TransientError 4.4.3."""
        if is_address(host):
            return [host]
        if host == "localhost" or host.endswith(".localhost"):
            return [_LOOPBACK[family] for family in self._families]
        self._watch(Phase.RESOLVE, host, self.resolver.timeout)
        found = self._addresses(host)
        return [] if isinstance(found, Absent) else list(found)

    def _addresses(self, host: str) -> tuple[str, ...] | Absent:
        """Those of no use are asked for where there is no other: to have none of use is not to have none."""
        if len(self._families) > 1 and not self._has_ipv6():
            found = self.resolver.addresses(host, (4,))
            if not isinstance(found, Absent):
                return found
        return self.resolver.addresses(host, self._families)

    def open_smtp_connection(self, host: str, port: int, timeout: float) -> Session:
        """A session that is connected, greeted, and logged in where we have credentials. Raises DeliveryError.

        host: `name[address]` (see `Host.label`), or a name or an address alone, whose first address is taken.
        port: on 465 TLS begins before the first word (RFC 8314 §3.3).
        timeout: seconds that each phase before the content may take at most; 0: as configured.
        """
        name, _, address = host.removesuffix("]").partition("[")
        address = address or next(iter(self.lookup_host(name)), "")
        if not address:
            raise TransientError(NOT_ROUTED, "", f"host {name} has no IP address")
        name = name or address
        credentials = self._keyring().find(name.lower(), port)
        try:
            session = Session.open(
                address=address,
                port=port,
                name=name,
                helo_name=self._helo_name,
                timeouts=at_most(self._timeouts, timeout) if timeout else self._timeouts,
                tls=replace(self._tls, wrap=port == SUBMISSIONS_PORT),
                watch=self._watch,
                judge=self._judge,
                credentials=credentials,
                min_rate=self._min_rate,
                connection=self._taken_over(address, port),
            )
        except TransientError as error:
            if credentials and error.status in (NO_LOGIN, TLS_TROUBLE):
                raise self._locked_out(f"{name}:{port}", error) from error
            raise
        if credentials:
            self._alarm(f"{name}:{port}", "")
        return session

    def _taken_over(self, address: str, port: int) -> "socket.socket | None":
        """The scout's connection, unless the host has tired of waiting for us: that is not held against it."""
        connection = self._connection_to(address, port)
        if connection and has_tired(connection):
            connection.close()
            return None
        return connection

    def _locked_out(self, host: str, error: TransientError) -> LoginFailed:
        """TLS that is asked for the password's sake is a part of the login: no message is given up for it."""
        self._alarm(host, error.text)
        return LoginFailed(NO_LOGIN, "", error.text)


def has_ipv6() -> bool:
    """Whether this host has an IPv6 address beyond its own links (AI_ADDRCONFIG, RFC 3493 §6.1); in doubt, yes."""
    try:
        return any(line.split()[3] not in _HERE_ONLY for line in _OWN_IPV6.read_bytes().splitlines())
    except (OSError, IndexError):
        return True


class OwnIpv6:
    """What `has_ipv6` says, at most a second old: no file is read for each host. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._until, self._has = clock, float("-inf"), True

    def __call__(self) -> bool:
        """Whether there is one."""
        if (now := self._clock()) >= self._until:
            self._has, self._until = has_ipv6(), now + _LATELY
        return self._has


def at_most(timeouts: Timeouts, seconds: float) -> Timeouts:
    """For a host that may hang: no phase before the content takes longer than so many seconds."""
    return replace(timeouts, **{phase: min(getattr(timeouts, phase), seconds) for phase in _IMPATIENT})
