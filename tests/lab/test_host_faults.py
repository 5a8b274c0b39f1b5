# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whatever befalls a host: nothing is lost, and what comes twice had its final dot under way: fault.py."""

import pytest

from tests.lab.fault import Fault
from tests.lab.shared import LOOK
from tests.running import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_power_of_a_host_is_cut_while_it_accepts_and_delivers(running):
    victim = running.hosts[0]
    fault = Fault(running, "power cut of a host")
    fault.until_under_way()
    fault.until_at_final_dots(victim)
    running.cut_power(victim)
    fault.in_flight = fault.at_final_dot(victim)
    running.release()
    running.until_taken_for_dead(victim)
    running.boot(victim)
    fault.end()


def test_a_host_is_frozen_at_its_final_dots_for_longer_than_the_lease_and_wakes(running):
    victim = running.hosts[0]
    fault = Fault(running, "frozen after the final dot")
    fault.until_under_way()
    fault.until_at_final_dots(victim)
    victim.freeze()
    fault.in_flight = fault.at_final_dot(victim)
    running.until_taken_for_dead(victim)
    running.release()
    eventually(lambda: not running.claims(victim), pause=LOOK)
    victim.thaw()
    fault.end()


def test_a_host_is_frozen_before_its_final_dots_for_longer_than_the_lease_and_doubles_nothing(running):
    victim = running.hosts[0]
    fault = Fault(running, "frozen before the final dot", local="wait")
    running.hold()
    eventually(lambda: running.claims(victim), pause=LOOK)
    victim.freeze()
    running.until_taken_for_dead(victim)
    victim.thaw()
    running.release()
    fault.end()
