# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One check, done in a child: what it found is told even if a fault cuts it short."""

import time

from mailspool.cli.doctor.finding import Finding, Level, ok
from mailspool.cli.mount import checks
from mailspool.cli.mount.checks import Check, done
from mailspool.errors import SpoolError


def cut_short():
    yield ok("so far")
    raise SpoolError("cannot read it: Input/output error")


def test_what_was_found_before_a_fault_is_told_with_it():
    so_far, fault = done(Check("names", cut_short, None))
    assert so_far == Finding("names", Level.OK, "so far")
    assert fault.level is Level.PROBLEM
    assert fault.text == "cannot read it: Input/output error"
    assert fault.fix


def test_one_that_hangs_is_a_problem(monkeypatch):
    monkeypatch.setattr(checks, "SECONDS", 0.3)
    (one,) = done(Check("fsync", lambda: time.sleep(30), None))
    assert (one.check, one.level) == ("fsync", Level.PROBLEM)
    assert "no result within 0.3 s" in one.text
