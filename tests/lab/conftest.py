# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Hosts of their own kernels, with real power cuts and a real NFS server between them; see install.sh and lab.py."""

from pathlib import Path

import pytest

from tests.lab.host import PRIVATE
from tests.lab.lab import Lab
from tests.lab.nfs import VERSIONS
from tests.lab.shared import Shared
from tests.peers import server


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.peer)


@pytest.fixture(scope="session")
def private_root():
    if not (PRIVATE / "installed").exists():
        server.missing("tests/lab/install.sh has not unpacked user-mode-linux yet")


@pytest.fixture
def lab(private_root):
    """A lab without a host."""
    with Lab() as made:
        yield made


@pytest.fixture(scope="session", params=VERSIONS)
def shared(request, private_root):
    """Three hosts that share a spool, whose daemons do not run yet, by each version of NFS."""
    with Lab() as made:
        yield Shared(made, request.param, ("a", "b", "c"))


@pytest.fixture(scope="module")
def running(shared):
    """The two hosts `a` and `b`, whose daemons run."""
    with shared.delivering(shared.hosts[:2]):
        yield shared
