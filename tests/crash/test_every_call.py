# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""At every call to the kernel: killed before it, or told that it failed, a spool loses nothing and sends nothing twice.

The calls of each operation are found by doing it; each is a case for each fault. What is to hold is in `conservation`.
"""

import os
import tempfile

import pytest

from tests.crash.conservation import Case, cases_of
from tests.crash.operations import OPERATIONS
from tests.crash.shim import DENY, ERRORS, KILL, SHORT

pytestmark = pytest.mark.slow  # by their number


@pytest.fixture(autouse=True)
def no_disk_to_wait_for(monkeypatch):
    """What a process has written is there for the next one: power cuts are another test."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """In memory, where there is room: some ten thousand spools are made here, one after the other."""
    if not os.access("/dev/shm", os.W_OK):
        yield str(tmp_path_factory.mktemp("spools"))
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield path


@pytest.fixture
def case(folder):
    """case(operation): each time in a fresh spool."""
    return lambda operation: Case(OPERATIONS[operation], f"{folder}/spool")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_fault_an_operation_keeps_every_promise(operation, case):
    one = case(operation).run()
    assert one.calls
    assert one.wrong() == []


@pytest.mark.parametrize("fault", [KILL, DENY, SHORT, *ERRORS], ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_lost_at_any_call(operation, fault, case):
    calls = cases_of(fault, case(operation).run().calls)
    wrong = []
    for number, call in enumerate(calls, 1):
        wrong += [f"{number}. {call}: {each}" for each in case(operation).run(fault, number).wrong()]
    assert not wrong, "\n".join(["", *wrong])
