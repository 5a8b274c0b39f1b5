# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The names that a subclass may override, as they are by default, against a real DNS server and a real listener."""

import random
import socket
import threading
import time

import pytest

from mailspool.delivery.network import Network, OwnIpv6, has_ipv6
from mailspool.dns.resolver import Resolver
from mailspool.errors import ConfigError, LoginFailed, PermanentError, TransientError
from mailspool.model.credentials import Credentials, Keyring
from mailspool.model.phase import Phase, nobody_watches
from mailspool.model.timeouts import Timeouts
from mailspool.tls.policy import NO_TLS


def network(server, *, watch=nobody_watches, families=(6, 4), has_ipv6=True, keys=None, alarms=None):
    return Network(
        resolver=Resolver([server.address], 10.0, time.monotonic),
        helo_name="Us.example.org",
        timeouts=Timeouts(connect=10.0, greeting=10.0, ehlo=10.0),
        tls=NO_TLS,
        watch=watch,
        alarm=lambda subject, text: alarms.append((subject, text)),
        keyring=lambda: Keyring(keys),
        shuffle=random.Random(0).shuffle,
        families=families,
        has_ipv6=lambda: has_ipv6,
    )


@pytest.fixture
def listener():
    """Greets one connection and answers EHLO; yields its port and what it was told."""
    listening = socket.create_server(("127.0.0.1", 0))
    heard = []

    def serve():
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 mx.example.org ESMTP\r\n")
            for line in lines:
                heard.append(line)
                connection.sendall(b"250 mx.example.org\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1], heard
    thread.join(10)
    listening.close()


def test_the_hosts_of_a_domain_come_best_first(server):
    server.zone["example.org"] = {"MX": ["20 b.example.org.", "10 a.example.org."]}
    assert network(server).lookup_mx("example.org") == ["a.example.org", "b.example.org"]


@pytest.mark.parametrize("own", ["us.example.org.", "localhost."])
def test_mail_for_ourselves_under_either_of_our_names_is_a_loop(server, own):
    server.zone["example.org"] = {"MX": [f"10 {own}"]}
    with pytest.raises(PermanentError) as caught:
        network(server).lookup_mx("example.org")
    assert caught.value.status == "5.4.6"


def test_trouble_with_dns_is_transient_for_both_questions(server):
    server.faults["example.org"] = "SERVFAIL"
    for look_up in (network(server).lookup_mx, network(server).lookup_host):
        with pytest.raises(TransientError) as caught:
            look_up("example.org")
        assert caught.value.status == "4.4.3"


def test_without_ipv6_its_addresses_are_not_asked_for(server):
    server.zone["mx.example.org"] = {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}
    assert network(server, has_ipv6=False).lookup_host("mx.example.org") == ["192.0.2.1"]
    assert [rdtype for _, rdtype, _ in server.asked] == ["A"]
    assert network(server, families=(6,), has_ipv6=False).lookup_host("mx.example.org") == ["2001:db8::1"]


def test_a_host_with_nothing_but_ipv6_has_an_address_all_the_same(server):
    server.zone["mx.example.org"] = {"AAAA": ["2001:db8::1"]}
    assert network(server, has_ipv6=False).lookup_host("mx.example.org") == ["2001:db8::1"]
    assert network(server, has_ipv6=False).lookup_host("nowhere.example.org") == []


@pytest.mark.parametrize(
    ("addresses", "has_one"),
    [
        ("", False),
        ("00000000000000000000000000000001 01 80 10 80       lo\n", False),
        ("fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n", False),
        ("fe80000000000000000000000000ab01 04 40 20 80 e0\nfd000000000000000000000000000002 04 40 00 82 e0\n", True),
        ("what is this\n", True),
        (None, True),
    ],
)
def test_whether_there_is_ipv6_is_what_the_kernel_says(tmp_path, monkeypatch, addresses, has_one):
    path = tmp_path / "if_inet6"
    if addresses is not None:
        path.write_text(addresses)
    monkeypatch.setattr("mailspool.delivery.network._OWN_IPV6", path)
    assert has_ipv6() is has_one


def test_an_ipv6_address_that_comes_is_known_a_second_later(tmp_path, monkeypatch):
    path, now = tmp_path / "if_inet6", [7.0]
    path.write_text("")
    monkeypatch.setattr("mailspool.delivery.network._OWN_IPV6", path)
    own = OwnIpv6(lambda: now[0])
    assert not own()
    path.write_text("fd000000000000000000000000000002 04 40 00 82 e0\n")
    now[0] += 1.0
    assert own()


def test_the_addresses_of_a_host_are_those_in_dns_of_the_families_wanted(server):
    server.zone["mx.example.org"] = {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}
    assert network(server).lookup_host("mx.example.org") == ["2001:db8::1", "192.0.2.1"]
    assert network(server, families=(4,)).lookup_host("mx.example.org") == ["192.0.2.1"]


def test_a_host_without_addresses_has_none(server):
    server.zone["mx.example.org"] = {"TXT": ["x"]}
    assert network(server).lookup_host("mx.example.org") == []
    assert network(server).lookup_host("nowhere.example.org") == []


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_its_own_address_and_dns_is_not_asked(server, address):
    assert network(server).lookup_host(address) == [address]
    assert server.asked == []


@pytest.mark.parametrize("name", ["localhost", "mail.localhost"])
def test_localhost_is_this_host_and_dns_is_not_asked(server, name):
    assert network(server).lookup_host(name) == ["::1", "127.0.0.1"]
    assert network(server, families=(4,)).lookup_host(name) == ["127.0.0.1"]
    assert server.asked == []


def test_the_watch_hears_of_each_look_up_and_how_long_it_may_take(server):
    seen = []
    watched = network(server, watch=lambda *what: seen.append(what))
    server.zone["example.org"] = {"A": ["192.0.2.1"]}
    watched.lookup_mx("example.org")
    watched.lookup_host("example.org")
    assert seen == [(Phase.RESOLVE, "example.org", 10.0)] * 2


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mx.example.org[127.0.0.1]", "mx.example.org[127.0.0.1]"),
        ("127.0.0.1", "127.0.0.1[127.0.0.1]"),
        ("[127.0.0.1]", "127.0.0.1[127.0.0.1]"),
        ("mx.example.org", "mx.example.org[127.0.0.1]"),
    ],
)
def test_a_session_is_opened_with_a_labelled_host_an_address_or_a_name(server, listener, host, shown):
    server.zone["mx.example.org"] = {"A": ["127.0.0.1"]}
    port, heard = listener
    session = network(server).open_smtp_connection(host, port, 0)
    assert session.host == f"{shown}:{port}"
    session.quit()
    assert heard[0] == b"EHLO Us.example.org\r\n"


