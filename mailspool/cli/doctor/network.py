# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Checks of the way out: DNS, this host's names, the hosts to deliver to. They connect and are greeted, no more."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

import dns.reversename
from msgspec.structs import replace

from mailspool.cli.check import named_targets
from mailspool.cli.doctor.finding import Check, Found, ok, problem, unknown, warning
from mailspool.config.schema import Settings
from mailspool.dns.resolver import Absent, Resolver
from mailspool.errors import DeliveryError, LoginFailed, PermanentError, TransientError
from mailspool.model.address import is_address
from mailspool.model.status import LOOP
from mailspool.model.target import ByHost, ByMx, Target
from mailspool.spool import Spool

PATIENCE = 4.0
"""Seconds for each look-up and for each phase of a session; a few of these are less than `command.SECONDS`."""

MAX_TARGETS = 10
_MAX_ADDRESSES = 3
_NO_WAY_OUT = (
    "let this host connect there (a firewall or the provider may block it), or set smarthost to one it reaches"
)
_NAMESERVERS = "name a DNS server that answers, in nameservers or in /etc/resolv.conf"


def checks(settings: Settings) -> Mapping[str, Check]:
    """One for DNS, one for our names, one for each host that mail goes to."""
    short = replace(settings, dns_timeout=min(settings.dns_timeout, PATIENCE), quit_timeout=PATIENCE)
    outward = {f"out {target}": partial(_reach, short, target) for target in targets(settings)}
    return {"dns": partial(_dns, short), "names": partial(_names, short), **outward}


def targets(settings: Settings) -> list[Target]:
    """Where mail goes: as configured, or, where it goes to each domain's own hosts, to those of the postmaster."""
    found = named_targets(settings)
    own = ByMx(_postmaster_domain(settings))
    if not settings.smarthost and "*" not in settings.routes:
        found.append(own)
    return list(dict.fromkeys(own if target == ByMx() else target for target in found))[:MAX_TARGETS]


def _postmaster_domain(settings: Settings) -> str:
    return settings.postmaster_address.rpartition("@")[2]


def _resolver(settings: Settings) -> Resolver:
    """For one thread alone."""
    return Resolver(settings.nameservers, settings.dns_timeout, time.monotonic)


def _dns(settings: Settings) -> Iterator[Found]:
    domain = _postmaster_domain(settings)
    try:
        found = _resolver(settings).mx(domain)
    except TransientError as error:
        needed = any(isinstance(target, ByMx) or not is_address(target.host) for target in targets(settings))
        yield (problem if needed else warning)(error.text, _NAMESERVERS)
        return
    if found is Absent.NO_SUCH_NAME:
        fix = "set mail_name or postmaster_address to a domain that exists"
        yield warning(f"DNS answers, but the postmaster's domain {domain} does not exist", fix)
    elif isinstance(found, Absent):
        yield ok(f"DNS answers; {domain} has no MX, so its own address counts")
    else:
        yield ok(f"DNS answers; mail for {domain} goes to {', '.join(mx.exchange for mx in sorted(found))}")


def _names(settings: Settings) -> Iterator[Found]:
    name = settings.hostname
    if "." not in name or name.startswith("localhost"):
        fix = "set hostname to the full name that DNS has for this host"
        yield warning(f"this host says EHLO {name}, which is no full name: many servers refuse that", fix)
        return
    resolver = _resolver(settings)
    found = resolver.addresses(name, (4, 6))
    if isinstance(found, Absent):
        fix = f"give {name} an address in DNS, or set hostname to a name that has one"
        yield warning(f"this host says EHLO {name}, which DNS does not know: many servers refuse that", fix)
        return
    for address in found:
        yield _reverse(resolver, name, address)


def _reverse(resolver: Resolver, name: str, address: str) -> Found:
    if not ip_address(address).is_global:
        return unknown(f"{name} is {address}, which is not what other hosts see of this one")
    answer = resolver.query(dns.reversename.from_address(address).to_text(omit_final_dot=True), "PTR")
    texts = [] if isinstance(answer, Absent) else [record.to_text().rstrip(".").lower() for record in answer]
    if name in texts:
        return ok(f"{name} is {address}, and {address} is {name}")
    said = f"is {', '.join(texts)}" if texts else "has no name"
    fix = f"have whoever gives you {address} name it {name}"
    return warning(f"{name} is {address}, but {address} {said}: many servers refuse that", fix)


def _reach(settings: Settings, target: Target) -> Iterator[Found]:
    spool = Spool(settings)  # with a resolver of its own: this is a thread of its own
    port = target.port if isinstance(target, ByHost) else settings.smtp_port
    try:
        labels = list(_labels(spool, target))
    except PermanentError as error:
        if error.status == LOOP:
            yield unknown(
                f"this host is itself where mail for {target.domain if isinstance(target, ByMx) else target} goes"
            )
        else:
            yield warning(error.text, "correct the route, or the postmaster's address")
        return
    failures: list[DeliveryError] = []
    for label in labels[:_MAX_ADDRESSES]:
        try:
            session = spool.open_smtp_connection(label, port, PATIENCE)
        except DeliveryError as error:
            failures.append(error)
            continue
        secured = f", {session.secured}" if session.secured else ", in clear"
        session.quit()
        yield ok(f"{label}:{port} greets{secured}")
        return
    no_login = any(isinstance(failure, LoginFailed) for failure in failures)
    fix = f"mend what {settings.credentials_file} says of it: user, password, tls" if no_login else _NO_WAY_OUT
    yield problem("; ".join(map(str, failures)) or f"{target} has no IP address", fix)


def _labels(spool: Spool, target: Target) -> Iterator[str]:
    names = [target.host] if isinstance(target, ByHost) else spool.lookup_mx(target.domain)
    for name in names:
        with suppress(PermanentError):
            yield from (f"{name}[{address}]" for address in spool.lookup_host(name))
