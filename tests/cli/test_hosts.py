# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool hosts` shows who shares the spool, by the file server's clock; `recover` ends an owner that is gone."""

import json
import os
import time

import pytest

from mailspool.cli import hosts as command
from mailspool.cli.hosts import Host, compared
from mailspool.store import rollcall
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.lease import Lease
from mailspool.store.rollcall import RollCall

SHORT = ("-o", "lease_time=3")


class Cluster:
    """A spool that several hosts share."""

    def __init__(self, house):
        self.house, self.root, self.leases = house, house.store.root, {}

    def host(self, name, *, version="1.0", configuration="00000000", clock=0.0, claims=0, lease=True, **more):
        owner = this_owner()._replace(**{"host": name, "boot": "0" * 32, **more})
        if lease:
            self.leases[name] = Lease(self.root, owner, 3.0, time.monotonic)
            self.leases[name].create()
            rollcall.write(self.root, str(owner), RollCall(version, configuration, 2, time.time() + clock))
        for n in range(claims):
            _, at = self.house.node()
            FileStore(self.root, owner).claim(at, f"w1.{n}")
        return str(owner)

    def age(self, owner, seconds):
        os.utime(f"{self.root}/hosts/{owner}", (time.time() - seconds,) * 2)

    def hosts(self):
        ran = self.house.run("hosts", "--json", *SHORT)
        return ran.code, {each["host"]: each for each in map(json.loads, ran.out.splitlines())}


@pytest.fixture
def cluster(house):
    return Cluster(house)


@pytest.fixture
def beating(cluster, monkeypatch):
    """These leases move while a command waits."""
    names = []

    def sleep(seconds, sleep=time.sleep):
        sleep(min(seconds, 0.01))
        for name in names:
            cluster.leases[name].beat()

    monkeypatch.setattr(time, "sleep", sleep)
    return names


# --- hosts


def test_each_owner_is_shown_with_what_it_says_of_itself(cluster, beating):
    cluster.host("mx1", claims=2)
    cluster.host("mx2")
    beating += ["mx1", "mx2"]
    code, found = cluster.hosts()
    assert code == 0
    assert (found["mx1"]["claims"], found["mx2"]["claims"]) == (2, 0)
    for each in found.values():
        assert each["alive"]
        assert each["lease"] < 3
        assert (each["version"], each["configuration"], each["workers"]) == ("1.0", "00000000", 2)
        assert abs(each["clock"]) < 1
        assert each["stands_out"] == []


def test_the_dead_and_those_who_differ_stand_out(cluster, beating):
    dead = cluster.host("dead", claims=1)
    cluster.age(dead, 100)
    for name in ("mx1", "mx2"):
        cluster.host(name)
    cluster.host("old", version="0.9")
    cluster.host("other", configuration="11111111")
    cluster.host("early", clock=3600)
    cluster.host("late", clock=-5)
    beating += ["mx1"]
    code, found = cluster.hosts()
    assert code == 1
    odd = {name: " ".join(each["stands_out"]) for name, each in found.items()}
    assert odd["mx1"] == odd["mx2"] == ""
    assert odd["dead"].startswith("dead for 1m 4")
    assert odd["old"] == "version 0.9, where most have 1.0"
    assert odd["other"] == "configuration 11111111, where most have 00000000"
    assert odd["early"] == "its clock is 3600 s ahead of the file server's"
    assert odd["late"].startswith("its clock is 5")
    assert odd["late"].endswith("behind the file server's")
    assert [name for name, each in found.items() if not each["alive"]] == ["dead"]


def test_ages_are_those_of_the_file_servers_clock_whatever_ours_says(cluster, beating, monkeypatch):
    stopped = cluster.host("stopped")
    cluster.host("mx1")
    cluster.age(stopped, 50)
    beating += ["mx1"]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86400)
    _, found = cluster.hosts()
    assert 50 <= found["stopped"]["lease"] < 55
    assert found["mx1"]["alive"]


def test_an_owner_that_has_ended_on_this_host_is_dead_at_once(cluster, beating):
    cluster.host(this_owner().host, boot=this_owner().boot, start=1)
    cluster.host("mx1")
    beating += ["mx1"]
    _, found = cluster.hosts()
    assert not found[this_owner().host]["alive"]


def test_claims_without_a_lease_and_leases_that_cannot_be_read_stand_out(cluster, beating):
    cluster.host("bare", claims=1, lease=False)
    strange = cluster.host("strange")
    with open(f"{cluster.root}/hosts/{strange}", "wb") as file:
        file.write(b"2 another\n")
    with open(f"{cluster.root}/hosts/{strange}~rollcall", "wb") as file:
        file.write(b"{")
    cluster.host("mx1")
    beating += ["mx1"]
    code, found = cluster.hosts()
    assert code == 1
    assert found["bare"]["stands_out"][0].startswith("has no lease")
    assert (found["strange"]["lease"], found["strange"]["version"]) == (None, None)


