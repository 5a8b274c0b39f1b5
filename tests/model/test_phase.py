# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The phases of a session and their timeouts."""

import pytest

from mailspool.model.phase import Phase, nobody_watches
from mailspool.model.timeouts import Timeouts


def test_phases_are_numbered_in_the_order_in_which_they_happen():
    assert list(Phase) == sorted(Phase)
    assert Phase.DATA < Phase.CONTENT < Phase.SEAL < Phase.FINAL < Phase.QUIT


def test_each_phase_on_the_wire_has_a_timeout():
    waits = {phase.name.lower() for phase in Phase} - {"idle", "resolve", "seal", "settle"}
    assert waits == set(Timeouts.__struct_fields__)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("greeting", 300), ("mail", 300), ("rcpt", 300), ("data", 120), ("content", 180), ("final", 600)],
)
def test_the_timeouts_are_those_of_the_rfc(name, seconds):
    assert getattr(Timeouts(), name) >= seconds


def test_a_delivery_may_run_unwatched():
    nobody_watches(Phase.CONNECT, "mx.example.org", 30.0)