def test_the_timeout_bounds_each_phase_before_the_content_and_is_never_longer_than_configured(server, listener):
    seen = {}
    port, _ = listener
    watched = network(server, watch=lambda phase, _host, seconds: seen.__setitem__(phase, seconds))
    watched.open_smtp_connection("127.0.0.1", port, 7.0).close()
    assert all(seconds <= 7.0 for seconds in seen.values())
    assert {Phase.CONNECT, Phase.GREETING, Phase.EHLO} <= seen.keys()


def test_a_host_that_refuses_the_connection_is_transient(server):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(TransientError):
        network(server).open_smtp_connection("127.0.0.1", port, 5.0)


def test_a_name_without_addresses_opens_no_session(server):
    with pytest.raises(TransientError) as caught:
        network(server).open_smtp_connection("nowhere.example.org", 25, 5.0)
    assert caught.value.status == "4.4.4"


# --- logging in

JOE = Credentials(user="joe", password="secret", tls="may")


@pytest.mark.parametrize("key", [("mx.example.org", 0), ("mx.example.org", None), ("127.0.0.1", 0)])
def test_a_host_that_we_have_credentials_for_but_that_offers_no_login_raises_the_alarm(server, listener, key):
    port, _ = listener
    host, key_port = key
    alarms = []
    keys = {(host, port if key_port is None else key_port): JOE}
    with pytest.raises(LoginFailed) as caught:
        network(server, keys=keys, alarms=alarms).open_smtp_connection(f"{host}[127.0.0.1]", port, 5.0)
    assert (caught.value.status, caught.value.host) == ("4.7.8", "")
    ((subject, text),) = alarms
    assert subject == f"{host}:{port}"
    assert "offers no AUTH" in text


def test_tls_that_the_password_needs_is_a_part_of_the_login(server, listener):
    port, _ = listener
    alarms = []
    keys = {("mx.example.org", port): Credentials(user="joe", password="secret")}
    with pytest.raises(LoginFailed) as caught:
        network(server, keys=keys, alarms=alarms).open_smtp_connection("mx.example.org[127.0.0.1]", port, 5.0)
    assert caught.value.status == "4.7.8"
    assert "STARTTLS is not offered" in alarms[0][1]


def test_credentials_for_another_port_are_not_for_this_one(server, listener):
    port, heard = listener
    alarms = []
    keys = {("mx.example.org", port + 1): JOE}
    network(server, keys=keys, alarms=alarms).open_smtp_connection("mx.example.org[127.0.0.1]", port, 5.0).quit()
    assert alarms == []
    assert not [line for line in heard if line.startswith(b"AUTH")]


def test_on_the_port_for_it_tls_comes_before_the_first_word(server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        port = listening.getsockname()[1]
        monkeypatch.setattr("mailspool.delivery.network.SUBMISSIONS_PORT", port)
        heard = []

        def serve():
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(5))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(TransientError):
            network(server).open_smtp_connection("127.0.0.1", port, 5.0)
        thread.join(20)
    assert heard[0][:1] == b"\x16"  # a TLS record with a handshake


def test_who_cannot_use_the_credentials_leaves_the_delivery_to_the_daemon_or_hears_of_it(make_spool, sink, tmp_path):
    path = tmp_path / "credentials"
    path.touch()
    path.chmod(0o644)
    spool = make_spool(sink=sink, credentials_file=str(path))
    mail = {"to": "joe@x.example", "from_": "me@y.example", "message": "Subject: x\n\nx\n"}
    spool.send_mail(**mail, delivery="Background")
    assert len(list(spool.store.names(0))) == 1
    with pytest.raises(ConfigError, match="others can read"):
        spool.send_mail(**mail, delivery="Interactive")
    assert sink.accepted == 0
