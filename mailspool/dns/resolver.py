# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Asks DNS, remembers the answers for their TTL, and never takes "failed" for "absent".

A look-up has three results: records; `Absent` (the name does not exist, or has no such records: somebody with
authority said so); or TransientError: 4.4.3 (time out, SERVFAIL, REFUSED, nonsense), or 4.3.0 where it is our fault (no
name server answers at all, no /etc/resolv.conf). Only the second may ever end in a bounce at once, and the last never.

Answers are kept as RFC 2308 says, failures for a few seconds (RFC 9520 §3.2). /etc/resolv.conf is read at the first
look-up, so each worker sees it as it is then; /etc/hosts is never read.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import dns.exception
import dns.rdata
import dns.rdatatype
from dns.rdataclass import IN
from dns.rdtypes.ANY.MX import MX

from mailspool.dns.question import Question
from mailspool.dns.stub import TRY_SECONDS, NameServer, Stub, Unanswered
from mailspool.errors import TransientError
from mailspool.model.status import DNS_TROUBLE, LOCAL_FAULT
from mailspool.model.target import parse_nameserver

RESOLV_CONF = "/etc/resolv.conf"
MAX_ENTRIES = 10_000
MAX_TTL = 86_400.0  # seconds; RFC 1035 §3.2.1 allows 68 years
MAX_NEGATIVE_TTL = 3_600.0  # RFC 2308 §5: one to three hours have been found to work well
FAILURE_TTL = 5.0  # RFC 9520 §3.2: at least one second, at most five minutes

_TYPES = ("A", "AAAA", "MX", "CNAME", "DNAME", "NS", "SOA", "TXT", "TLSA", "RRSIG", "OPT")
_RECORD_TYPES = {4: "A", 6: "AAAA"}


class Absent(StrEnum):
    """What somebody with authority said is not there."""

    NO_SUCH_NAME = "no_such_name"  # NXDOMAIN (RFC 8020): nothing has this name
    NO_DATA = "no_data"  # the name exists, without records of this type (RFC 2308 §2.2)


class Answer(NamedTuple):
    """At least one record. secure: the name server says that it has validated it (AD, RFC 6840 §5.8)."""

    records: tuple[dns.rdata.Rdata, ...]
    secure: bool


class Mx(NamedTuple):
    """One MX record. exchange: in lower case without the final dot; "." for the root (RFC 7505)."""

    preference: int
    exchange: str


class _Failed(NamedTuple):
    """status: whose trouble it is, that domain's or ours."""

    text: str
    status: str = DNS_TROUBLE


_Result = Answer | Absent | _Failed


class Resolver:
    """A stub resolver with a cache of its own. Several threads may use it: each step on the cache is one of its own.

    nameservers: "ip", "ip:port" or "[v6]:port" (ValueError otherwise); empty: those of /etc/resolv.conf.
    timeout: seconds for one whole look-up, with all its retries. clock: monotonic seconds.
    """

    def __init__(self, nameservers: Sequence[str], timeout: float, clock: Callable[[], float]) -> None:
        self.timeout = timeout
        self._nameservers = [NameServer(*parse_nameserver(text)) for text in nameservers]
        self._clock = clock
        self._stub: Stub | None = None
        self._cache: OrderedDict[tuple[str, str], tuple[float, _Result]] = OrderedDict()

    def mx(self, domain: str) -> tuple[Mx, ...] | Absent:
        """The MX records of a domain, in no order. Raises TransientError."""
        found = self.query(domain, "MX")
        return found if isinstance(found, Absent) else tuple(_mx(record) for record in found.records)

    def addresses(self, host: str, families: Sequence[int]) -> tuple[str, ...] | Absent:
        """The IP addresses of a host, of each family (4, 6) in turn: two of different families stand side by side.

        One family's addresses are enough: some name servers answer one type of question wrongly (RFC 4074 §4).
        Raises TransientError if there are none and a question failed.
        """
        results = [self._find(host, _RECORD_TYPES[family], self.timeout / len(families)) for family in families]
        texts = [_texts(result) for result in results]
        if any(texts):
            return tuple(column[i] for i in range(max(map(len, texts))) for column in texts if i < len(column))
        for result in results:
            if isinstance(result, _Failed):
                raise TransientError(result.status, "", result.text)
        return Absent.NO_DATA if Absent.NO_DATA in results else Absent.NO_SUCH_NAME

    def query(self, name: str, rdtype: str) -> Answer | Absent:
        """All records of one type ("MX", "TLSA", …) that an ASCII name has. Raises TransientError."""
        result = self._find(name, rdtype, self.timeout)
        if isinstance(result, _Failed):
            raise TransientError(result.status, "", result.text)
        return result

    def _find(self, name: str, rdtype: str, seconds: float) -> _Result:
        key = name.lower().removesuffix("."), rdtype
        expires, result = self._cache.get(key, (0.0, None))
        if result is None or expires <= self._clock():
            result, ttl = self._ask(name, rdtype, seconds)
            self._remember(key, result, ttl)
        return result

    def _remember(self, key: tuple[str, str], result: _Result, ttl: float) -> None:
        self._cache.pop(key, None)
        if len(self._cache) >= MAX_ENTRIES:
            self._cache.popitem(last=False)  # the one asked for longest ago
        self._cache[key] = self._clock() + ttl, result

    def _ask(self, name: str, rdtype: str, seconds: float) -> tuple[_Result, float]:
        """Returns the result and the seconds for which it holds."""
        try:
            question = Question(name, rdtype)
        except dns.exception.DNSException:
            return Absent.NO_SUCH_NAME, MAX_NEGATIVE_TTL  # DNS cannot hold such a name
        stub = self._configured()
        try:
            reply = stub.ask(question, seconds)
        except Unanswered as error:
            status = DNS_TROUBLE if error.heard or _is_anybody_there(stub) else LOCAL_FAULT
            return _Failed(f"DNS look-up of {name} {rdtype} failed: {error}", status), FAILURE_TTL
        if reply.records:
            return Answer(reply.records, reply.secure), min(reply.ttl, MAX_TTL)
        return Absent.NO_DATA if reply.exists else Absent.NO_SUCH_NAME, min(reply.ttl, MAX_NEGATIVE_TTL)

    def _configured(self) -> Stub:
        if self._stub is None:
            self._stub = Stub(self._nameservers, self._clock) if self._nameservers else self._read_resolv_conf()
        return self._stub

    def _read_resolv_conf(self) -> Stub:
        try:
            return Stub.configured(RESOLV_CONF, self._clock)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise TransientError(LOCAL_FAULT, "", f"no name server known: {RESOLV_CONF}: {error}") from error


def preload() -> None:
    """Import what dnspython imports at first use only, so that a worker forked later need not."""
    for rdtype in _TYPES:
        dns.rdata.get_rdata_class(IN, dns.rdatatype.from_text(rdtype))  # type: ignore[no-untyped-call]  # theirs


def _is_anybody_there(stub: Stub) -> bool:
    """Whether a name server answers at all: one asked about a domain whose own servers are gone is silent too."""
    try:
        stub.ask(Question(".", "NS"), TRY_SECONDS)
    except Unanswered as error:
        return error.heard
    return True


def _mx(record: dns.rdata.Rdata) -> Mx:
    assert isinstance(record, MX)
    return Mx(record.preference, record.exchange.to_text(omit_final_dot=True).lower())


def _texts(result: _Result) -> list[str]:
    return [record.to_text() for record in result.records] if isinstance(result, Answer) else []
