# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the rooms above rely on in the plain values of a store."""

from mailspool.store.base import Location, State


def test_a_key_leads_back_to_the_queued_node_that_it_names():
    at = Location(State.QUEUED, 12, "1700000000-A1.0-x.example")
    assert at.key == "12/1700000000-A1.0-x.example"
    assert Location.queued(at.key) == at
