# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which of the administrator's limits count for a destination, and which for a host: the option `limits`, read here.

A pattern of domains, as in `routes`, is about each destination by itself. One of hosts, `mx:` and such a pattern, is
about all destinations together whose mail a host of such a name takes. Of either kind the most specific one counts.
Pure: nothing is looked up.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from mailspool.model.limit import Limit
from mailspool.model.target import parse_pattern, patterns_of

HOSTS = "mx:"
"""Before a pattern of hosts. No destination begins so."""

_MAX_REMEMBERED = 100_000  # destinations


class Rule(NamedTuple):
    """pattern: as it was written."""

    pattern: str
    limit: Limit

    @property
    def is_shared(self) -> bool:
        """Whether it bounds what workers do together."""
        return bool(self.limit.concurrency or self.limit.messages_per_minute)


class Rules:
    """All limits of a configuration, by pattern. Raises ValueError (see `parse_rule`)."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._by_key = {parse_rule(pattern): Rule(pattern, limit) for pattern, limit in limits.items()}
        self._by_pattern = {rule.pattern: rule for rule in self._by_key.values()}
        self.of_destination = lru_cache(_MAX_REMEMBERED)(self._of_destination)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._by_key)

    def of_pattern(self, text: str) -> Rule | None:
        """The rule that was written so; None if there is none (any more)."""
        return self._by_pattern.get(text)

    def of_host(self, name: str) -> Rule | None:
        """The rule for hosts of that name, an address where there is no name; None if there is none."""
        return self._most_specific(HOSTS, name)

    def _of_destination(self, destination: str) -> Rule | None:
        """The rule for a domain, or for a route's (first) next hop, "host:port"; None if there is none."""
        first = destination.partition(",")[0]
        name, _, port = first.rpartition(":")
        return self._most_specific("", name.strip("[]") if port.isdigit() else first)

    def _most_specific(self, kind: str, name: str) -> Rule | None:
        keys = (kind + pattern for pattern in patterns_of(name))
        return next((self._by_key[key] for key in keys if key in self._by_key), None)


NO_RULES = Rules({})


def parse_rule(text: str) -> str:
    """Read what a limit applies to: a pattern as of `routes`, or `mx:` and one, or `mx:192.0.2.1`.

    Returns it as `model.target.parse_pattern` does, behind "mx:" for hosts. Raises ValueError.
    """
    if not text.lower().startswith(HOSTS):
        return parse_pattern(text)
    hosts = text[len(HOSTS) :]
    try:
        return HOSTS + str(ip_address(hosts))
    except ValueError:
        pass
    try:
        return HOSTS + parse_pattern(hosts)
    except ValueError:
        raise ValueError(f"{text!r} is none of: mx:mx.example.org, mx:*.example.org, mx:192.0.2.1, mx:*") from None
