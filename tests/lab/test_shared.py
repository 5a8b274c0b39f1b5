# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real daemon on several hosts, one spool on a real NFS server: each message is delivered, by one of them, once."""

import statistics
import time

import pytest

from tests.lab.nfs import EXPORT, SPOOL
from tests.running import eventually

MESSAGES = 1002  # so many for each of two or three hosts
NODES, PROCESSES, RACES = 200, 4, 2
AT_LEAST = 0.6  # of the rate of a bare rename: what a busy machine does to one of a pair is in it


@pytest.mark.slow
def test_claims_are_as_fast_as_bare_renames_and_no_two_hosts_get_the_same_node(shared):
    rates = {"rename": [], "claim": []}
    for number in range(RACES):
        for way, measured in rates.items():
            measured.append(race(shared, way, f"{way}-{number}"))
    rename, claim = (statistics.median(measured) for measured in rates.values())
    ratio = statistics.median(map(lambda rename, claim: claim / rename, *rates.values()))
    print(f"NFS {shared.version}: {rename:.0f} bare renames/s, {claim:.0f} claims/s, ratio {ratio:.2f} {rates}")
    assert ratio > AT_LEAST


@pytest.mark.slow
def test_a_folder_that_hosts_take_away_from_each_other_loses_no_node(shared):
    rate = race(shared, "fall-back", "fall-back")
    print(f"NFS {shared.version}: {rate:.0f} nodes/s fell back, were looked for, claimed and settled")


def race(shared, way, name):
    """Claims per second of two hosts together; each node must have gone to one process."""
    shared.server.python("-m", "tests.lab.race", "prepare", f"{EXPORT}/{name}", NODES)
    racers = [
        host.start_python("-m", "tests.lab.race", way, f"{SPOOL}/{name}", PROCESSES, f"/run/share/{name}")
        for host in shared.hosts[:2]
    ]
    share = shared.server.share
    eventually(lambda: len(list(share.glob(f"{name}.*"))) == 2)
    (share / name).touch()
    told = [
        line.split()
        for host, racer in zip(shared.hosts[:2], racers, strict=True)
        for line in host.wait(racer).text.splitlines()
    ]
    assert sum(int(taken) for taken, _ in told) == NODES
    return NODES / max(float(seconds) for _, seconds in told)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hosts_deliver_everything_once(shared):
    deliver_everything(shared, shared.hosts[:2])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shared", ["3"], indirect=True)
def test_three_hosts_whose_clocks_are_hours_apart_deliver_everything_once(shared):
    for host, hours in zip(shared.hosts, (0, 1, -1), strict=True):
        host.run(f"date -s '{hours:+d} hour'")
    try:
        deliver_everything(shared, shared.hosts)
    finally:
        for host in shared.hosts:
            host.run(f"date -s @{time.time():.3f}")


def deliver_everything(shared, hosts):
    with shared.delivering(hosts):
        accepted = shared.fill(MESSAGES, hosts).wait()
        shared.until_taken(accepted)
        shared.until_empty()
    copies = shared.taken()
    print(f"NFS {shared.version}, {len(hosts)} hosts: {len(accepted)} messages accepted, all delivered")
    assert {queue_id for queue_id in accepted if copies[queue_id] != 1} == set()
