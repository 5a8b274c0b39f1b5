# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whatever the address, a node name parses back and fits into a directory."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import AddressError, Unreadable, UsageError
from mailspool.model.address import parse_address
from mailspool.model.envelope import Envelope, Recipient
from mailspool.store import nodename
from mailspool.store.nodename import (
    MAX_ATTEMPT,
    NodeName,
    arrival_of,
    destination_in,
    destination_of,
    message_id_of,
    names_of,
    new_id,
    node_id_of,
    parse,
    sealed,
    split_claim,
)

ID = "0ABCDEF0123456789ABC"

atom = st.text(alphabet="abcXYZ019!#$%&'*+/=?^_`{|}~-éあ", min_size=1, max_size=20)
local_part = st.one_of(
    atom,
    st.lists(atom, min_size=1, max_size=3).map(".".join),
    st.text(alphabet='ab ~-/@%\\"', max_size=20).map(lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.just("bounces+joe=example.com/-x~y"),
)
label = st.from_regex(r"[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?", fullmatch=True)
domain = st.one_of(
    st.lists(label, min_size=1, max_size=12).map(".".join),
    st.sampled_from(["bücher.example", "例え.テスト", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a" + ".b" * 120]),
)


@given(local_part, domain, st.integers(0, 10**12 - 1), st.integers(0, 10**7 - 1))
def test_every_legal_address_gives_a_name_that_parses_back_and_fits(local, domain, time, index):
    try:
        address = parse_address(f"{local}@{domain}")
    except AddressError:
        return
    node = NodeName(time, ID, index, destination_of(str(address)))
    name = str(node)
    assert parse(name) == node
    assert "/" not in name
    assert "\0" not in name
    claim = f"{name}~{'x' * MAX_ATTEMPT}"
    assert len(sealed(sealed(claim)).encode()) < 255
    assert split_claim(claim) == (name, "x" * MAX_ATTEMPT)
    assert split_claim(sealed(claim))[0] == name
    parts = message_id_of(claim), node_id_of(claim), destination_in(sealed(claim))
    assert parts == (ID, node.node_id, node.destination)


@given(st.text())
def test_even_what_no_address_may_hold_makes_no_unsafe_name(text):
    name = str(NodeName(0, ID, 0, destination_of(text)))
    assert str(parse(name)) == name
    assert "/" not in name


@given(st.one_of(st.text(), st.from_regex(r"\d{1,13}-[0-9A-Za-z]*\.\d*-[a-z.\[\]#:~/-]*")))
def test_a_text_is_refused_or_parses_to_itself(text):
    try:
        node = parse(text)
    except Unreadable:
        return
    assert str(node) == text


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1-2",
        "lock",
        f"01-{ID}.0-example.org",
        f"-1-{ID}.0-example.org",
        f"1-{ID}-example.org",
        f"1-{ID}.00-example.org",
        f"1-{ID}.0-",
        f"1-{ID}.0-Example.org",
        f"1-{ID}.0-a/b",
        f"1-{ID}.0-a\n",
        f"1-{ID}.0-{'a' * 101}",
        f"1-{'A' * 65}.0-a",
        f"١-{ID}.0-a",
        f"1-{ID}.0-a~w1.1",
    ],
)
def test_what_is_no_node_name_is_refused_by_name(name):
    with pytest.raises(Unreadable) as caught:
        parse(name)
    assert repr(name) in str(caught.value)


def test_a_name_splits_at_its_first_two_dashes():
    assert parse("5-ABC.7-a-b.example") == NodeName(5, "ABC", 7, "a-b.example")
    assert parse("5-ABC.7-a-b.example").node_id == "ABC.7"


def test_a_very_long_destination_becomes_the_same_hash_each_time():
    long = "a." * 60 + "example"
    assert destination_of(f"joe@{long}") == destination_of(f"jane@{long}") != destination_of(f"joe@b.{long}")
    assert len(destination_of(f"joe@{long}")) == 33


def test_a_claimed_name_splits_into_node_and_attempt():
    assert nodename.split_claim("5-A.7-x.org~w1.2") == ("5-A.7-x.org", "w1.2")
    assert nodename.split_claim("5-A.7-x.org") == ("5-A.7-x.org", "")


@pytest.mark.parametrize(("name", "time"), [("17-A.0-x", 17), ("0-A.0-x", 0), ("", 0), ("lock", 0), ("-3-x", 0)])
def test_the_time_is_read_without_parsing_and_junk_is_due_now(name, time):
    assert nodename.entered(name) == time


def test_names_follow_the_order_of_the_recipients():
    envelope = Envelope("AB1", "", (Recipient("joe@a.example"), Recipient('"x/y@z"@[192.0.2.1]')), 1.0)
    assert names_of(envelope, 9) == ("9-AB1.0-a.example", "9-AB1.1-[192.0.2.1]")


@pytest.mark.parametrize("bad", ["", "a/b", "a.b", "a-b", "ä", "A" * 65, "a\n"])
def test_an_id_of_anything_but_letters_and_digits_is_refused(bad):
    with pytest.raises(UsageError):
        names_of(Envelope(bad, "", (Recipient("joe@a.example"),), 1.0), 9)


@given(st.floats(0, 36**7 - 1), st.binary(min_size=8, max_size=8))
def test_an_id_has_a_fixed_width_and_tells_when_it_was_made(now, dice):
    made = new_id(now, lambda n: dice[:n])
    assert len(made) == 20
    assert arrival_of(made) == int(now)
    assert parse(f"1-{made}.0-x").id == made


def test_ids_sort_by_arrival_and_do_not_repeat():
    ids = [new_id(now, os.urandom) for now in range(1_700_000_000, 1_700_001_000)]
    assert ids == sorted(ids)
    assert len({new_id(0, os.urandom) for _ in range(10_000)}) == 10_000


def test_an_id_of_another_making_tells_no_arrival():
    with pytest.raises(Unreadable):
        arrival_of("hello")
