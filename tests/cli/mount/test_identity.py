# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Owners of files, root's rights, clocks and names of hosts: what is well, and each way in which it is not."""

import os
from functools import partial

import pytest

from mailspool.cli.mount import identity
from mailspool.cli.mount.trial import Trial
from mailspool.errors import SpoolError
from mailspool.store import fsops
from mailspool.store.claim import this_owner
from tests.cli.mount.conftest import levels


def looking_as(change):
    """fsops.facts, with a change of what it says of files in private folders."""
    facts = fsops.facts

    def look(path):
        seen = facts(path)
        return change(seen) if seen and "/check-mount~" in path and not path.endswith(str(this_owner())) else seen

    return look


def with_field(index, value):
    def change(facts):
        fields = list(facts)
        fields[index] = value(fields[index])
        return os.stat_result(fields)

    return change


MODE, UID = 0, 4


def test_what_one_makes_is_ones_own_and_private(find):
    for found in find(identity.user, hosts=2):
        assert levels(found) == ["ok"]


def test_a_server_that_maps_users_is_told(find, monkeypatch):
    monkeypatch.setattr(fsops, "facts", looking_as(with_field(UID, lambda _: 65534)))
    ((level, text, fix),) = find(identity.user)
    assert level == "problem"
    assert text == f"what uid {os.geteuid()} makes belongs to uid 65534"
    assert "all_squash" in fix


def test_a_file_system_without_modes_is_told(find, monkeypatch):
    monkeypatch.setattr(fsops, "facts", looking_as(with_field(MODE, lambda mode: mode | 0o177)))
    ((level, text, _),) = find(identity.user)
    assert (level, text) == ("problem", "a private file has mode 0777")


def test_what_another_host_wrote_and_cannot_be_read_is_told(find, monkeypatch):
    def refuse(path, octets=-1):
        raise SpoolError(f"cannot open {path}: Permission denied")

    read = fsops.read
    monkeypatch.setattr(fsops, "read", lambda path: refuse(path) if path.endswith("/mine") else read(path))
    for found in find(identity.user, hosts=2):
        assert levels(found) == ["ok", "problem"]
        assert "one uid on all hosts" in found[1][2]


# --- root


@pytest.fixture
def root(trials):
    return partial(identity.root, trials(1)[0], 4711, 4711)


def test_root_gives_what_it_makes_to_the_daemons_user(root):
    ((level, text, _),) = root()
    assert (level, text) == ("ok", "root makes files here and gives them to uid 4711")


@pytest.mark.parametrize("step", ["create", "give"])
def test_a_squashed_root_is_told(root, monkeypatch, step):
    def refuse(path, *_):
        raise SpoolError(f"cannot {step} {path}: Permission denied")

    monkeypatch.setattr(fsops, step, refuse)
    ((level, text, fix),) = root()
    assert level == "warning"
    assert text.startswith("root is squashed by the server (cannot ")
    assert "no_root_squash" in fix


def test_a_file_that_is_not_given_though_it_was_said_is_told(root, monkeypatch):
    monkeypatch.setattr(fsops, "give", lambda *_: None)
    ((level, text, _),) = root()
    assert level == "warning"
    assert "what root gives to uid 4711 belongs to uid 0" in text


def test_what_root_gave_is_read(find, trials):
    def both(trial):
        list(identity.root(trial, os.geteuid(), os.getegid()))
        return identity.given(trial)

    assert levels(find(both)) == ["ok"]


# --- clocks


def test_clocks_that_agree_are_well(find):
    for found in find(identity.clock, hosts=2):
        assert levels(found) == ["ok", "ok"]
        assert found[0][1].startswith("the file server's clock is this host's, within ")


@pytest.mark.parametrize(("ahead", "told"), [(3600.0, "1h ahead"), (-90.0, "1m 30s behind")])
def test_a_server_whose_clock_is_off_is_told(find, monkeypatch, ahead, told):
    measured = identity._measured

    def off(path):
        clock = measured(path)
        return identity.Clock(clock.low + ahead, clock.high + ahead)

    monkeypatch.setattr(identity, "_measured", off)
    ((level, text, fix),) = find(identity.clock)
    assert (level, text) == ("warning", f"the file server's clock is {told}")
    assert fix


def test_a_host_whose_clock_is_off_is_told_by_each_of_the_others():
    """Each against the server: nobody's delays matter."""
    assert identity._compared("x", 100.0 - 0.2, 100.0 + 0.3)[:2] == ("warning", "x is 1m 40s ahead")
    assert identity._compared("x", -0.2, 60.0)[0] == "ok"  # a slow server: nothing is certain


# --- hosts


def trial_of(*owners):
    return Trial("/nowhere", owners[0], tuple(sorted(map(str, owners))))


def test_hosts_with_names_of_their_own_are_well():
    me = this_owner()
    other = me._replace(host="other", boot="0" * 32)
    ((level, text, _),) = identity.hosts(trial_of(me, other))
    assert level == "ok"
    assert f"other (pid {me.pid})" in text


def test_two_hosts_of_one_name_are_told():
    me = this_owner()
    ((level, text, fix),) = identity.hosts(trial_of(me, me._replace(boot="0" * 32)))
    assert (level, text[:25]) == ("problem", f"two hosts have the name {me.host}"[:25])
    assert "--hostname" in fix


def test_two_containers_of_one_name_on_one_machine_are_told():
    me = this_owner()
    ((level, _, _),) = identity.hosts(trial_of(me, me._replace(pid=2**22 + 1)))  # it takes part, and is not to be seen
    assert level == "problem"
