# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whoever follows the documents to the letter gets what they show: page by page, each on a system of its own."""

import contextlib
import os
import socket
import time

import pytest

from tests.docs.page import PAGES, Block, Otherwise, blocks, ids_in
from tests.running import PATIENCE, eventually
from tests.system.conftest import Host
from tests.system.machine import copy_checkout

PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
HOMES = {"#": "/root", "$": "/home/joe"}
USERS = {"#": None, "$": "joe"}

# What stands in the environment and where we are outlasts each command, as in a shell.
_SHELL = """
cd
[ ! -e .state ] || . ./.state
cd -- "$PWD"
eval "$1"
export -p >"$HOME/.state"
"""


class Reader:
    """Who types what a page shows, and knows which queue id stands for which.

    means: what else stands for something else. after: what is done after a command that ends so.
    """

    def __init__(self, machine, *, means=None, after=None):
        self.machine, self.ids, self.after = machine, dict(means or {}), after or {}
        machine.run("useradd", "--create-home", "--home-dir", HOMES["$"], "--shell", "/bin/sh", "joe")

    def follow(self, page):
        for block in blocks(page):
            if block.file:
                self.write(block)
            for command in block.commands:
                elsewhere = " >/dev/null 2>&1 &" if block.in_another_terminal else ""
                self.run(command._replace(text=command.text + elsewhere))
                for end, do in self.after.items():
                    if command.text.endswith(end):
                        do()

    def write(self, block: Block):
        path = self.machine.at(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)

    def run(self, command):
        """A look that comes too early is repeated, as a reader would."""
        until = time.monotonic() + PATIENCE
        while True:
            printed = self.call(command)
            try:
                self.ids |= ids_in(command.output, printed) if command.output else {}
            except Otherwise:
                if not command.may_repeat or time.monotonic() > until:
                    raise
            else:
                print(f"{command.prompt} {command.text}\n{printed}", end="")  # shown when the test fails
                return

    def call(self, command):
        text = command.text
        for shown, real in self.ids.items():
            text = text.replace(shown, real)
        home, user = HOMES[command.prompt], USERS[command.prompt]
        words = ("sh", "-ec", _SHELL, "sh", text)
        ran = self.machine.call(*words, input="y\n", user=user, HOME=home, **PIP)
        assert ran.returncode == 0, f"{command.place}: {text}\nended with {ran.returncode}: {ran.stdout}"
        return ran.stdout


def page(name):
    return next(each for each in PAGES if each.name == name)


@pytest.fixture
def host(make_machine, with_setup, sink):
    """It has been set up and runs; whatever its configuration says, all mail goes to the sink."""
    host = Host(make_machine(with_setup))
    host.at("/etc/mailspool/mailspool.toml").write_text(
        'hostname = "mail.example.net"\nmail_name = "example.net"\nnameservers = ["127.0.0.1"]\n'
    )
    host.default(f'OPTIONS="-o smarthost={sink.address} -o tls=none"')
    host.start()
    return host


def test_operating(host):
    Reader(host.machine).follow(page("operating.md"))


def test_cookbook(host, sink):
    Reader(host.machine).follow(page("cookbook.md"))
    eventually(lambda: sink.recipients == ["you@example.org"] * 3, what="mail of each kind")


def test_smarthost(host):
    Reader(host.machine).follow(page("smarthost.md"))


def test_nfs(host):
    """On a disk of its own: it is the same to the commands."""
    Reader(host.machine).follow(page("nfs.md"))


def test_porting(host, sink):
    old = host.at("/var/spool/mail/0")
    old.mkdir(parents=True)
    (old / "1000000000-80EA68E2D942BA85-sue@example.org-me@example.net").write_text("Subject: hello\n\nIt works.\n")
    (old / "1000000000-80EA68E2D942BA85-a-b@example.org-me@example.net").write_text("Subject: hello\n\nIt works.\n")
    Reader(host.machine).follow(page("porting.md"))
    eventually(lambda: sorted(sink.recipients) == ["a-b@example.org", "sue@example.org"], what="the old messages")


def test_every_page_with_commands_is_followed():
    followed = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    elsewhere = {"install"}  # tests/system/test_install_document.py
    assert {
        each.stem.lower() for each in PAGES if any(block.commands for block in blocks(each))
    } <= followed | elsewhere


def test_readme(make_machine, sink):
    machine = make_machine(())
    copy_checkout(machine)
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()

    def divert_mail():
        Host(machine).default(f'OPTIONS="-o smarthost={sink.address} -o tls=none"')

    def wait_for_sink():
        def listens():
            with contextlib.suppress(OSError):
                return socket.create_connection(free, 1).close() or True

        eventually(listens, what="a sink")

    means = {"127.0.0.1:2525": f"127.0.0.1:{free[1]}"}
    reader = Reader(
        machine, means=means, after={"setup --system": divert_mail, "sink --listen 127.0.0.1:2525": wait_for_sink}
    )
    for prompt, home in HOMES.items():
        machine.run("cp", "-r", "/tmp/mailspool", home)
        machine.at(f"{home}/.state").write_text(f"export PWD={home}/mailspool\n")
        machine.run("chown", "-R", USERS[prompt] or "root", f"{home}/mailspool", f"{home}/.state")
    reader.follow(page("README.md"))
    assert sink.recipients[0] == "you@example.org"
