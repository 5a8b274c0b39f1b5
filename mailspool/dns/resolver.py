# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Asks DNS, remembers the answers for their TTL, and never takes "failed" for "absent".

A look-up has three results: records; `Absent` (the name does not exist, or has no such records: somebody with
authority said so); or TransientError: 4.4.3 (time out, SERVFAIL, REFUSED, nonsense), or 4.3.0 where it is our fault (no
name server answers at all, no /etc/resolv.conf). Only the second may ever end in a bounce at once, and the last never.

Around dnspython's stub resolver, which does the retries, the fall back to TCP for truncated answers (RFC 7766)
and follows CNAMEs within one answer. Who has many names to look up can `learn` beforehand, many in one thread, what the
first name server answers in one datagram; whatever is odd about that is left to the stub. Answers are kept as RFC 2308
says, failures for a few seconds (RFC 9520 §3.2).
/etc/resolv.conf is read at the first look-up, so each worker sees it as it is then; /etc/hosts is never read.
"""

import select
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import cache
from itertools import count
from typing import NamedTuple

import dns.entropy
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdataclass import IN
from dns.rdtypes.ANY.MX import MX

from mailspool.errors import TransientError
from mailspool.model.status import DNS_TROUBLE, LOCAL_FAULT
from mailspool.model.target import parse_nameserver
from mailspool.model.wait import Steps, Wait

RESOLV_CONF = "/etc/resolv.conf"
MAX_ENTRIES = 10_000
MAX_TTL = 86_400.0  # seconds; RFC 1035 §3.2.1 allows 68 years
MAX_NEGATIVE_TTL = 3_600.0  # RFC 2308 §5: one to three hours have been found to work well
FAILURE_TTL = 5.0  # RFC 9520 §3.2: at least one second, at most five minutes
TRY_SECONDS = 2.0  # until the question is put again, to the next name server
UDP_OCTETS = 1232  # RFC 9715 §3: what passes everywhere in one piece

_MAX_DATAGRAM = 65535

_TYPES = ("A", "AAAA", "MX", "CNAME", "DNAME", "NS", "SOA", "TXT", "TLSA", "RRSIG", "OPT")
_RECORD_TYPES = {4: "A", 6: "AAAA"}


class Absent(StrEnum):
    """What somebody with authority said is not there."""

    NO_SUCH_NAME = "no_such_name"  # NXDOMAIN (RFC 8020): nothing has this name
    NO_DATA = "no_data"  # the name exists, without records of this type (RFC 2308 §2.2)


class Mx(NamedTuple):
    """One MX record. exchange: in lower case without the final dot; "." for the root (RFC 7505)."""

    preference: int
    exchange: str


class _Failed(NamedTuple):
    """status: whose trouble it is, that domain's or ours."""

    text: str
    status: str = DNS_TROUBLE


Records = tuple[dns.rdata.Rdata, ...]
"""At least one."""

_Result = Records | Absent | _Failed


class Unknown(Exception):
    """Somebody would have to be asked. name, rdtypes: for what; it is hashed and compared by them."""

    def __init__(self, name: str, rdtypes: Sequence[str]) -> None:
        super().__init__(name, *rdtypes)
        self.name, self.rdtypes = name, rdtypes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


