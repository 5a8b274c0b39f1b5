# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Where mail is sent on purpose: the syntax of routes, smarthosts and name servers, read here and nowhere else.

Pure: nothing is looked up. Each fault is a ValueError whose text is a line fit for a `ConfigError`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from mailspool.errors import AddressError
from mailspool.model.address import parse_domain

SMTP_PORT = 25
SUBMISSIONS_PORT = 465
"""Where TLS begins before the first word (RFC 8314 §3.3)."""
DNS_PORT = 53

_IMPLICIT_TLS = "smtps://"
_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")


class ByMx(NamedTuple):
    """To the MX hosts of `domain`; "": of the recipient's own domain, as ordinary mail goes."""

    domain: str = ""

    def __str__(self) -> str:
        return f"mx:{self.domain}" if self.domain else "mx"


class ByHost(NamedTuple):
    """To one host, a name or an IP address; its MX records are not asked for."""

    host: str
    port: int

    def __str__(self) -> str:
        bracketed = ":" in self.host or self.host == "mx"
        return f"[{self.host}]:{self.port}" if bracketed else f"{self.host}:{self.port}"


class Host(NamedTuple):
    """One address to try. name: what TLS verifies and what people read; the address itself where there is none."""

    name: str
    address: str
    port: int

    @property
    def label(self) -> str:
        """`mx.example.org[192.0.2.1]`: what `open_smtp_connection` is given."""
        return f"{self.name}[{self.address}]"

    def __str__(self) -> str:
        return f"{self.label}:{self.port}"


def address_in(text: str) -> str:
    """The address in what str() of a `Host` gives; "" where there is none."""
    return text.partition("[")[2].rpartition("]")[0]


Target = ByMx | ByHost
"""`parse_target(str(target)) == target` for each of them."""


def parse_targets(texts: str | Sequence[str], port: int = SMTP_PORT) -> tuple[Target, ...]:
    """Read one target, or several, each to be tried after the one before. Raises ValueError."""
    return tuple(parse_target(text, port) for text in ([texts] if isinstance(texts, str) else texts))


@lru_cache
def parse_target(text: str, port: int = SMTP_PORT) -> Target:
    """Read `host`, `host:port`, `smtps://host`, `[192.0.2.1]:port`, `[2001:db8::1]`, `mx` or `mx:other.domain`.

    port: where the text names none. Brackets may stand around a name too, as Postfix users write it.
    Raises ValueError.
    """
    if text.lower().startswith(_IMPLICIT_TLS):
        return _submissions(text)
    kind, colon, domain = text.partition(":")
    if kind.lower() != "mx":
        return ByHost(*_host_and_port(text, port))
    if domain.isdigit():
        raise ValueError(f"{text!r} means the MX hosts of a domain {domain!r}; a host called mx is [mx]:{domain}")
    return ByMx(_host_name(text, domain) if colon else "")


def parse_pattern(text: str) -> str:
    """Read what a route applies to: `example.org`, `.example.org` or `*.example.org` (its subdomains), `*` (all).

    Returns the domain, the domain with a leading dot, or "*". Raises ValueError.
    """
    if text == "*":
        return text
    try:
        if text.startswith((".", "*.")):
            return "." + _host_name(text, text.removeprefix("*").removeprefix("."))
        return parse_domain(text)
    except (AddressError, ValueError):
        raise ValueError(f"{text!r} is none of: example.org, .example.org, *.example.org, *") from None


def patterns_of(domain: str) -> Iterator[str]:
    """The patterns, as `parse_pattern` returns them, that match a domain: the most specific first."""
    yield domain
    for at, character in enumerate(domain):
        if character == ".":
            yield domain[at:]
    yield "*"


def parse_nameserver(text: str) -> tuple[str, int]:
    """Read `192.0.2.1`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port` as address and port.

    Raises ValueError.
    """
    host, port = _host_and_port(text, DNS_PORT)
    if not _as_address(host):
        raise ValueError(f"{text!r}: a name server is given by its IP address, such as 192.0.2.1 or [2001:db8::1]:53")
    return host, port


def parse_server(text: str) -> tuple[str, int]:
    """Read `host`, `host:port` or `[2001:db8::1]:port` as host and port; 0 where the text names none.

    Raises ValueError.
    """
    return _host_and_port(text, 0)


def _submissions(text: str) -> ByHost:
    """The port alone says that TLS comes first, so that there is one way to say it."""
    host, port = _host_and_port(text[len(_IMPLICIT_TLS) :], SUBMISSIONS_PORT)
    if port != SUBMISSIONS_PORT:
        raise ValueError(f"{text!r}: TLS begins before the first word on port {SUBMISSIONS_PORT} only")
    return ByHost(host, port)


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    if address := _as_address(text):  # also an IPv6 address without brackets
        return address, default
    match = _HOST_AND_PORT.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is none of: host, host:port, [192.0.2.1]:port, [2001:db8::1]:port")
    port = int(match[3] or default)
    if match[3] and not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    host = match[1] or match[2]
    return _as_address(re.sub("^ipv6:", "", host, flags=re.IGNORECASE)) or _host_name(text, host), port


def _as_address(host: str) -> str:
    """The IP address in its canonical form, "" if `host` is none. One with a zone (%eth0) is none."""
    try:
        return "" if "%" in host else str(ip_address(host))
    except ValueError:
        return ""


def _host_name(text: str, name: str) -> str:
    try:
        host = parse_domain(name)
    except AddressError:
        raise ValueError(f"{text!r}: {name!r} is not a host name") from None
    # No top level domain is all digits (RFC 3696 §2), so this is a mistyped address.
    if host.startswith("[") or host.rpartition(".")[2].isdigit():
        raise ValueError(f"{text!r}: {name!r} is not a host name")
    return host
