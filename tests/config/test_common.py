# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Hosts whose nodes would fare alike have one fingerprint, others have another."""

import pytest

from mailspool.config.common import COMMON, fingerprint
from mailspool.config.load import make


def settings(**options):
    return make(hostname="mx.example.org", mail_name="example.org", **options)


def test_the_order_of_routes_and_what_is_a_hosts_own_make_no_difference():
    one = settings(routes={"a.example": "mx", "b.example": "mx"}, run_dir="/run/one", max_dequeue_processes=5)
    assert fingerprint(one) == fingerprint(settings(routes={"b.example": "mx", "a.example": "mx"}))


@pytest.mark.parametrize(
    "options",
    [
        {"max_age": 60.0},
        {"smarthost": "mx.example.net"},
        {"routes": {"a.example": "mx"}},
        {"lease_time": 90.0},
        {"dequeue_periods": (0.0, 5.0), "dequeue_priority": (1, 1)},
    ],
)
def test_what_decides_over_nodes_makes_a_difference(options):
    assert fingerprint(settings(**options)) != fingerprint(settings())


def test_all_of_it_are_options():
    assert set(COMMON) <= set(settings().__struct_fields__)
