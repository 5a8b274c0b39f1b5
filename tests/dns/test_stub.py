# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Name servers are asked one after another until one answers; nobody else is heard."""

import socket
import threading

import dns.message
import pytest

from mailspool.dns import stub as module
from mailspool.dns.question import Question
from mailspool.dns.stub import NameServer, Stub, Unanswered


@pytest.fixture
def silent():
    """A name server that hears, and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


@pytest.fixture
def question(server):
    server.zone = {"example.org": {"MX": ["10 mx.example.org."]}}
    return Question("example.org", "MX")


@pytest.fixture
def answering(server):
    return NameServer("127.0.0.1", server.port)


def place(sock):
    return NameServer(*sock.getsockname())


def nobody():
    """Where no server listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return place(sock)


def test_behind_a_silent_server_the_next_is_asked(silent, answering, question, clock, monkeypatch):
    monkeypatch.setattr(module, "TRY_SECONDS", 0.1)
    assert Stub([place(silent), answering], clock).ask(question, 10).records
    assert silent.recv(512)


def test_behind_one_that_is_not_there_the_next_is_asked(answering, question, clock, monkeypatch):
    monkeypatch.setattr(module, "TRY_SECONDS", 0.1)
    assert Stub([nobody(), answering], clock).ask(question, 10).records


def test_a_silent_server_is_asked_until_the_time_is_over(silent, question, clock, monkeypatch):
    monkeypatch.setattr(module, "TRY_SECONDS", 0.05)
    with pytest.raises(Unanswered, match=f"^{place(silent)} timed out$") as caught:
        Stub([place(silent)], clock).ask(question, 0.1)
    assert not caught.value.heard
    numbers = {silent.recv(512)[:2] for _ in range(2)}
    assert len(numbers) == 2


def test_one_that_replies_with_an_error_is_asked_once_and_its_error_told(server, answering, question, clock):
    server.faults["example.org"] = "REFUSED"
    with pytest.raises(Unanswered, match=f"^{answering} REFUSED$") as caught:
        Stub([answering], clock).ask(question, 10)
    assert caught.value.heard
    assert len(server.asked) == 1


def test_where_it_is_wished_the_next_question_goes_to_the_next_server(silent, answering, question, clock, monkeypatch):
    monkeypatch.setattr(module, "TRY_SECONDS", 0.1)
    stub = Stub([answering, place(silent)], clock, rotate=True)
    for _ in range(2):
        assert stub.ask(question, 10).records
    assert silent.recv(512)


def test_a_stray_reply_is_no_answer_and_the_true_one_is_waited_for(silent, question, clock):
    def reply():
        query, peer = silent.recvfrom(512)
        response = dns.message.make_response(dns.message.from_wire(query))
        response.answer.append(dns.rrset.from_text("example.org.", 9, "IN", "MX", "10 good.example."))
        true = response.to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(true.replace(b"good", b"evil"), peer)
        silent.sendto(bytes([true[0] ^ 1]) + true[1:].replace(b"good", b"evil"), peer)
        silent.sendto(true[:40], peer)
        silent.sendto(true, peer)

    thread = threading.Thread(target=reply)
    thread.start()
    found = Stub([place(silent)], clock).ask(question, 10)
    thread.join(10)
    assert [record.exchange.to_text() for record in found.records] == ["good.example."]


def test_resolv_conf_tells_the_servers_and_whether_they_take_turns(tmp_path, clock):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\noptions rotate\n")
    stub = Stub.configured(str(path), clock)
    assert stub.servers == [("192.0.2.1", 53), ("2001:db8::1", 53)]
    assert [next(stub._turns) for _ in range(3)] == [0, 1, 2]
