# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One mail address."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailspool.errors import AddressError
from mailspool.model.address import (
    Address,
    control_character,
    is_address,
    literal_address,
    parse_address,
    parse_domain,
)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("joe@example.org", "joe", "example.org"),
        ("Joe.Bloggs+tag@Example.ORG", "Joe.Bloggs+tag", "example.org"),
        ("joe@example.org.", "joe", "example.org"),
        ("postmaster@localhost", "postmaster", "localhost"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org"),
        ('"joe bloggs"@example.org', '"joe bloggs"', "example.org"),
        ('"a@b"@example.org', '"a@b"', "example.org"),
        ('"a\\"b\\\\"@example.org', '"a\\"b\\\\"', "example.org"),
        ('""@example.org', '""', "example.org"),
        ('"jörg x"@example.org', '"jörg x"', "example.org"),
        ("jörg@example.org", "jörg", "example.org"),
        ("joe@my_host.example.org", "joe", "my_host.example.org"),
        ("joe@bücher.example", "joe", "xn--bcher-kva.example"),
        ("joe@BÜCHER.example.", "joe", "xn--bcher-kva.example"),
        ("joe@faß.example", "joe", "xn--fa-hia.example"),  # not fass: IDNA 2008
        ("joe@例。example", "joe", "xn--fsq.example"),
        ("joe@[192.0.2.1]", "joe", "[192.0.2.1]"),
        ("joe@[ipv6:2001:DB8:0::1]", "joe", "[IPv6:2001:db8::1]"),
    ],
)
def test_an_address_is_taken_apart_and_its_domain_made_canonical(text, local, domain):
    assert parse_address(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "joe", "joe@", "@example.org", "joe@.", "joe@example..org", "joe@.example.org", "joe@example.org.."),
        *(".joe@example.org", "joe.@example.org", "joe..b@example.org", "joe b@example.org", "joe@exa mple.org"),
        *('"joe@example.org', 'joe"@example.org', '"a"b"@example.org', '"a\\"@example.org', '"a\\é"@example.org'),
        *("<joe@example.org>", "Joe <joe@example.org>", "joe@-example.org", "joe@example-.org", "joe@exam+ple.org"),
        *("joe@☃.example", "joe@ä..example", "joe@" + "ä" * 64 + ".example", "joe@xn--" + "a" * 60 + ".example"),
        *("joe@[192.0.2.1", "joe@[192.0.2]", "joe@[192.0.2.256]", "joe@[2001:db8::1]", "joe@[IPv6:192.0.2.1]"),
        *("joe@[]", "joe@[IPv6:]", "joe@[example.org]", "joe@[192.0.2.1]x", "joe@[IPv6:fe80::1%eth0]"),
        *("joe\r@example.org", "joe@example.org\n", '"a\0"@example.org', '"\x85"@example.org', "a\ud800@example.org"),
        *("a\u2028b@example.org", "a\x7f@example.org", "joe@example.org\r\nRCPT TO:<all@example.org>"),
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        ("a" * 64 + "@b.c", "a" * 65 + "@b.c"),
        ("é" * 32 + "@b.c", "é" * 33 + "@b.c"),  # octets, not characters
        ("a@" + "b" * 63 + ".c", "a@" + "b" * 64 + ".c"),
        ("a@" + "b." * 125 + "cc", "ab@" + "b." * 125 + "cc"),  # the whole, with its brackets: 256
    ],
)
def test_the_limits_of_length_are_counted_in_octets(fits, too_long):
    parse_address(fits)
    with pytest.raises(AddressError):
        parse_address(too_long)


def test_a_domain_is_as_long_as_dns_allows():
    assert parse_domain("b." * 126 + "c")
    with pytest.raises(AddressError, match="253"):
        parse_domain("b." * 126 + "cc")


def test_the_error_names_the_address_and_the_fault():
    with pytest.raises(AddressError, match=r"'joe\\n@b\.c' holds an LF"):
        parse_address("joe\n@b.c")


@pytest.mark.parametrize(("text", "ascii_only"), [("joe@bücher.example", True), ("jörg@example.org", False)])
def test_only_the_local_part_can_need_smtputf8(text, ascii_only):
    assert str(parse_address(text)).isascii() is ascii_only


atoms = st.text(st.characters(min_codepoint=33), min_size=1, max_size=12)
labels = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
likely = st.builds(
    "{}@{}".format,
    st.lists(atoms, min_size=1, max_size=3).map(".".join) | st.text(max_size=12).map('"{}"'.format),
    st.lists(labels | st.text("aäß。.-_1", max_size=5), min_size=1, max_size=4).map(".".join)
    | st.ip_addresses(v=4).map("[{}]".format)
    | st.ip_addresses(v=6).map("[IPv6:{}]".format)
    | st.text("[]IPv6:%.01a \n", max_size=20).map("[{}".format),
)
anything = st.text(st.characters(exclude_categories=()))


def parsed_or_none(text):
    try:
        return parse_address(text)
    except AddressError:
        return None


@given(likely | anything)
@example("a@[IPv6:::1%\r\n]")
def test_an_address_is_refused_or_safe_and_canonical(text):
    address = parsed_or_none(text)
    if address is None:
        return
    assert parse_address(str(address)) == address
    assert control_character(str(address)) == ""
    assert len(str(address).encode()) <= 254
    assert address.domain.isascii()
    assert not set(address.domain) & set(' "<>@%')
    assert str(address).splitlines() == [str(address)]
    if '"' not in address.local:
        assert not set(address.local) & set(' <>(),;:@\\"')


@given(anything | st.text("[]IPv6:%.01a \n\rä", max_size=20))
@example("[IPv6:::1%\n]")
def test_a_domain_by_itself_is_as_safe_as_in_an_address(text):
    try:
        domain = parse_domain(text)
    except AddressError:
        return
    assert domain.isascii()
    assert domain.isprintable()
    assert " " not in domain
    assert parse_domain(domain) == domain


@given(st.ip_addresses())
def test_an_ip_address_survives_as_a_literal(ip):
    text = f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"
    assert ipaddress.ip_address(literal_address(parse_domain(text))) == ip


def test_only_a_literal_has_a_literal_address():
    assert literal_address("example.org") == ""


@given(anything)
def test_control_characters_are_found_wherever_they_are(text):
    assert bool(control_character(text)) == any(
        ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" or 0xD800 <= ord(c) < 0xE000 for c in text
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [("a\rb\n", "a CR"), ("\n", "an LF"), ("\0", "a NUL"), ("\x1b[2J", "the character U+001B"), ("plain é", "")],
)
def test_the_first_control_character_is_named(text, name):
    assert control_character(text) == name


@given(
    st.one_of(st.ip_addresses().map(str), st.text(), st.from_regex(r"[0-9a-f:.]{1,12}(%[a-z0-9]+)?", fullmatch=True))
)
@example("fe80::1%eth0")
@example("1.2.3")
@example("mx.example.org")
def test_whether_it_is_an_ip_address_is_what_python_says(text):
    try:
        expected = bool(ipaddress.ip_address(text))
    except ValueError:
        expected = False
    assert is_address(text) is expected
