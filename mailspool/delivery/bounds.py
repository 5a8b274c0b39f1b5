# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The administrator's limits as one process keeps them: whether it may connect, and when a session has had enough.

How many workers go, and how often, the supervisor decides; only who looks up hosts knows whose rule they are under.
"""

from mailspool.errors import NotAdmitted
from mailspool.model.rules import Rules
from mailspool.supervisor.job import Station

NO_LIMIT = 1 << 30


class Bounds:
    """rules: as configured."""

    def __init__(self, rules: Rules, station: Station) -> None:
        self._rules, self._station = rules, station

    def admit(self, host: str) -> None:
        """Before a connection. host: a name. Raises NotAdmitted if what is delivered does not count for its rule."""
        if not self._rules:
            return
        rule = self._rules.of_host(host)
        if rule and rule.is_shared and not self._station.counts_for(rule.pattern):
            raise NotAdmitted(f"{host} is under limits.{rule.pattern}, for which the batch was not counted")

    def messages(self, destination: str, host: str) -> int:
        """How many one session with that host may take."""
        rules = (self._rules.of_destination(destination), self._rules.of_host(host)) if self._rules else ()
        granted = [rule.limit.messages_per_connection for rule in rules if rule]
        return min(filter(None, granted), default=NO_LIMIT)
