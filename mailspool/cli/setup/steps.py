# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The things that setup makes: each can look whether it is there, be made, be taken back. None replaces a stranger's.

Each is a plain value, which the manifest keeps. Taking back what is not there, or only half, is no error; what has
changed since it was made is never taken: `Kept` says why.
"""

import grp
import hashlib
import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Literal, Self

import msgspec

from mailspool.errors import MailspoolError

Words = tuple[str, ...]
"""A command line."""

USERADD = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")


class Refused(MailspoolError):
    """Something is in the way, or this is not the place; nothing was changed."""

    exit_code = 73  # EX_CANTCREAT


class Failed(MailspoolError):
    """A step did not succeed."""


class Kept(MailspoolError):
    """It is not taken back; the text is the reason."""


class Found(Enum):
    """What a look finds. CHANGED: made by setup, and then changed by somebody else."""

    MISSING = auto()
    THERE = auto()
    CHANGED = auto()


class Directory(msgspec.Struct, frozen=True, tag="directory"):
    """A directory for one user.

    holds: what becomes of files in it when it is taken back. "ours": they keep it. "nothing": they mean nothing once
    the daemon has stopped. "anybody's": they keep it, and then it is no more ours than theirs.
    """

    path: str
    owner: str = "root"
    mode: int = 0o755
    holds: Literal["ours", "nothing", "anybody's"] = "ours"

    def __str__(self) -> str:
        return f"directory {self.path} ({self.owner}, {self.mode:04o})"

    @property
    def key(self) -> str:
        """What it is known by in the manifest."""
        return self.path

    def look(self, mine: Self | None) -> Found:
        """Raises Refused if what is there is somebody else's."""
        path = Path(self.path)
        if not os.path.lexists(path):
            return Found.THERE if mine and self.holds == "nothing" else Found.MISSING  # it does not outlive a boot
        if path.is_symlink() or not path.is_dir():
            raise Refused(f"{path} is there and is no directory: move it away")
        with suppress(KeyError):
            if path.stat().st_uid == pwd.getpwnam(self.owner).pw_uid:
                return Found.THERE
        if mine:  # a kill came between
            return Found.MISSING
        raise Refused(f"{path} is there and does not belong to {self.owner}: give it to that user, or move it away")

    def make(self, mine: Self | None) -> None:
        """Raises OSError."""
        path, owner = Path(self.path), pwd.getpwnam(self.owner)
        path.mkdir(mode=0o700, exist_ok=bool(mine))
        os.chown(path, owner.pw_uid, owner.pw_gid)
        path.chmod(self.mode)

    def take_back(self) -> None:
        """With all directories in it. Raises Kept if there is a file in one of them."""
        if self.holds == "nothing":
            shutil.rmtree(self.path, ignore_errors=True)
            return
        if self.holds == "anybody's":
            with suppress(OSError):
                Path(self.path).rmdir()
            return
        found = list(os.walk(self.path, topdown=False))
        if files := [f"{directory}/{name}" for directory, _, names in found for name in names]:
            raise Kept(f"{files[0]}{f' and {len(files) - 1} more files are' if files[1:] else ' is'} in it")
        for directory, _, _ in found:
            Path(directory).rmdir()


class File(msgspec.Struct, frozen=True, tag="file"):
    """A copy of `source`. yours: whatever stands there already is the administrator's, and right."""

    path: str
    source: str
    sha256: str
    mode: int = 0o644
    yours: bool = False

    def __str__(self) -> str:
        return f"file {self.path} ({self.mode:04o})"

    @property
    def key(self) -> str:
        """What it is known by in the manifest."""
        return self.path

    def look(self, mine: Self | None) -> Found:
        """Raises Refused if another file is there."""
        if not os.path.lexists(self.path):
            return Found.MISSING
        now = sha256_of(self.path)
        if now == self.sha256:
            return Found.THERE
        if mine:
            return Found.MISSING if now == mine.sha256 else Found.CHANGED
        if self.yours:
            return Found.THERE
        raise Refused(f"{self.path} is there and not made by setup: move it away")

    def make(self, mine: Self | None) -> None:
        """It appears whole or not at all. Raises OSError, and so if a file has come there meanwhile."""
        path, new = Path(self.path), Path(f"{self.path}.mailspool-new")
        try:
            new.write_bytes(Path(self.source).read_bytes())
            new.chmod(self.mode)
            if mine:
                new.replace(path)
            else:
                path.hardlink_to(new)
        finally:
            new.unlink(missing_ok=True)

    def take_back(self) -> None:
        """Raises Kept if it has been changed."""
        if not os.path.lexists(self.path):
            return
        if sha256_of(self.path) != self.sha256:
            raise Kept("it has been changed")
        Path(self.path).unlink()


class Link(msgspec.Struct, frozen=True, tag="link"):
    """A symbolic link to a program. vacated: the step before moves away what is there."""

    path: str
    target: str
    vacated: bool = False

    def __str__(self) -> str:
        return f"link {self.path} -> {self.target}"

    @property
    def key(self) -> str:
        """What it is known by in the manifest."""
        return self.path

    def look(self, mine: Self | None) -> Found:
        """Raises Refused if something else is there."""
        path = Path(self.path)
        if not os.path.lexists(path):
            return Found.MISSING
        if path.is_symlink() and str(path.readlink()) == self.target:
            return Found.THERE
        if self.vacated:
            return Found.MISSING
        if mine and path.is_symlink():
            return Found.MISSING if str(path.readlink()) == mine.target else Found.CHANGED
        raise Refused(f"{path} is there, not made by setup and of no package: move it away")

    def make(self, mine: Self | None) -> None:
        """Raises OSError, and so if something has come there meanwhile."""
        path = Path(self.path)
        if mine:
            path.unlink(missing_ok=True)
        path.symlink_to(self.target)

    def take_back(self) -> None:
        """Raises Kept if it is no link to the program any more."""
        path = Path(self.path)
        if not os.path.lexists(path):
            return
        if not path.is_symlink() or str(path.readlink()) != self.target:
            raise Kept("it has been changed")
        path.unlink()


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


Step = Directory | File | Link | Account | Registration


def sha256_of(path: str) -> str:
    """Of a regular file, in hexadecimal; "" of anything else."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() and not file.is_symlink() else ""


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
