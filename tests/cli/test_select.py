# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Selectors mean what they say: whatever is typed is understood or refused, and nothing is chosen by accident."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.cli import text
from mailspool.cli.select import Selector, parse_address_pattern, parse_age, parse_domain_pattern, parse_tiers
from mailspool.model.envelope import Envelope, Recipient
from mailspool.store import nodename
from mailspool.store.base import Location, State

NOW = 1_800_000_000.0
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
LOCAL = st.from_regex(r"[A-Za-z0-9!#$%&'+/=^_`{|}~-]{1,20}", fullmatch=True)
LITERAL = st.sampled_from(["[192.0.2.1]", "[IPv6:2001:db8::1]"])


def node(destination="example.net", age=0.0, tier=0, state=State.QUEUED):
    message_id = nodename.new_id(NOW - age, lambda size: bytes(size))
    return Location(state, tier, f"{int(NOW)}-{message_id}.0-{destination}{'~w1.1' * (state is State.CLAIMED)}")


def finds(pattern, subject):
    return bool(parse_address_pattern(pattern).fullmatch(subject))


# --- addresses


@given(LOCAL, DOMAIN | LITERAL, LOCAL, DOMAIN | LITERAL)
def test_an_address_finds_itself_in_any_case_and_no_other(local, domain, other_local, other_domain):
    address, other = f"{local}@{domain}", f"{other_local}@{other_domain}"
    assert finds(address, address)
    assert finds(address.swapcase() if domain[0] != "[" else address, address)
    assert finds(f"<{address}>", address)
    assert finds(address, other) == (address.lower() == other.lower())


@given(LOCAL, DOMAIN | LITERAL, DOMAIN)
def test_a_domain_behind_an_at_finds_all_its_addresses_and_none_of_another(local, domain, other):
    assert finds(f"@{domain}", f"{local}@{domain}")
    assert finds(f"@{domain}", f"{local}@{other}") == (domain == other)
    assert not finds(f"@{domain}", f"{local}@sub.{domain}")


@given(st.text(max_size=30))
def test_whatever_is_typed_is_understood_or_refused_with_a_reason(typed):
    for parse in (parse_address_pattern, parse_domain_pattern, parse_tiers, parse_age):
        with suppress(ValueError):
            parse(typed)


@given(st.text(alphabet="ab.@[]*?^$\\\\", max_size=12), st.text(alphabet="ab.@[]^$\\\\\n", max_size=12))
def test_in_a_pattern_only_the_star_and_the_question_mark_are_special(pattern, subject):
    if "*" in pattern.rpartition("@")[2] or "?" in pattern.rpartition("@")[2]:
        whole = pattern if not pattern.startswith("@") else f"*{pattern}"
        assert finds(pattern, subject) == matches(whole, subject)


def matches(pattern, subject):
    """Plainly."""
    if not pattern:
        return not subject
    if pattern[0] == "*":
        return any(matches(pattern[1:], subject[at:]) for at in range(len(subject) + 1))
    return bool(subject) and pattern[0] in ("?", subject[0]) and matches(pattern[1:], subject[1:])


@pytest.mark.parametrize(
    ("pattern", "subject", "found"),
    [
        ("<>", "", True),
        ("<>", "joe@example.org", False),
        ("", "", True),
        ("joe*", "joe@example.org", True),
        ("joe*@example.org", "joe+tag@example.org", True),
        ("*@*.example.org", "joe@mx.example.org", True),
        ("*@*.example.org", "joe@example.org", False),
        ("@*.example.org", "joe@mx.example.org", True),
        ("joe@EXAMPLE.org", "joe@example.org", True),
        ("joe@bücher.example", "joe@xn--bcher-kva.example", True),
        ("joe@[192.0.2.1]", "joe@1", False),
        ("*", "", True),
    ],
)
def test_patterns_by_example(pattern, subject, found):
    assert finds(pattern, subject) == found


@pytest.mark.parametrize("typed", ["joe", "joe@", "joe@exa mple.org", "@", "<joe>"])
def test_what_can_be_no_address_is_refused(typed):
    with pytest.raises(ValueError, match="is no"):
        parse_address_pattern(typed)


