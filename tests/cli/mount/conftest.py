# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Runs that take part in a trial, on hosts that are made up: processes of this one."""

from functools import partial

import pytest

from mailspool.cli.mount import crew
from mailspool.cli.mount.trial import Trial, greet
from mailspool.store.claim import this_owner
from mailspool.store.mount import folder

Findings = list[tuple[str, str, str]]


def owners(number):
    """This process, under the names of so many hosts."""
    me = this_owner()
    return [me._replace(host=f"host{n}", boot=f"{n:032x}") for n in range(number)]


@pytest.fixture
def trials(tmp_path):
    """trials(number): one trial, as each of its runs sees it."""

    def make(number):
        hosts = owners(number)
        members = tuple(sorted(map(str, hosts)))
        for owner in hosts:
            folder.make(str(tmp_path), str(owner))
            greet(str(tmp_path), owner)
        return [Trial(str(tmp_path), owner, members) for owner in hosts]

    return make


@pytest.fixture
def find(trials):
    """find(check, hosts=1): what each of the hosts finds, by a process of its own; of one host, just that."""

    def run(check, hosts=1):
        parts = trials(hosts)
        found = crew.race([partial(_all, check, part) for part in parts], Findings, 60.0)
        return found[0] if hosts == 1 else found

    return run


def _all(check, trial):
    return list(check(trial))


def levels(found):
    return [level for level, _, _ in found]
