# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One question to a name server, and what a reply says to it (RFC 1035 §4.1). Octets only: it asks nobody.

Of a reply no more is read than answers the question: to make a `dns.message` of all that a name server adds to it
costs many times as much. CNAMEs are followed within the reply (RFC 1034 §3.6.2).
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.wire
from dns.rcode import FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED, SERVFAIL
from dns.rdataclass import IN
from dns.rdatatype import CNAME, NS, OPT, SOA

UDP_OCTETS = 1232  # RFC 9715 §3: what passes everywhere in one piece
MAX_CHAIN = 16  # CNAMEs
BRIEFLY = 300.0  # seconds for which absence holds where nobody says for how long

_HEADER, _KIND, _MINIMUM, _RECORD = struct.Struct("!6H"), struct.Struct("!HH"), struct.Struct("!I"), "!HHIH"
_ASKING = 0x0120  # RD; and AD, RFC 6840 §5.7: tell us whether you validated it
_REPLY, _OPCODE, _TRUNCATED, _SECURE, _RCODE = 0x8000, 0x7800, 0x0200, 0x0020, 0x000F
_EDNS = struct.pack("!BHHIH", 0, OPT, UDP_OCTETS, 0, 0)  # RFC 6891 §6.1.2
_AS_ASKED = struct.pack("!H", 0xC000 + _HEADER.size)  # a pointer to the name in the question (RFC 1035 §4.1.4)
_MAX_TTL = (1 << 31) - 1  # RFC 2181 §8: a greater one is none
_MAY_LACK_QUESTION = frozenset({FORMERR, SERVFAIL, NOTIMP, REFUSED})


class Reply(NamedTuple):
    """To one question. fault: why it is no answer, "" if it is one.

    exists: whether there is such a name. records: of the type asked for, of that name or of what its CNAMEs lead to.
    ttl: seconds for which that holds, also that there are none. secure: the name server says that it has validated it
    (AD, RFC 6840 §5.8).
    """

    fault: str = ""
    exists: bool = True
    records: tuple[dns.rdata.Rdata, ...] = ()
    ttl: float = 0.0
    secure: bool = False


class Truncated(Exception):
    """The reply is not whole."""


class _Record(NamedTuple):
    """start, length: of its rdata, in the whole."""

    owner: dns.name.Name
    rdtype: int
    rdclass: int
    ttl: int
    start: int
    length: int


class Question:
    """For the records of one type that a name has. Raises DNSException if DNS cannot hold such a name."""

    def __init__(self, name: str, rdtype: str) -> None:
        self.name, self.rdtype = dns.name.from_text(name), dns.rdatatype.from_text(rdtype)
        self._octets = self.name.to_digestable() + _KIND.pack(self.rdtype, IN)

    def query(self, number: int) -> bytes:
        """What is sent. number: one that nobody can guess (RFC 5452 §4)."""
        return _HEADER.pack(number, _ASKING, 1, 0, 0, 1) + self._octets + _EDNS

    def is_answered(self, number: int, octets: bytes) -> bool:
        """Whether they are a reply to this question under this number, whatever it says."""
        if len(octets) < _HEADER.size:
            return False
        theirs, flags, questions, *_ = _HEADER.unpack_from(octets)
        if theirs != number or not flags & _REPLY or flags & _OPCODE:
            return False
        if not questions:
            return flags & _RCODE in _MAY_LACK_QUESTION
        echo = octets[_HEADER.size : _HEADER.size + len(self._octets)]
        return questions == 1 and echo.lower() == self._octets  # whose lengths and types are no letters

    def read(self, octets: bytes) -> Reply:
        """What a reply to this question says. Raises Truncated; DNSException if it is nonsense."""
        _, flags, _, answers, authorities, others = _HEADER.unpack_from(octets)
        if flags & _TRUNCATED:
            raise Truncated
        rcode = flags & _RCODE
        if rcode not in (NOERROR, NXDOMAIN):
            return Reply(_error(octets))
        parser = dns.wire.Parser(octets, _HEADER.size + len(self._octets))
        found = [each for each in self._records(parser, answers) if each.rdclass == IN]
        name, ttl = self.name, _MAX_TTL
        for _ in range(MAX_CHAIN):
            here = [each for each in found if each.owner == name]
            of_use = _of_type(here, self.rdtype) or _of_type(here, CNAME)
            if not of_use:
                authority = list(self._records(parser, authorities))
                if any(each.ttl >> 24 for each in _of_type(self._records(parser, others), OPT)):
                    return Reply(_error(octets))  # the upper bits of its rcode: RFC 6891 §6.1.3
                return _absence(octets, authority, name, ttl, exists=rcode == NOERROR)
            ttl = min(ttl, *(each.ttl for each in of_use))
            if of_use[0].rdtype == self.rdtype:
                fault = "" if rcode == NOERROR else "gives records of a name that it says does not exist"
                records = tuple(_rdata(octets, each, self.rdtype) for each in of_use)
                return Reply(fault, True, records, ttl, bool(flags & _SECURE))
            alias = _rdata(octets, of_use[0], CNAME)
            assert isinstance(alias, dns.rdtypes.ANY.CNAME.CNAME)
            name = alias.target
        return Reply("leads from CNAME to CNAME without an end")

    def _records(self, parser: dns.wire.Parser, count: int) -> Iterator[_Record]:
        """So many, the next ones."""
        for _ in range(count):
            if parser.wire.startswith(_AS_ASKED, parser.current):  # nearly always: it is the quickest to read, too
                owner = self.name
                parser.get_bytes(len(_AS_ASKED))
            else:
                owner = dns.name.from_wire_parser(parser)
            rdtype, rdclass, ttl, length = parser.get_struct(_RECORD)
            yield _Record(owner, rdtype, rdclass, ttl if ttl <= _MAX_TTL else 0, parser.current, length)
            parser.get_bytes(length)


def _of_type(records: Iterable[_Record], rdtype: int) -> list[_Record]:
    return [each for each in records if each.rdtype == rdtype]


def _rdata(octets: bytes, record: _Record, rdtype: dns.rdatatype.RdataType) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(IN, rdtype, octets, record.start, record.length)


def _absence(octets: bytes, authority: Sequence[_Record], name: dns.name.Name, ttl: float, *, exists: bool) -> Reply:
    """Nothing was found; who has authority over that name says for how long that holds (RFC 2308 §5)."""
    starts = _of_type(authority, SOA)
    for soa in starts:
        if name.is_subdomain(soa.owner) and soa.length >= _MINIMUM.size:
            (minimum,) = _MINIMUM.unpack_from(octets, soa.start + soa.length - _MINIMUM.size)  # its last field
            return Reply(exists=exists, ttl=min(ttl, soa.ttl, minimum))
    if exists and not starts and _of_type(authority, NS):
        return Reply("only refers to other name servers")  # RFC 2308 §2.2: that is not "no data"
    return Reply(exists=exists, ttl=min(ttl, BRIEFLY))


def _error(octets: bytes) -> str:
    """The rcode in words, with the reasons that stand beside it (RFC 8914)."""
    message = dns.message.from_wire(octets)
    reasons = [option.to_text() for option in message.extended_errors()]
    return " ".join([dns.rcode.to_text(message.rcode()), *reasons])
