# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whatever befalls a host or the file server: nothing is lost, and a second copy comes only of a final dot under way.

All of it while two hosts accept and deliver. A claim is sealed from just before its final dot until its end, so those
that are sealed when the fault comes are all that may come twice.
"""

import time

import pytest

from tests.lab import nfs
from tests.lab.shared import LEASE_TIME
from tests.running import eventually

MESSAGES = 1000
PART = 0.3  # of them have been taken when the fault comes
REPLIES_LOST = "modprobe sch_netem && tc qdisc add dev eth0 root netem loss 100%"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def running(shared):
    """The two hosts `a` and `b`, whose daemons run."""
    with shared.delivering(shared.hosts[:2]):
        yield shared


class Round:
    """One fault: what was accepted meanwhile, and what may come twice."""

    def __init__(self, shared, what, local="joe"):
        self.shared, self.what, self.hosts = shared, what, shared.hosts[:2]
        self.fill = shared.fill(MESSAGES, self.hosts, local)
        self.in_flight = set()  # when the fault came

    def until_under_way(self):
        self.fill.until(MESSAGES * PART)
        self.shared.until_taken(self.fill.accepted(), PART)

    def until_at_final_dots(self, host):
        """With replies held back: until some of a host's workers wait for one."""
        self.shared.hold()
        eventually(lambda: self.at_final_dot(host))

    def at_final_dot(self, host=None):
        """The ids of messages that are, at this host or at any."""
        claims = self.shared.claims(host) if host else self.shared.left()
        return {each["node"].partition(".")[0] for each in claims if each.get("sealed")}

    def end(self):
        accepted = self.fill.wait()
        self.shared.until_taken(accepted)
        self.shared.until_empty()
        copies = self.shared.taken()
        doubled = {queue_id for queue_id in accepted if copies[queue_id] > 1}
        print(
            f"NFS {self.shared.version}, {self.what}: {len(accepted)} accepted, all delivered; "
            f"{len(doubled)} twice, {len(self.in_flight)} were at their final dot"
        )
        assert doubled <= self.in_flight


def test_the_power_of_a_host_is_cut_while_it_accepts_and_delivers(running):
    victim = running.hosts[0]
    fault = Round(running, "power cut of a host")
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
    fault = Round(running, "frozen after the final dot")
    fault.until_under_way()
    fault.until_at_final_dots(victim)
    victim.freeze()
    fault.in_flight = fault.at_final_dot(victim)
    running.until_taken_for_dead(victim)
    running.release()
    eventually(lambda: not running.claims(victim))
    victim.thaw()
    fault.end()


def test_a_host_is_frozen_before_its_final_dots_for_longer_than_the_lease_and_doubles_nothing(running):
    victim = running.hosts[0]
    fault = Round(running, "frozen before the final dot", local="wait")
    running.hold()
    eventually(lambda: running.claims(victim))
    victim.freeze()
    running.until_taken_for_dead(victim)
    victim.thaw()
    running.release()
    fault.end()


def test_the_file_server_loses_replies_and_its_power_and_comes_back(running):
    fault = Round(running, "file server rebooted, replies lost")
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
    fault = Round(running, "file server away")
    fault.until_under_way()
    owners = running.owners()
    running.server.freeze()
    time.sleep(2 * LEASE_TIME)
    running.server.thaw()
    fault.end()
    assert owners <= running.owners()
