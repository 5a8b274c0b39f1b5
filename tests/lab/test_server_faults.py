# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whatever befalls the file server: nothing is lost, and what comes twice had its final dot under way: fault.py."""

import time

import pytest

from tests.lab import nfs
from tests.lab.fault import Fault
from tests.lab.shared import LEASE_TIME

REPLIES_LOST = "modprobe sch_netem && tc qdisc add dev eth0 root netem loss 100%"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_file_server_loses_replies_and_its_power_and_comes_back(running):
    fault = Fault(running, "file server rebooted, replies lost")
    fault.until_under_way()
    running.server.run(REPLIES_LOST)
    time.sleep(1)  # the hosts' requests are executed, and they do not hear of it
    running.server.cut_power()
    running.server.boot()
    nfs.mount_disk(running.server)
    fault.in_flight = fault.at_final_dot()
    nfs.serve(running.server)
    fault.end()


def test_the_file_server_is_away_for_twice_the_lease_and_nobody_is_taken_for_dead(running):
    fault = Fault(running, "file server away")
    fault.until_under_way()
    owners = running.owners()
    running.server.freeze()
    time.sleep(2 * LEASE_TIME)
    running.server.thaw()
    fault.end()
    assert owners <= running.owners()
