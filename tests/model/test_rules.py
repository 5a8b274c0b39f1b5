# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which of the administrator's limits count for whom."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.model.limit import Limit
from mailspool.model.rules import Rules, parse_rule

RULES = Rules(
    {
        pattern: Limit(concurrency=number)
        for number, pattern in enumerate(
            (
                *("example.org", "*.example.org", "deep.sub.example.org", "*"),
                *("mx:*.mail.protection.example", "mx:mx.example.net", "MX:192.0.2.1", "mx:2001:DB8::1"),
            )
        )
    }
)


def pattern(rule):
    return rule and rule.pattern


@pytest.mark.parametrize(
    ("destination", "found"),
    [
        ("example.org", "example.org"),
        ("sub.example.org", "*.example.org"),
        ("deep.sub.example.org", "deep.sub.example.org"),
        ("other.sub.example.org", "*.example.org"),
        ("example.net", "*"),
        ("[192.0.2.1]", "*"),
        ("relay.example.org:587", "*.example.org"),
        ("relay.example.org:587,example.org:25", "*.example.org"),
        ("[2001:db8::1]:25", "*"),
    ],
)
def test_the_most_specific_pattern_counts_for_a_destination(destination, found):
    assert pattern(RULES.of_destination(destination)) == found


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("example-org.mail.protection.example", "mx:*.mail.protection.example"),
        ("mail.protection.example", None),
        ("mx.example.net", "mx:mx.example.net"),
        ("192.0.2.1", "MX:192.0.2.1"),
        ("2001:db8::1", "mx:2001:DB8::1"),
        ("example.org", None),
    ],
)
def test_hosts_have_rules_of_their_own(host, found):
    assert pattern(RULES.of_host(host)) == found


def test_a_rule_is_found_by_what_was_written():
    rule = RULES.of_host("192.0.2.1")
    assert RULES.of_pattern("MX:192.0.2.1") is rule
    assert RULES.of_pattern("mx:192.0.2.2") is None


def test_without_limits_there_is_no_rule():
    assert not Rules({})
    assert Rules({}).of_destination("example.org") is None


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("mx:*.a.example", "mx:.a.example"),
        ("mx:.A.example", "mx:.a.example"),
        ("mx:*", "mx:*"),
        (".b.example", ".b.example"),
    ],
)
def test_patterns_are_those_of_routes(text, parsed):
    assert parse_rule(text) == parsed


@pytest.mark.parametrize("text", ["mx:", "mx:a b", "mx:[192.0.2.1", "a b", "mx:mx:a.example"])
def test_anything_else_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="is none of: "):
        parse_rule(text)


@given(st.text(max_size=30))
def test_whatever_is_written_is_a_rule_or_a_value_error(text):
    for kind in ("", "mx:"):
        with suppress(ValueError):
            parse_rule(kind + text)
