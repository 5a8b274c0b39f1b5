# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Steps that other programs of the system make for us: the user, and what is registered with them. Files: files.py."""

import grp
import os
import pwd
import subprocess
from contextlib import suppress
from typing import Self

import msgspec

from mailspool.cli.setup.found import Failed, Found, Kept, Refused

Words = tuple[str, ...]
"""A command line."""

USERADD = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")


class Account(msgspec.Struct, frozen=True, tag="account"):
    """A system user and its group, as long as one of the directories in `owns` is there."""

    name: str
    home: str
    owns: tuple[str, ...]

    def __str__(self) -> str:
        return f"user and group {self.name} (home {self.home}, no shell)"

    @property
    def key(self) -> str:
        """What it is known by in the manifest."""
        return f"user {self.name}"

    def look(self, _mine: Self | None) -> Found:
        """Raises Refused if there is such a group and no such user."""
        with suppress(KeyError):
            pwd.getpwnam(self.name)
            return Found.THERE
        with suppress(KeyError):
            grp.getgrnam(self.name)
            raise Refused(f"there is a group {self.name} and no user: delgroup {self.name}")
        return Found.MISSING

    def make(self, _mine: Self | None) -> None:
        """Raises Failed."""
        run(*USERADD, "--home-dir", self.home, self.name)

    def take_back(self) -> None:
        """Raises Kept if one of its directories is still there, Failed if it has processes."""
        if left := [path for path in self.owns if os.path.lexists(path)]:
            raise Kept(f"{left[0]} belongs to it")
        if self.look(None) is Found.THERE:
            run("userdel", self.name)


class Registration(msgspec.Struct, frozen=True, tag="registration"):
    """What another program of the system keeps for us. do, undo: the commands that make it and take it back."""

    what: str
    do: tuple[Words, ...]
    undo: tuple[Words, ...]

    def __str__(self) -> str:
        return f"{self.what}: {'; '.join(map(' '.join, self.do)) or 'when it is taken back'}"

    @property
    def undoing(self) -> str:
        """The same, where it is about to be taken back."""
        return f"{self.what}: {'; '.join(map(' '.join, self.undo))}"

    @property
    def key(self) -> str:
        """What it is known by in the manifest."""
        return self.what

    def look(self, mine: Self | None) -> Found:
        """It is there if it has been made: to ask the other program would take one more command for each."""
        return Found.THERE if mine else Found.MISSING

    def make(self, _mine: Self | None) -> None:
        """Raises Failed."""
        for words in self.do:
            run(*words)

    def take_back(self) -> None:
        """Raises Failed."""
        for words in self.undo:
            run(*words)


def run(*words: str) -> str:
    """The standard output of a command. Raises Failed with what it said."""
    try:
        ran = subprocess.run(words, input="", capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failed(f"cannot run {words[0]}: {error.strerror}") from None
    if ran.returncode:
        raise Failed(
            f"{' '.join(words)} ended with {ran.returncode}: {' / '.join(ran.stderr.split(chr(10))).strip(' /')}"
        )
    return ran.stdout
