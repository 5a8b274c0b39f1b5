# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What setup finds out before it installs anything. What it installs: tests/system/test_setup.py."""

import os
import sys

import pytest

from mailspool.cli.setup.plan import unfit


@pytest.mark.parametrize("python", ["/opt/my mail/bin/python3", f"/opt/{'mail' * 40}/bin/python3"])
def test_a_python_that_no_program_could_be_started_by_is_refused(monkeypatch, python):
    monkeypatch.setattr(sys, "executable", python)
    assert any(problem.startswith(f"{python}: no program's first line can name it") for problem in unfit("/opt"))


@pytest.mark.skipif(os.geteuid() != 0, reason="what is not root's is refused for that")
def test_an_environment_whose_python_lies_where_not_everybody_can_go_is_refused_with_a_python_for_all(
    public_path, monkeypatch
):
    closed, python = public_path / "root", public_path / "bin/python"
    closed.mkdir(0o700)
    (closed / "python3.11").touch()
    (closed / "python3.11").chmod(0o755)
    python.parent.mkdir()
    python.symlink_to(closed / "python3.11")
    monkeypatch.setattr(sys, "executable", os.fspath(python))
    (told,) = [problem for problem in unfit("/opt") if problem.startswith(f"{python}: ")]
    assert told.startswith(f"{python}: not everybody can come to {closed}: ")
    assert told.endswith(": /usr/bin/python3 -m venv /opt/mailspool")
