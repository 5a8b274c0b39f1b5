# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A spool of our own in a directory of its own, and the commands run on it."""

import fcntl
import io
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

import pytest

from mailspool.cli.admin import main
from mailspool.config.load import load
from mailspool.model.outcome import Attempt
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State
from tests.running import ENVIRONMENT

BIN = Path(__file__).parents[2] / "bin"

CONFIG = """
dequeue_dir = "{root}/spool"
run_dir = "{root}/run"
user = "root"
hostname = "mail.example.org"
dequeue_periods = [0, 1800, 14400]
dequeue_priority = [1, 1000000, 1000000]
dequeue_timeout = 3600
smarthost = "127.0.0.1:{port}"
shutdown_timeout = 1
aliases_file = "{root}/aliases"
"""

REPLY = "451 4.7.1 Greylisted, come again"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class House:
    """A spool, its configuration file, and what happens to nodes in it."""

    def __init__(self, root, capsys, port):
        self.root, self.config, self._capsys = root, root / "mailspool.toml", capsys
        self.config.write_text(CONFIG.format(root=root, port=port))
        self.spool = Spool(load(str(self.config)))
        self.store = self.spool.store

    def run(self, *words):
        self._capsys.readouterr()
        code = main([*words, "-c", str(self.config)])
        return Ran(code, *self._capsys.readouterr())

    def run_bare(self, *words):
        """A command that takes no configuration."""
        self._capsys.readouterr()
        code = main([*words])
        return Ran(code, *self._capsys.readouterr())

    def on_terminal(self, *words, answer="", columns=80, lines=24, **environment):
        """The same in a terminal of its own, which shows what is said on both."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        command = [sys.executable, str(BIN / "mailspool"), *words, "-c", str(self.config)]
        environment = {**ENVIRONMENT, "TERM": "xterm", **environment}
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
            os.close(theirs)
            os.write(ours, answer.encode())
            said = b"".join(iter(lambda: _read(ours), b"")).decode()
        os.close(ours)
        return Ran(process.returncode, said.replace("\r\n", "\n"), "")

    def send(self, *to, from_="joe@example.org", text="hello"):
        return self.spool.send_mail(to=list(to), from_=from_, message=f"Subject: {text}\n\n{text}\n")

    def node(self, *to, **arguments):
        """A message to one recipient: its ID, and where its node is."""
        message = self.send(*(to or ["sue@example.net"]), **arguments)
        return message, self.store.find(message)[0]

    def fall_back(self, at, tier, text=REPLY, host="mx.example.net[192.0.2.1]:25"):
        name = nodename.parse(at.name)
        self.store.record(name.node_id, [Attempt(self.spool.now(), at.tier, host, text[4:9], text, 1.5)])
        entered = name._replace(time=int(self.spool.now()))
        return self.store.move(at, Location(State.QUEUED, tier, str(entered)))

    def claim(self, at):
        return self.store.claim(at, self.spool.next_attempt())

    def hold(self, at):
        return self.store.move(at, at._replace(state=State.HELD))

    def everything(self):
        """Each path with what changes when it is written to."""
        found = {}
        for directory, names, files in os.walk(self.root):
            for name in (".", *names, *files):
                facts = os.lstat(f"{directory}/{name}")
                found[f"{directory}/{name}"] = (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
        return found


def _read(terminal):
    """b"" at its end, which Linux tells by EIO."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


@pytest.fixture
def stdin(monkeypatch):
    """stdin(text): what commands find there."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture
def make_house(tmp_path, capsys):
    """House(port): port is where its smarthost listens."""
    return lambda port: House(tmp_path, capsys, port)


@pytest.fixture
def bare(make_house):
    """No spool is there yet, and no smarthost."""
    return make_house(1)


@pytest.fixture
def house(bare):
    bare.spool.create_dequeue_dirs()
    return bare


@pytest.fixture
def nobody_s_house(public_path, capsys):
    """Where every user can get to, with a spool of nobody's for a daemon of nobody's."""
    one = House(public_path, capsys, 1)
    one.spool.create_dequeue_dirs()
    for path in (public_path / "spool", *(public_path / "spool").iterdir()):
        shutil.chown(path, "nobody")
    one.config.write_text(one.config.read_text().replace('user = "root"', 'user = "nobody"'))
    return one
