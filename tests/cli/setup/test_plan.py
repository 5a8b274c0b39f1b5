# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What setup finds out before it installs anything. What it installs: tests/system/test_setup.py."""

import sys

import pytest

from mailspool.cli.setup.plan import unfit


@pytest.mark.parametrize("python", ["/opt/my mail/bin/python3", f"/opt/{'mail' * 40}/bin/python3"])
def test_a_python_that_no_program_could_be_started_by_is_refused(monkeypatch, python):
    monkeypatch.setattr(sys, "executable", python)
    assert any(problem.startswith(f"{python}: no program's first line can name it") for problem in unfit("/opt"))