class _Asking(threading.local):
    """Each thread's own."""

    allowed = True


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
        self._asking = _Asking()
        self._turns = count()

    def mx(self, domain: str) -> tuple[Mx, ...] | Absent:
        """The MX records of a domain, in no order. Raises TransientError."""
        found = self.query(domain, "MX")
        return found if isinstance(found, Absent) else tuple(_mx(record) for record in found)

    def addresses(self, host: str, families: Sequence[int]) -> tuple[str, ...] | Absent:
        """The IP addresses of a host, of each family (4, 6) in turn: two of different families stand side by side.

        One family's addresses are enough: some name servers answer one type of question wrongly (RFC 4074 §4).
        Raises TransientError if there are none and a question failed.
        """
        results = self._find(host, [_RECORD_TYPES[family] for family in families])
        texts = [_texts(result) for result in results]
        if any(texts):
            return tuple(column[i] for i in range(max(map(len, texts))) for column in texts if i < len(column))
        for result in results:
            if isinstance(result, _Failed):
                raise TransientError(result.status, "", result.text)
        return Absent.NO_DATA if Absent.NO_DATA in results else Absent.NO_SUCH_NAME

    def query(self, name: str, rdtype: str) -> Records | Absent:
        """All records of one type ("MX", "TLSA", …) that an ASCII name has. Raises TransientError."""
        (result,) = self._find(name, [rdtype])
        if isinstance(result, _Failed):
            raise TransientError(result.status, "", result.text)
        return result

    def _find(self, name: str, rdtypes: Sequence[str]) -> list[_Result]:
        known = {rdtype: self._recall(name, rdtype) for rdtype in rdtypes}
        if not self._asking.allowed and (missing := [rdtype for rdtype, result in known.items() if result is None]):
            raise Unknown(name, missing)
        return [known[rdtype] or self._ask(name, rdtype, self.timeout / len(rdtypes)) for rdtype in rdtypes]

    def _recall(self, name: str, rdtype: str) -> _Result | None:
        expires, result = self._cache.get(_key(name, rdtype), (0.0, None))
        return result if expires > self._clock() else None

    def _remember(self, name: str, rdtype: str, result: _Result, ttl: float) -> None:
        key = _key(name, rdtype)
        self._cache.pop(key, None)
        if len(self._cache) >= MAX_ENTRIES:
            self._cache.popitem(last=False)  # the one asked for longest ago
        self._cache[key] = self._clock() + ttl, result

    def _ask(self, name: str, rdtype: str, seconds: float) -> _Result:
        result, ttl = self._resolve(name, rdtype, seconds)
        self._remember(name, rdtype, result, ttl)
        return result

    def _resolve(self, name: str, rdtype: str, seconds: float) -> tuple[_Result, float]:
        """Returns the result and the seconds for which it holds."""
        try:
            qname = dns.name.from_text(name)
        except dns.exception.DNSException:
            return Absent.NO_SUCH_NAME, MAX_NEGATIVE_TTL  # DNS cannot hold such a name
        stub = self._configured()
        try:
            answer = stub.resolve(qname, rdtype, lifetime=seconds, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            return _absent(Absent.NO_SUCH_NAME, error.kwargs["responses"][qname].resolve_chaining())
        except dns.exception.DNSException as error:
            status = DNS_TROUBLE if _was_answered(error) or _is_anybody_there(stub) else LOCAL_FAULT
            return _Failed(f"DNS look-up of {name} {rdtype} failed: {_reason(error)}", status), FAILURE_TTL
        if fault := _fault(answer.response, answer.rrset):
            server = f"{answer.nameserver} port {answer.port}"
            return _Failed(f"DNS look-up of {name} {rdtype} failed: {server} {fault}"), FAILURE_TTL
        return _found(answer.chaining_result)

    # --- beforehand

    @contextmanager
    def without_asking(self) -> Iterator[None]:
        """In this thread, look-ups inside raise Unknown instead of asking anybody."""
        self._asking.allowed = False
        try:
            yield
        finally:
            self._asking.allowed = True

    def learn(self, unknown: Unknown) -> Steps[bool]:
        """Ask for it, for all of it at once. Whether it is known now: if not, a look-up is the way to find out."""
        try:
            queries = [_Query(unknown.name, rdtype) for rdtype in unknown.rdtypes]
            with ExitStack() as stack:
                asked = [(query, stack.enter_context(self._send(query))) for query in queries]
                for rdtype, (query, sock) in zip(unknown.rdtypes, asked, strict=True):
                    wait = Wait(TRY_SECONDS, sock.fileno(), select.POLLIN)
                    yield wait
                    if not wait.came or not (found := _read(query, sock.recv(_MAX_DATAGRAM))):
                        return False
                    self._remember(unknown.name, rdtype, *found)
        except (dns.exception.DNSException, OSError, ValueError, TransientError):
            return False
        return True

    def _send(self, query: "_Query") -> socket.socket:
        """A socket on which nobody is heard but the name server whose turn it is.

        Raises OSError, ValueError, TransientError.
        """
        stub = self._configured()
        server = stub.nameservers[next(self._turns) % len(stub.nameservers) if stub.rotate else 0]
        if isinstance(server, dns.nameserver.Do53Nameserver):
            address, port = server.address, server.port
        else:
            address, port = str(server), stub.port
        family = dns.inet.af_for_address(address)
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(dns.inet.low_level_address_tuple((address, port), family))
            sock.send(query.octets)
        except BaseException:
            sock.close()
            raise
        return sock

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
        stub.use_edns(0, 0, UDP_OCTETS)
        return stub


def preload() -> None:
    """Import what dnspython imports at first use only, so that a worker forked later need not."""
    for rdtype in _TYPES:
        dns.rdata.get_rdata_class(IN, dns.rdatatype.from_text(rdtype))  # type: ignore[no-untyped-call]  # theirs


def _key(name: str, rdtype: str) -> tuple[str, str]:
    return name.lower().removesuffix("."), rdtype


@cache
def _form(rdtype: dns.rdatatype.RdataType) -> bytes:
    """A query for the root: 12 octets of header, then its name, which is a single octet."""
    query = dns.message.make_query(dns.name.root, rdtype, use_edns=0, payload=UDP_OCTETS, id=0)
    return query.to_wire()


class _Query:
    """A query, under a number that nobody can guess (RFC 5452 §4). Raises DNSException if DNS cannot hold the name."""

    def __init__(self, name: str, rdtype: str) -> None:
        self._name, self._rdtype = dns.name.from_text(name), dns.rdatatype.from_text(rdtype)
        self._number = dns.entropy.random_16()
        form = _form(self._rdtype)
        self.octets = self._number.to_bytes(2, "big") + form[2:12] + self._name.to_digestable() + form[13:]

    def is_answered_by(self, message: dns.message.Message) -> bool:
        """Whether it is a reply to this question under this number, whatever it says."""
        asked = [(each.name, each.rdtype, each.rdclass) for each in message.question]
        is_reply = message.id == self._number and bool(message.flags & dns.flags.QR)
        return is_reply and asked == [(self._name, self._rdtype, IN)]


def _read(query: _Query, octets: bytes) -> tuple[Records | Absent, float] | None:
    """What a reply says and for how many seconds that holds; None if it is not clear, or no reply to this query.

    Raises DNSException.
    """
    for message in _messages(octets):
        if not (isinstance(message, dns.message.QueryMessage) and query.is_answered_by(message)):
            return None
        response, chain = message, message.resolve_chaining()
        if chain.answer:
            break
    rcode = response.rcode()
    if rcode == dns.rcode.NXDOMAIN:
        return _absent(Absent.NO_SUCH_NAME, chain)
    if rcode == dns.rcode.NOERROR and not _fault(response, chain.answer):
        return _found(chain)
    return None


def _messages(octets: bytes) -> Iterator[dns.message.Message]:
    """Of a message with an answer section that and no more: what nobody asked for takes longest to read. Then all."""
    if any(octets[6:8]):  # ANCOUNT; the two behind it, NSCOUNT and ARCOUNT, become 0 (RFC 1035 §4.1.1)
        yield dns.message.from_wire(octets[:8] + bytes(4) + octets[12:], ignore_trailing=True)
    yield dns.message.from_wire(octets)


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
    return [] if isinstance(result, Absent | _Failed) else [record.to_text() for record in result]


def _found(chain: dns.message.ChainingResult) -> tuple[Records | Absent, float]:
    if chain.answer is None:
        return _absent(Absent.NO_DATA, chain)
    return tuple(chain.answer), min(chain.minimum_ttl, MAX_TTL)


def _absent(how: Absent, chain: dns.message.ChainingResult) -> tuple[Absent, float]:
    return how, min(chain.minimum_ttl, MAX_NEGATIVE_TTL)


def _fault(response: dns.message.QueryMessage, answer: dns.rrset.RRset | None) -> str:
    """Why a response is no answer although its rcode says so, "" if it is one."""
    if response.flags & dns.flags.TC:
        return "truncated its answer over TCP too"
    types = {rrset.rdtype for rrset in response.authority}
    if answer is None and dns.rdatatype.NS in types and dns.rdatatype.SOA not in types:
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
