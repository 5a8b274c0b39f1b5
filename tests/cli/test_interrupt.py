# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Ctrl-C ends a command without a word, whenever it comes, and its caller can tell."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

from tests.cli.conftest import BIN
from tests.running import ENVIRONMENT, PATIENCE, ROOT, eventually

WAITS = "import time\nopen({!r}, 'w').close()\ntime.sleep(60)\n"


@pytest.fixture
def loading(tmp_path):
    """loading(module, command): the command as a process that has begun to load the module, and goes no further."""
    started = []

    def start(module, command):
        folder, fifo = tmp_path / module, str(tmp_path / "loading")
        folder.mkdir()
        (folder / "__init__.py").write_text(WAITS.format(fifo))
        os.mkfifo(fifo)
        environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
        with open(fifo):
            return started[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("click", ["mailspool", "status"]),
        ("click", ["mailspoold", "-f"]),
        ("click", ["mailq"]),
        ("rich", ["mailspool", "demo"]),
    ],
)
def test_a_command_that_is_still_loading_dies_of_an_interrupt_without_a_word(loading, module, words):
    process = loading(module, [sys.executable, str(BIN / words[0]), *words[1:]])
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, said.strip()) == (-signal.SIGINT, b"")


def test_a_command_that_was_told_to_ignore_interrupts_does(loading):
    told = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.executable, sys.argv)"
    command = [sys.executable, "-c", told, str(BIN / "mailspool"), "status"]
    process = loading("click", command)
    process.send_signal(signal.SIGINT)
    process.terminate()
    assert process.wait(PATIENCE) == -signal.SIGTERM


def test_an_interrupt_is_no_answer_to_a_question(house):
    message, _ = house.node()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(BIN / "mailspool"), "delete", message, "-c", str(house.config)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=ENVIRONMENT,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # to whom the terminal sends what is typed
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1 << 16)
    # again and again: Python's input() sees one that comes just before it waits only with the next key
    eventually(lambda: os.write(ours, b"\x03") and process.poll() is not None)
    assert process.wait() == -signal.SIGINT
    os.close(ours)
    assert house.store.find(message)
