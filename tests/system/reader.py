# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who follows a document to the letter on a system, and compares what is shown there with what is printed."""

import os
import time

from tests.docs.page import PAGES, Block, Otherwise, blocks, ids_in
from tests.running import PATIENCE
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

    means: what else stands for something else. after: what is done after a command that ends so. environment: what
    stands in the reader's from the beginning.
    """

    def __init__(self, machine, *, means=None, after=None, **environment):
        self.machine, self.ids, self.after = machine, dict(means or {}), after or {}
        self.environment = PIP | environment
        machine.run("useradd", "--create-home", "--home-dir", HOMES["$"], "--shell", "/bin/sh", "joe")

    def check_out(self):
        """Each user has a checkout, and is in it."""
        copy_checkout(self.machine)
        for prompt, home in HOMES.items():
            self.machine.run("cp", "-r", "/tmp/mailspool", home)
            self.machine.at(f"{home}/.state").write_text(f"export PWD={home}/mailspool\n")
            self.machine.run("chown", "-R", USERS[prompt] or "root", f"{home}/mailspool", f"{home}/.state")

    def follow(self, page, on=""):
        """What is to be typed on that host."""
        for block in blocks(page):
            if block.host != on:
                continue
            if block.file:
                self.write(block)
            for command in block.commands:
                text = f"{{ {command.text}\n}} >/dev/null 2>&1 &" if block.in_another_terminal else command.text
                self.run(command._replace(text=text))
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
        ran = self.machine.call(*words, input="y\n", user=user, HOME=home, **self.environment)
        assert ran.returncode == 0, f"{command.place}: {text}\nended with {ran.returncode}: {ran.stdout}"
        return ran.stdout


def page(name):
    return next(each for each in PAGES if each.name == name)
