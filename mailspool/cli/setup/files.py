# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Steps that make a directory, a file or a link. None replaces a stranger's.

A step is a plain value, which the manifest keeps: it can look whether it is there, be made, and be taken back. Taking
back what is not there, or only half, is no error; what has changed since it was made is never taken: `Kept` says why.
"""

import hashlib
import os
import pwd
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import msgspec

from mailspool.cli.setup.found import Found, Kept, Refused
from mailspool.cli.text import count


class _AtPath(msgspec.Struct, frozen=True):
    path: str

    @property
    def key(self) -> str:
        """What it is known by in the manifest."""
        return self.path


class Directory(_AtPath, frozen=True, tag="directory"):
    """A directory for one user.

    holds: what becomes of files in it when it is taken back. "ours": they keep it. "nothing": they mean nothing once
    the daemon has stopped. "anybody's": they keep it, and then it is no more ours than theirs.
    """

    owner: str = "root"
    mode: int = 0o755
    holds: Literal["ours", "nothing", "anybody's"] = "ours"

    def __str__(self) -> str:
        return f"directory {self.path} ({self.owner}, {self.mode:04o})"

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
            others = f" and {count(len(files) - 1, 'more file')} are" if files[1:] else " is"
            raise Kept(f"{files[0]}{others} in it")
        for directory, _, _ in found:
            Path(directory).rmdir()


class File(_AtPath, frozen=True, tag="file"):
    """A copy of `source`; of `text`, if that is "". yours: what is there already is the administrator's, and right."""

    source: str
    sha256: str
    mode: int = 0o644
    yours: bool = False
    text: str = ""

    def __str__(self) -> str:
        return f"file {self.path} ({self.mode:04o})"

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
        path, new = Path(self.path), self._new
        try:
            new.write_bytes(Path(self.source).read_bytes() if self.source else self.text.encode())
            new.chmod(self.mode)
            if mine:
                new.replace(path)
            else:
                path.hardlink_to(new)
        finally:
            new.unlink(missing_ok=True)

    def take_back(self) -> None:
        """Raises Kept if it has been changed."""
        self._new.unlink(missing_ok=True)  # what a kill left
        if not os.path.lexists(self.path):
            return
        if sha256_of(self.path) != self.sha256:
            raise Kept("it has been changed")
        Path(self.path).unlink()

    @property
    def _new(self) -> Path:
        return Path(f"{self.path}.mailspool-new")


class Link(_AtPath, frozen=True, tag="link"):
    """A symbolic link to a program. vacated: the step before moves away what is there."""

    target: str
    vacated: bool = False

    def __str__(self) -> str:
        return f"link {self.path} -> {self.target}"

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


def sha256_of(path: str) -> str:
    """Of a regular file, in hexadecimal; "" of anything else."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() and not file.is_symlink() else ""