def test_where_no_lease_moves_all_are_dead_soon_enough(cluster, beating):
    cluster.age(cluster.host("mx1"), 100)
    begun = time.monotonic()
    code, found = cluster.hosts()
    assert time.monotonic() - begun < 10
    assert (code, found["mx1"]["alive"]) == (1, False)


def test_the_table_fits_a_terminal_and_tells_what_stands_out(cluster):
    cluster.age(cluster.host("a-host-with-a-long-name", pid=4194304, claims=1), 400)
    cluster.host("mx2", configuration="11111111")
    ran = cluster.house.on_terminal("hosts", *SHORT, NO_COLOR="1")
    assert ran.code == 1
    head, *lines = ran.out.splitlines()
    assert head.split() == ["HOST", "PID", "LEASE", "CLAIMS", "WORKERS", "CLOCK", "VERSION", "CONFIG"]
    assert all(len(line.rstrip()) <= 80 for line in (head, *lines[:2]))
    assert lines[0].split()[:5] == ["a-host-with-a-long-…", "4194304", "dead", "1", "2"]
    assert "mailspool recover --owner a-host-with-a-long-name" in ran.out


def test_a_spool_that_nobody_delivers_from_is_said_to_be_one(house):
    before = house.everything()
    assert house.run("hosts") == (0, "no daemon delivers from this spool\n", "")
    assert house.everything() == before


def test_it_only_looks(cluster):
    cluster.host("mx1", claims=1)
    before = cluster.house.everything()
    cluster.house.run("hosts", *SHORT)
    assert cluster.house.everything() == before


def test_one_that_says_nothing_of_itself_yet_does_not_stand_out():
    quiet = Host(owner="a", host="a", pid=1, alive=True, lease=1.0, claims=0)
    told = Host(owner="b", host="b", pid=1, alive=True, lease=1.0, claims=0, version="1", configuration="2", clock=0.1)
    assert compared([quiet, told]) == [quiet, told]
    assert command.CLOCK_OFF == 2


# --- recover


def test_a_dead_owners_claims_go_back_and_it_is_no_more(cluster):
    owner = cluster.host("mx2", claims=2)
    ran = cluster.house.run("recover", "--owner", "mx2", "--now", *SHORT)
    assert ran.code == 0
    assert ran.out.startswith(f"2 nodes of {owner} returned; no supervisor answers here")
    assert {at.state for at in cluster.house.store.locations()} == {State.QUEUED}
    assert os.listdir(f"{cluster.root}/hosts") == []
    assert cluster.house.run("recover", "--owner", "mx2", "--now").code == 1


def test_one_that_lives_is_recovered_only_if_somebody_insists(cluster, beating):
    owner = cluster.host("mx2", claims=1)
    beating += ["mx2"]
    before = list(cluster.house.store.locations())
    waits = cluster.house.run("recover", "--owner", "mx2", *SHORT)
    assert (waits.code, waits.out) == (1, "")
    assert "moves: it lives" in waits.err
    asks = cluster.house.run("recover", "--owner", "mx2", "--now", *SHORT)
    assert asks.code == 64
    assert "Recover it all the same, though mail may arrive twice?" in asks.err
    assert list(cluster.house.store.locations()) == before
    beating.clear()
    cluster.leases["mx2"].beat()

    def beat_once(seconds, sleep=time.sleep):
        sleep(0.01)
        if os.path.exists(f"{cluster.root}/hosts/{owner}"):
            cluster.leases["mx2"].beat()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", beat_once)
        ran = cluster.house.run("recover", "--owner", owner, "--now", "--yes", "--json", *SHORT)
    assert json.loads(ran.out) == {"owner": owner, "moved": True, "returned": 1}
    assert before[0] not in list(cluster.house.store.locations())


def test_an_owner_of_this_host_that_runs_is_refused(cluster):
    _, at = cluster.house.node()
    claim = cluster.house.claim(at)
    ran = cluster.house.run("recover", "--owner", this_owner().host, "--now", "--yes")
    assert ran.code == 64
    assert f"runs on this host as process {os.getpid()}" in ran.err
    assert list(cluster.house.store.locations()) == [claim]


def test_an_owner_of_this_host_that_has_ended_is_recovered_at_once(cluster):
    cluster.host(this_owner().host, claims=1)
    begun = time.monotonic()
    assert cluster.house.run("recover", "--owner", this_owner().host).code == 0
    assert time.monotonic() - begun < 5


def test_a_host_with_several_owners_must_be_named_in_full(cluster):
    names = cluster.host("mx2", pid=1), cluster.host("mx2", pid=2)
    ran = cluster.house.run("recover", "--owner", "mx2", "--now")
    assert ran.code == 64
    assert all(name in ran.err for name in names)


def test_without_now_it_waits_for_the_lease_time(cluster):
    cluster.host("mx2", claims=1)
    begun = time.monotonic()
    assert cluster.house.run("recover", "--owner", "mx2", *SHORT).code == 0
    assert time.monotonic() - begun >= 3
