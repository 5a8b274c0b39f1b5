# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The syntax of routes, smarthosts and name servers."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.target import ByHost, ByMx, parse_nameserver, parse_pattern, parse_target, parse_targets

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ADDRESS = st.ip_addresses().map(str)
PORT = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("mx", ByMx()),
        ("mx:example.org", ByMx("example.org")),
        ("MX:Example.ORG.", ByMx("example.org")),
        ("relay.example.org", ByHost("relay.example.org", 25)),
        ("Relay.Example.ORG:587", ByHost("relay.example.org", 587)),
        ("[relay.example.org]:587", ByHost("relay.example.org", 587)),
        ("localhost:2525", ByHost("localhost", 2525)),
        ("192.0.2.1", ByHost("192.0.2.1", 25)),
        ("192.0.2.1:26", ByHost("192.0.2.1", 26)),
        ("[192.0.2.1]:26", ByHost("192.0.2.1", 26)),
        ("[2001:DB8::1]", ByHost("2001:db8::1", 25)),
        ("[2001:db8::1]:26", ByHost("2001:db8::1", 26)),
        ("[IPv6:2001:db8::1]:26", ByHost("2001:db8::1", 26)),
        ("2001:db8::1", ByHost("2001:db8::1", 25)),
        ("[mx]:587", ByHost("mx", 587)),
        ("[mx]", ByHost("mx", 25)),
        ("mx.example.org:587", ByHost("mx.example.org", 587)),
        ("bücher.example", ByHost("xn--bcher-kva.example", 25)),
    ],
)
def test_each_form_of_a_target_is_read(text, target):
    assert parse_target(text) == target


def test_one_target_or_several_are_read_in_their_order():
    assert parse_targets("a", 2525) == (ByHost("a", 2525),)
    assert parse_targets(["b:587", "mx"]) == (ByHost("b", 587), ByMx())
    with pytest.raises(ValueError, match="x:0"):
        parse_targets(["b", "x:0"])


@pytest.mark.parametrize(
    "text", ["smtps://Relay.example.org", "SMTPS://relay.example.org:465", "relay.example.org:465"]
)
def test_implicit_tls_is_the_port_465(text):
    assert parse_target(text) == ByHost("relay.example.org", 465)


@pytest.mark.parametrize("text", ["smtps://", "smtps://host:587", "smtps://mx:other.example", "smtps://smtps://host"])
def test_implicit_tls_is_for_a_host_and_on_no_other_port(text):
    with pytest.raises(ValueError):
        parse_target(text)


def test_a_target_without_a_port_gets_the_configured_one():
    assert parse_target("relay.example.org", 2525) == ByHost("relay.example.org", 2525)
    assert parse_target("relay.example.org:25", 2525) == ByHost("relay.example.org", 25)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":25", "[]", "[]:25", "host:", "host:0", "host:65536", "host:x", "host:-1", "host:25:25", "a b"),
        *("[192.0.2.1", "192.0.2.1]", "[192.0.2.300]", "192.0.2.300", "1.2.3", "[2001:db8::g]:25", "fe80::1%eth0"),
        *("mx:", "mx:587", "mx:[192.0.2.1]", "mx:192.0.2.1", "host\n", "host:2５", "smtp://host", "a..b", "*"),
    ],
)
def test_what_is_no_target_is_refused_with_its_own_text_in_one_line(text):
    with pytest.raises(ValueError) as caught:
        parse_target(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_called_mx_is_pointed_to_its_brackets():
    with pytest.raises(ValueError, match=r"\[mx\]:587"):
        parse_target("mx:587")


@given(st.builds(ByHost, NAME | ADDRESS, PORT) | st.builds(ByMx, st.just("") | NAME))
def test_a_target_written_out_is_read_back_as_itself(target):
    assert parse_target(str(target)) == target


@given(st.text() | st.text("[]:.%mx0123456789abIPv"))
def test_any_text_is_a_target_that_can_be_written_or_a_value_error(text):
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*", "*"),
        ("Example.ORG.", "example.org"),
        (".example.org", ".example.org"),
        ("*.example.org", ".example.org"),
        ("*.bücher.example", ".xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("localhost", "localhost"),
    ],
)
def test_each_form_of_a_pattern_is_read(text, pattern):
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    "text", ["", ".", "*.", "**", "*example.org", "a.*.b", "a@b", "..a", "*..a", "a b", ".[192.0.2.1]"]
)
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(ValueError, match="none of"):
        parse_pattern(text)


@given(st.text() | st.text("*.ab"))
def test_a_pattern_is_read_back_as_itself_or_refused(text):
    try:
        pattern = parse_pattern(text)
    except ValueError:
        return
    assert parse_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("[192.0.2.1]:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_each_form_of_a_name_server_is_read(text, expected):
    assert parse_nameserver(text) == expected


@pytest.mark.parametrize("text", ["", "dns.example.org", "192.0.2.1:0", "192.0.2.1:", "1.2.3", "192.0.2.1#53"])
def test_what_is_no_name_server_is_refused(text):
    with pytest.raises(ValueError):
        parse_nameserver(text)


@given(st.ip_addresses(), PORT)
def test_every_address_with_every_port_is_a_name_server(address, port):
    text = f"[{address}]:{port}" if isinstance(address, ipaddress.IPv6Address) else f"{address}:{port}"
    assert parse_nameserver(text) == (str(address), port)
