# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Asks DNS, remembers the answers for their TTL, and never takes "failed" for "absent".

A look-up has three results: records; `Absent` (the name does not exist, or has no such records: somebody with
authority said so); or TransientError: 4.4.3 (time out, SERVFAIL, REFUSED, nonsense), or 4.3.0 where it is our fault (no
name server answers at all, no /etc/resolv.conf). Only the second may ever end in a bounce at once, and the last never.

Around dnspython's stub resolver, which does the retries, the fall back to TCP for truncated answers (RFC 7766)
and follows CNAMEs within one answer. Answers are kept as RFC 2308 says, failures for a few seconds (RFC 9520 §3.2).
/etc/resolv.conf is read at the first look-up, so each worker sees it as it is then; /etc/hosts is never read.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdataclass import IN
from dns.rdtypes.ANY.MX import MX

from mailspool.errors import TransientError
from mailspool.model.status import DNS_TROUBLE, LOCAL_FAULT
from mailspool.model.target import parse_nameserver

RESOLV_CONF = "/etc/resolv.conf"
MAX_ENTRIES = 10_000
MAX_TTL = 86_400.0  # seconds; RFC 1035 §3.2.1 allows 68 years
MAX_NEGATIVE_TTL = 3_600.0  # RFC 2308 §5: one to three hours have been found to work well
FAILURE_TTL = 5.0  # RFC 9520 §3.2: at least one second, at most five minutes
TRY_SECONDS = 2.0  # until the question is put again, to the next name server
UDP_OCTETS = 1232  # RFC 9715 §3: what passes everywhere in one piece

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
        self._nameservers = [dns.nameserver.Do53Nameserver(*parse_nameserver(text)) for text in nameservers]
        self._clock = clock
        self._stub: dns.resolver.Resolver | None = None
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
            qname = dns.name.from_text(name)
        except dns.exception.DNSException:
            return Absent.NO_SUCH_NAME, MAX_NEGATIVE_TTL  # DNS cannot hold such a name
        stub = self._configured()
        try:
            answer = stub.resolve(qname, rdtype, lifetime=seconds, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            return Absent.NO_SUCH_NAME, _negative_ttl(error.kwargs["responses"][qname])
        except dns.exception.DNSException as error:
            status = DNS_TROUBLE if _was_answered(error) or _is_anybody_there(stub) else LOCAL_FAULT
            return _Failed(f"DNS look-up of {name} {rdtype} failed: {_reason(error)}", status), FAILURE_TTL
        if fault := _fault(answer):
            server = f"{answer.nameserver} port {answer.port}"
            return _Failed(f"DNS look-up of {name} {rdtype} failed: {server} {fault}"), FAILURE_TTL
        if answer.rrset is None:
            return Absent.NO_DATA, _negative_ttl(answer.response)
        secure = bool(answer.response.flags & dns.flags.AD)
        return Answer(tuple(answer.rrset), secure), min(answer.chaining_result.minimum_ttl, MAX_TTL)

    def _configured(self) -> dns.resolver.Resolver:
        if self._stub is None:
            self._stub = self._configure()
        return self._stub

    def _configure(self) -> dns.resolver.Resolver:
        try:
            stub = dns.resolver.Resolver(RESOLV_CONF, configure=not self._nameservers)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise TransientError(LOCAL_FAULT, "", f"no name server known: {RESOLV_CONF}: {error}") from error
        if self._nameservers:
            stub.nameservers = self._nameservers
        stub.timeout = TRY_SECONDS
        stub.flags = dns.flags.RD | dns.flags.AD  # RFC 6840 §5.7: tell us whether you validated it
        stub.use_edns(0, 0, UDP_OCTETS)
        return stub


def preload() -> None:
    """Import what dnspython imports at first use only, so that a worker forked later need not."""
    for rdtype in _TYPES:
        dns.rdata.get_rdata_class(IN, dns.rdatatype.from_text(rdtype))  # type: ignore[no-untyped-call]  # theirs


def _is_anybody_there(stub: dns.resolver.Resolver) -> bool:
    """Whether a name server answers at all: one asked about a domain whose own servers are gone is silent too."""
    try:
        stub.resolve(dns.name.root, "NS", lifetime=TRY_SECONDS, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return True
    except dns.exception.DNSException as error:
        return _was_answered(error)
    return True


def _was_answered(error: dns.exception.DNSException) -> bool:
    return any(response for *_, response in error.kwargs.get("errors", ()))


def _mx(record: dns.rdata.Rdata) -> Mx:
    assert isinstance(record, MX)
    return Mx(record.preference, record.exchange.to_text(omit_final_dot=True).lower())


def _texts(result: _Result) -> list[str]:
    return [record.to_text() for record in result.records] if isinstance(result, Answer) else []


def _negative_ttl(response: dns.message.QueryMessage) -> float:
    return min(response.resolve_chaining().minimum_ttl, MAX_NEGATIVE_TTL)


def _fault(answer: dns.resolver.Answer) -> str:
    """Why a response is no answer although its rcode says so, "" if it is one."""
    if answer.response.flags & dns.flags.TC:
        return "truncated its answer over TCP too"
    types = {rrset.rdtype for rrset in answer.response.authority}
    if answer.rrset is None and dns.rdatatype.NS in types and dns.rdatatype.SOA not in types:
        return "only refers to other name servers"  # RFC 2308 §2.2: that is not "no data"
    return ""


def _reason(error: dns.exception.DNSException) -> str:
    """What each name server answered, each only once however often it was asked."""
    said = [_said(*attempt) for attempt in error.kwargs.get("errors", ())]
    return "; ".join(dict.fromkeys(said)) or str(error)


def _said(server: str, _tcp: bool, _port: int, what: Exception | str, response: dns.message.Message | None) -> str:
    more = [option.to_text() for option in response.extended_errors()] if response else []  # RFC 8914
    reason = what.strerror if isinstance(what, OSError) and what.strerror else str(what)
    return " ".join([server.removeprefix("Do53:").replace("@", " port "), reason or type(what).__name__, *more])
