# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The rules of RFC 5321 §5.1 and RFC 7505, without any network."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.dns.mx import order_hosts
from mailspool.dns.resolver import Absent, Mx
from mailspool.errors import PermanentError

US = {"us.example.org", "localhost"}


def order(*records, domain="example.org", shuffle=lambda _: None):
    return order_hosts(domain, records, US, shuffle)


def verdict(answer, domain="example.org"):
    with pytest.raises(PermanentError) as caught:
        order_hosts(domain, answer, US, random.Random(0).shuffle)
    assert domain in caught.value.text
    return caught.value.status


def test_the_lowest_preference_value_comes_first():
    assert order(Mx(20, "b"), Mx(5, "a"), Mx(100, "c")) == ["a", "b", "c"]


def test_hosts_of_equal_preference_come_in_every_order_but_never_before_better_ones():
    records = [Mx(10, "a"), Mx(10, "b"), Mx(10, "c"), Mx(5, "first"), Mx(20, "last")]
    orders = {tuple(order(*records, shuffle=random.Random(seed).shuffle)) for seed in range(200)}
    assert len(orders) == 6
    assert all(each[0] == "first" and each[-1] == "last" for each in orders)


def test_a_null_mx_says_that_the_domain_takes_no_mail():
    assert verdict([Mx(0, ".")]) == "5.1.10"
    assert verdict([Mx(0, "."), Mx(10, ".")]) == "5.1.10"


def test_a_null_mx_beside_real_ones_is_ignored():
    assert order(Mx(0, "."), Mx(10, "a")) == ["a"]


def test_a_domain_without_mx_is_its_own_host():
    assert order_hosts("example.org", Absent.NO_DATA, US, random.Random(0).shuffle) == ["example.org"]


def test_a_domain_that_does_not_exist_is_a_bad_domain():
    assert verdict(Absent.NO_SUCH_NAME) == "5.1.2"


def test_our_own_name_and_all_that_are_no_better_are_left_out():
    assert order(Mx(5, "a"), Mx(10, "us.example.org"), Mx(10, "equal"), Mx(20, "worse")) == ["a"]


def test_being_the_best_host_ourselves_is_a_loop():
    assert verdict([Mx(10, "us.example.org"), Mx(20, "backup")]) == "5.4.6"
    assert verdict([Mx(65535, "localhost")]) == "5.4.6"
    assert verdict(Absent.NO_DATA, "us.example.org") == "5.4.6"


def test_the_worst_preference_value_there_is_counts_like_any_other():
    assert order(Mx(65535, "a")) == ["a"]


def test_a_host_named_twice_is_tried_once_at_its_better_place():
    assert order(Mx(20, "a"), Mx(15, "b"), Mx(10, "a")) == ["a", "b"]


def test_an_exchange_that_is_an_ip_address_stays_as_it_is():
    assert order(Mx(10, "192.0.2.1")) == ["192.0.2.1"]


@given(
    st.lists(st.builds(Mx, st.integers(0, 65535), st.sampled_from([".", "a", "b", "c", "us.example.org"])), min_size=1)
)
def test_hosts_are_always_some_of_the_exchanges_in_the_order_of_their_best_preference(records):
    try:
        hosts = order(*records)
    except PermanentError:
        assert {r.exchange for r in records} & {".", "us.example.org"}
        return
    best = [min(r.preference for r in records if r.exchange == host) for host in hosts]
    assert best == sorted(best)
    assert not {".", *US} & set(hosts)
    assert len(set(hosts)) == len(hosts) > 0
