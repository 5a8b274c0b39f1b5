# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A real DNS server on loopback, UDP and TCP on one port, that can be told to misbehave."""

import socket
import struct
import threading
from collections.abc import Iterator

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

SOA_MINIMUM = 120
CHAIN = 20  # CNAMEs that the server follows, more than any client should


class DnsServer:
    """Answers for every name there is, out of `zone`: {"example.org": {"MX": ["10 mx.example.org."]}}.

    faults: {name: fault} or {(name, type): fault}, where fault is an rcode's name, or "silence", "truncate" (over UDP),
    "truncate always", "nonsense", "referral", "bogus" (SERVFAIL with an RFC 8914 reason), "no soa",
    "another number", "another question" (as a forger's answer has who can only guess).
    asked: each question that came in, as (name, type, "udp" or "tcp").
    """

    def __init__(self) -> None:
        self.zone: dict[str, dict[str, list[str]]] = {}
        self.faults: dict[object, str] = {}
        self.ttl = 300
        self.asked: list[tuple[str, str, str]] = []
        self._tcp, self._udp = _bind()
        self.port = self._udp.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._run_udp, self._run_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._udp.sendto(b"", ("127.0.0.1", self.port))  # an empty datagram and an empty connection end the threads
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join(10)
        self._udp.close()
        self._tcp.close()

    def _run_udp(self) -> None:
        while True:
            wire, peer = self._udp.recvfrom(65535)
            if not wire:
                return
            if answer := self._answer(wire, "udp"):
                self._udp.sendto(answer, peer)

    def _run_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection, connection.makefile("rb") as file:
                head = file.read(2)
                if len(head) < 2:
                    return
                answer = self._answer(file.read(struct.unpack("!H", head)[0]), "tcp")
                if answer:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, wire: bytes, transport: str) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, rdtype = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, rdtype, transport))
        fault = self.faults.get((name, rdtype)) or self.faults.get(name) or ""
        if fault == "silence":
            return b""
        if fault == "nonsense":
            return wire[:2] + b"\x80\x00" + b"\xff" * 20
        response = dns.message.make_response(query, recursion_available=True)
        self._fill(response, name, rdtype, fault)
        if fault == "truncate always" or (fault == "truncate" and transport == "udp"):
            response.answer.clear()
            response.flags |= dns.flags.TC
        if fault == "another number":
            response.id ^= 1
        if fault == "another question":
            response.question = dns.message.make_query("example.com", rdtype).question
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, name: str, rdtype: str, fault: str) -> None:
        if fault == "referral":
            response.authority.append(dns.rrset.from_text("example.", 300, "IN", "NS", "ns.example."))
        elif fault == "bogus":
            response.set_rcode(dns.rcode.SERVFAIL)
            response.use_edns(0, options=[dns.edns.EDEOption(6, "signature expired")])
        elif fault.isupper():
            response.set_rcode(dns.rcode.from_text(fault))
        else:
            self._look_up(response, name, rdtype)
            if fault == "no soa":
                response.authority.clear()

    def _look_up(self, response: dns.message.Message, name: str, rdtype: str) -> None:
        for _ in range(CHAIN):
            records = self.zone.get(name)
            if records is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
            for each in ("CNAME", rdtype):
                if records and each in records:
                    response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", each, *records[each]))
            if not records or "CNAME" not in records:
                break
            name = records["CNAME"][0].removesuffix(".")
        if not (records and rdtype in records):
            soa = f"ns. root. 1 3600 600 86400 {SOA_MINIMUM}"
            response.authority.append(dns.rrset.from_text(".", 9999, "IN", "SOA", soa))


def _bind() -> tuple[socket.socket, socket.socket]:
    """Both sockets on one free port."""
    while True:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
        else:
            return tcp, udp


@pytest.fixture
def server() -> Iterator[DnsServer]:
    server = DnsServer()
    yield server
    server.close()
