# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which hosts to try for a destination, in order: routes, then the smarthost, then an address literal, then MX.

Lazy: a host's addresses are looked up when it is its turn. A host without addresses is passed over; one whose
look-up failed is yielded as the error, so that the attempt can be recorded and the verdict stays transient. A route
may name several targets: each is tried after the one before, whatever was wrong with that.
Only what the recipient's own domain says in DNS is ever permanent: no fault of a route or an override is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

from mailspool.delivery.hooks import Hooks
from mailspool.errors import DeliveryError, PermanentError, TransientError
from mailspool.model.address import literal_address
from mailspool.model.status import DNS_TROUBLE, NOT_ROUTED, as_permanent
from mailspool.model.target import SMTP_PORT, ByHost, ByMx, Host, Target, parse_pattern, parse_targets, patterns_of

NO_HOST = as_permanent(NOT_ROUTED)

_OWN_MX = (ByMx(),)
_MAX_REMEMBERED = 100_000  # domains


class Route:
    """The way to each destination.

    hooks: whose lookup_mx and lookup_host are asked. resolve: `Network.lookup_host`, for an overridden
    lookup_host that answers with a name, as the seed's did. routes: pattern to one target or several; the most
    specific pattern counts: the domain itself, then its longest parent, then "*". smarthost: the target or targets
    for all others; "": none.
    port: where a target names none. max_addresses: how many addresses and failed look-ups one look yields at most.
    Raises ValueError (see `model.target`).
    """

    def __init__(
        self,
        hooks: Hooks,
        resolve: Callable[[str], Sequence[str]],
        routes: Mapping[str, str | Sequence[str]],
        *,
        smarthost: str | Sequence[str] = "",
        port: int = SMTP_PORT,
        max_addresses: int = 10,
    ) -> None:
        self._hooks = hooks
        self._resolve = resolve
        self._targets = {parse_pattern(pattern): parse_targets(texts, port) for pattern, texts in routes.items()}
        self._targets.setdefault("*", parse_targets(smarthost, port) if smarthost else _OWN_MX)
        self._port = port
        self._max_addresses = max_addresses
        self.destination = lru_cache(_MAX_REMEMBERED)(self._destination)

    def find_hosts(self, domain: str) -> Iterator[Host | TransientError]:
        """Yield hosts for a recipient's domain, best first.

        Raises, before it has yielded anything, but only where no route leads elsewhere: PermanentError 5.1.2, 5.1.10,
        5.4.6 as `lookup_mx` says, 5.4.4 if no MX host of the domain has an address (RFC 5321 §5.1, decided as Postfix
        does); TransientError 4.4.3 or 4.4.4.
        """
        targets = self._targets_of(domain)
        hosts = self._hosts_of(_OWN_MX[0], domain) if targets == _OWN_MX else self._routed(targets, domain)
        return islice(hosts, self._max_addresses)

    def is_by_mx(self, domain: str) -> bool:
        """Whether all hosts come from DNS. Those of a route are the administrator's own word."""
        return all(isinstance(target, ByMx) for target in self._targets_of(domain))

    def _destination(self, domain: str) -> str:
        """What limits are kept for: "host:port" where a route leads to a host, else the domain asked for its MX."""
        return ",".join(
            str(target) if isinstance(target, ByHost) else target.domain or domain
            for target in self._targets_of(domain)
        )

    def _targets_of(self, domain: str) -> tuple[Target, ...]:
        return next(self._targets[pattern] for pattern in patterns_of(domain) if pattern in self._targets)

    def _routed(self, targets: Sequence[Target], domain: str) -> Iterator[Host | TransientError]:
        """What is wrong with one target is yielded, so that the next one has its turn."""
        for target in targets:
            try:
                yield from self._hosts_of(target, domain)
            except DeliveryError as error:
                status = NOT_ROUTED if isinstance(error, PermanentError) else error.status
                yield TransientError(status, "", f"the route of {domain} to {target} fails: {error.text}")

    def _hosts_of(self, target: Target, domain: str) -> Iterator[Host | TransientError]:
        names, port = self._names(target, domain)
        nothing = True
        for name in names:
            for found in self._at(name, port):
                nothing = False
                yield found
        if nothing:
            raise PermanentError(NO_HOST, "", _no_address(target, names, domain))

    def _names(self, target: Target, domain: str) -> tuple[list[str], int]:
        match target:
            case ByHost(host, port):
                return [host], port
            case ByMx(other):
                return self._mx(other or domain), self._port

    def _mx(self, domain: str) -> list[str]:
        if literal := literal_address(domain):
            return [literal]
        names = [name.rstrip(".") for name in _asked(self._hooks.lookup_mx, domain)]
        if not any(names):  # an override that failed in silence; a null MX is a PermanentError
            raise TransientError(NOT_ROUTED, "", f"lookup_mx names no host for {domain}")
        return [name for name in names if name]

    def _at(self, name: str, port: int) -> Iterator[Host | TransientError]:
        try:
            named = _asked(self._hooks.lookup_host, name)
            found = [Host(name, address, port) for each in named for address in self._resolve(each)]
        except PermanentError:
            return  # the override's way to say: no address
        except TransientError as error:
            yield error
        else:
            yield from found


def _asked(lookup: Callable[[str], Sequence[str] | str], name: str) -> list[str]:
    """What a hook answers, as a list. One that asks the system's resolver fails with OSError: trouble of ours."""
    try:
        answer = lookup(name)
    except OSError as error:
        raise TransientError(DNS_TROUBLE, "", f"look-up of {name} failed: {error}") from error
    return [answer] if isinstance(answer, str) else list(answer)


def _no_address(target: Target, names: Sequence[str], domain: str) -> str:
    if isinstance(target, ByHost):
        return f"{target.host} has no IP address"
    return f"no host of {domain} has an IP address: {', '.join(names[:10])}"
