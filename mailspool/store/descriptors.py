# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Underneath `fsops`: makes and opens files within a directory that is held open, and follows no link there.

What is made gets its mode whatever the umask; what root makes belongs to the owner of the directory it is made in.
Everything raises OSError as it comes: `fsops` says what it means.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""How anything is opened: nothing is followed, and nothing is waited for."""

BUFFER = 1 << 16  # octets


def open_directory(path: str) -> int:
    """To make and to open what is in it, and for nothing else."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


@contextmanager
def within(path: str) -> Iterator[tuple[int, str]]:
    """The directory that a path leads to, which is no symbolic link, held open; and the name in it."""
    folder, name = os.path.split(path)
    directory = open_directory(folder)
    try:
        yield directory, name
    finally:
        let_go(directory)


def open_within(path: str, flags: int) -> int:
    """As `open_in`, by its path."""
    with within(path) as (directory, name):
        return open_in(directory, name, flags)


def open_in(directory: int, name: str, flags: int) -> int:
    """A file of the directory; with O_EXCL one that is new."""
    fd = os.open(name, flags | SAFELY, 0o600, dir_fd=directory)
    try:
        entrust(fd, 0o600, directory)
    except BaseException:
        let_go(fd)
        if flags & os.O_EXCL:  # we have made it, and nobody will know
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
        raise
    return fd


def entrust(fd: int, mode: int, directory: int) -> None:
    """Give what was just made its mode, whatever the umask, and to the owner of its directory if we are root."""
    os.fchmod(fd, mode)
    if os.geteuid() == 0:
        parent = os.fstat(directory)
        if parent.st_uid != 0:
            os.fchown(fd, parent.st_uid, parent.st_gid)


def let_go(fd: int) -> None:
    """Close what was only looked at or read: no error there tells of anything that was to be kept."""
    try:  # noqa: SIM105 - `suppress` costs as much as the call
        os.close(fd)
    except OSError:
        pass


class NewFile:
    """A file that we have made, open to be written: in pieces as large as a buffer, so that most files are one."""

    __slots__ = ("_fd", "_pieces", "_waiting", "_written", "name")

    def __init__(self, fd: int, name: str) -> None:
        self._fd, self.name = fd, name
        self._pieces: list[bytes] = []  # not yet written
        self._waiting = self._written = 0  # octets

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._fd

    def write(self, data: bytes) -> None:
        """Append."""
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > BUFFER:
            self.flush()

    def rewrite(self, data: bytes) -> None:
        """Replace the first octets, of which there are as many."""
        if self._written:
            self.flush()
            if os.pwrite(self._fd, data, 0) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            self._pieces = [data, b"".join(self._pieces)[len(data) :]]

    def flush(self) -> None:
        """Let nothing wait in memory."""
        rest = b"".join(self._pieces)
        while rest:
            done = os.write(self._fd, rest)
            self._written += done
            rest = rest[done:]
            self._pieces = [rest]
        self._waiting = 0

    def close(self) -> None:
        """Once."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Folder:
    """A directory to make files in: opened at the first of them, and not again whatever its path then stands for."""

    def __init__(self, path: str) -> None:
        self._path, self._fd = path, -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            let_go(self._fd)

    def open(self, path: str, flags: int) -> int:
        """A file in it."""
        if self._fd < 0:
            self._fd = open_directory(self._path)
        return open_in(self._fd, path.rpartition("/")[2], flags)
