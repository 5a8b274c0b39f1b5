# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who gives nodes up claims them, and has a lease for as long as it does."""

from pathlib import Path

import pytest

from mailspool.cli.steps import Bounces
from mailspool.errors import LeaseLost
from mailspool.model.outcome import Failed
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.lease import leaseholders


def given_up(_attempts):
    return Failed("5.0.0", "", "given up")


def test_claims_are_held_under_a_lease_that_ends_with_them(house):
    _, at = house.node()
    with Bounces(house.spool, given_up) as bounces:
        assert leaseholders(house.store.root) == []
        bounces.take(house.spool, at)
        assert leaseholders(house.store.root) == [str(this_owner())]
    assert leaseholders(house.store.root) == []
    assert house.spool.lease is None
    assert list(house.store.locations()) == [at]  # what was not settled has come back


def test_a_held_node_is_not_claimed_and_needs_no_lease(house):
    _, at = house.node()
    held = house.hold(at)
    with Bounces(house.spool, given_up) as bounces:
        bounces.take(house.spool, held)
        assert leaseholders(house.store.root) == []
        assert bounces.settle() == (1, [])


def test_who_was_taken_for_dead_meanwhile_reports_nothing(house):
    message, at = house.node()
    with Bounces(house.spool, given_up) as bounces:
        bounces.take(house.spool, at)
        Path(house.store.root, "hosts", str(this_owner())).unlink()  # as another host does
        with pytest.raises(LeaseLost):
            house.spool.lease.beat()
        settled, (fault,) = bounces.settle()
    assert settled == 0
    assert fault.startswith(f"{message} is not given up: ")
    assert [(now.state, now.name) for now in house.store.locations()] == [(State.QUEUED, at.name)]
