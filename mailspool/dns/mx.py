# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""From MX records to the hosts to try, in order (RFC 5321 §5.1, RFC 7505). Pure: asks nobody.

An exchange that is an IP address (against RFC 1035 §3.3.9, yet seen) stays as it is, and `lookup_host` takes it
for the address that it spells, as Postfix does.
"""

from collections.abc import Callable, Collection, Sequence

from mailspool.dns.resolver import Absent, Mx
from mailspool.errors import PermanentError
from mailspool.model.status import BAD_DOMAIN, LOOP, NULL_MX

Shuffle = Callable[[list[Mx]], None]
"""random.shuffle, or that of a random.Random: puts a list in any order, each with the same chance."""


def order_hosts(domain: str, answer: Sequence[Mx] | Absent, own_names: Collection[str], shuffle: Shuffle) -> list[str]:
    """Host names for a domain, best first, those of equal preference in any order.

    own_names: lower-case names of this host; MX records from the best of them on are left out, or mail would loop.
    Raises PermanentError: 5.1.2 no such domain, 5.1.10 null MX, 5.4.6 we are the best MX host ourselves.
    """
    if answer is Absent.NO_SUCH_NAME:
        raise PermanentError(BAD_DOMAIN, "", f"domain {domain} does not exist")
    records = [Mx(0, domain)] if isinstance(answer, Absent) else list(answer)  # no MX: the domain is its own
    usable = [record for record in records if record.exchange != "."]
    if not usable:
        raise PermanentError(NULL_MX, "", f"domain {domain} accepts no mail (null MX, RFC 7505)")
    shuffle(usable)
    usable.sort(key=lambda record: record.preference)  # stable: equal ones stay shuffled
    best_own = min((record.preference for record in usable if record.exchange in own_names), default=65536)
    hosts = list(dict.fromkeys(record.exchange for record in usable if record.preference < best_own))
    if not hosts:
        raise PermanentError(LOOP, "", f"mail for {domain} loops back to this host: give it a route, or mend its MX")
    return hosts
