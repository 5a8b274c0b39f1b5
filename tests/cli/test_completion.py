# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Completion offers what the spool holds, in each shell, and never says a word where it cannot."""

import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import BIN
from tests.running import ENVIRONMENT


def completed(house, *words):
    """What is offered for the last word, as bash asks for it."""
    line = ["mailspool", "-c", str(house.config), *words]
    ran = subprocess.run(
        [sys.executable, str(BIN / "mailspool")],
        env={
            **ENVIRONMENT,
            "_MAILSPOOL_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(line),
            "COMP_CWORD": str(len(line) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return [offer.partition(",")[2] for offer in ran.stdout.split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_understands(house, shell):
    ran = house.run_bare("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert "_MAILSPOOL_COMPLETE" in ran.out
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=ran.out, text=True, check=True)


def test_another_shell_is_refused(house):
    assert house.run_bare("completion", "tcsh").code == 64


def test_commands_and_options_are_completed(house):
    assert completed(house, "rel") == ["release", "reload"]
    assert completed(house, "delete", "--old") == ["--older"]


@pytest.mark.parametrize("command", ["queue", "why", "hold", "release", "retry", "delete", "bounce", "expire"])
def test_ids_are_completed_from_the_spool(house, command):
    message = house.send("sue@example.net", "bob@example.com")
    assert completed(house, command, message[:15]) == [message]
    assert completed(house, command, f"{message}.") == [f"{message}.0", f"{message}.1"]


def test_domains_are_completed_from_the_spool(house):
    house.send("sue@example.net", "bob@example.com", "joe@other.example")
    assert completed(house, "queue", "--domain", "exa") == ["example.com", "example.net"]


def test_where_there_is_no_spool_nothing_is_offered(bare):
    assert completed(bare, "delete", "0") == []
    bare.config.write_text("nonsense = 1")
    assert completed(bare, "delete", "0") == []