# --- domains, tiers, ages


@given(DOMAIN | LITERAL)
def test_a_domain_finds_the_nodes_that_go_there_however_long_it_is(domain):
    long = ".".join([domain] * 8) if len(domain) > 30 and domain[0] != "[" and len(domain) * 8 + 7 <= 253 else domain
    pattern = parse_domain_pattern(long)
    assert pattern.fullmatch(nodename.destination_of(f"joe@{long}"))
    assert not pattern.fullmatch(f"x{domain}")


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 60))
def test_tiers_include_both_ends(low, high, tier):
    if low <= high:
        assert (tier in parse_tiers(f"{low}-{high}")) == (low <= tier <= high)
    else:
        with pytest.raises(ValueError, match="lower tier first"):
            parse_tiers(f"{low}-{high}")
    assert (tier in parse_tiers(str(low))) == (tier == low)
    assert (tier in parse_tiers(f"{low}-")) == (tier >= low)


@given(st.integers(0, 10**8))
def test_an_age_that_is_shown_in_full_is_read_back(number):
    shown = text.span(number, units=9)
    assert parse_age(shown) == parse_age(shown.replace(" ", "")) == number


@pytest.mark.parametrize(("typed", "meant"), [("90s", 90), ("2w", 1209600), ("1d12h", 129600), ("1h 30m", 5400)])
def test_an_age_is_a_duration_with_its_units(typed, meant):
    assert parse_age(typed) == meant


@pytest.mark.parametrize("typed", ["", "5", "h", "-1h", "h1", "1h2d", "1x", "1h1h", "١h"])
def test_what_is_no_age_is_refused(typed):
    with pytest.raises(ValueError, match="is no age"):
        parse_age(typed)


@given(st.floats(1, 10**7), st.floats(1, 10**7))
def test_older_and_younger_part_the_nodes(age, limit):
    older, younger = Selector(older=limit), Selector(younger=limit)
    if abs(age - limit) > 1:  # ids tell whole seconds
        assert older.fits_name(node(age=age), NOW) == (age > limit) != younger.fits_name(node(age=age), NOW)


# --- together

TIERS = st.just(()) | st.integers(0, 3).map(lambda tier: (range(tier, tier + 2),))
STATES = st.frozensets(st.sampled_from(State))
DOMAINS = st.just(()) | st.sampled_from(["a.example", "b.example"]).map(lambda name: (parse_domain_pattern(name),))
NODES = st.builds(
    node,
    destination=st.sampled_from(["a.example", "b.example"]),
    age=st.floats(0, 100),
    tier=st.integers(0, 4),
    state=st.sampled_from(State),
)


@given(NODES, STATES, TIERS, DOMAINS, st.none() | st.floats(0, 100))
def test_each_selector_narrows_what_the_others_leave(at, states, tiers, domains, older):
    asked = {"states": states, "tiers": tiers, "domains": domains, "older": older}
    alone = [Selector(**{name: value}).fits_name(at, NOW) for name, value in asked.items()]
    assert Selector(**asked).fits_name(at, NOW) == all(alone)


def test_quarantine_is_in_no_tier_and_held_nodes_are_in_theirs():
    selector = Selector(tiers=(range(3),))
    assert not selector.fits_name(node(state=State.QUARANTINED), NOW)
    assert selector.fits_name(node(tier=2, state=State.HELD), NOW)


def test_of_several_senders_one_must_fit_and_the_recipient_too():
    selector = Selector(
        senders=(parse_address_pattern("<>"), parse_address_pattern("@example.org")),
        recipients=(parse_address_pattern("sue@example.net"),),
    )
    for sender, recipient, fits in [
        ("", "sue@example.net", True),
        ("joe@example.org", "sue@example.net", True),
        ("joe@example.com", "sue@example.net", False),
        ("", "bob@example.net", False),
    ]:
        envelope = Envelope("X", sender, (Recipient(recipient),), NOW)
        assert selector.fits_envelope(envelope, recipient) == fits


def test_only_addresses_need_envelopes():
    assert not Selector(tiers=(range(3),), older=5.0, words=frozenset("X")).reads
    assert Selector(senders=(parse_address_pattern("<>"),)).reads
