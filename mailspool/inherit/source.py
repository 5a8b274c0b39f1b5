# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The directory of another mail system, of which nothing is changed: no content, no name, and no time if that can be.

Everything is opened read-only, without following a symbolic link, without waiting on a FIFO, and without touching
the access time where the kernel lets us (open(2), O_NOATIME: for root and a file's owner).
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, NamedTuple, Self

from mailspool.errors import SpoolError, Unreadable, UsageError

CHUNK_OCTETS = 1 << 16

_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Found(NamedTuple):
    """One message of another mail system, as its own files tell.

    path: of the file with the message, which begins at `start`. sender: "" for the null sender. recipients: one or
    more, as written there. arrival: Unix seconds. beside: what another file says of it.
    """

    path: str
    start: int
    sender: str
    recipients: tuple[str, ...]
    arrival: float
    beside: bytes = b""


class Mark(NamedTuple):
    """What changes when a file is written to or replaced."""

    inode: int
    size: int
    modified: int  # ns


class Source:
    """One directory, opened; paths are relative to it: "NAME" or "FOLDER/NAME". In a `with` block.

    Raises UsageError if it is no directory, SpoolError if it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, _READ_ONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(f"{path!r} is no directory to import from: {error.strerror}") from error
        except OSError as error:
            raise SpoolError(f"cannot open {path!r}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.close(self._fd)

    def names(self, folder: str = ".") -> list[str]:
        """What is in a folder, sorted, without NFS's own `.nfs*`; [] if there is no such folder.

        Raises SpoolError if it may not be read.
        """
        try:
            fd = self._open(folder, os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise SpoolError(f"cannot read the directory {self.path}/{folder}: {error.strerror}") from error
        try:
            return sorted(name for name in os.listdir(fd) if not name.startswith(".nfs"))  # noqa: PTH208 - of a descriptor
        finally:
            os.close(fd)

    def has_folder(self, name: str) -> bool:
        """Whether there is a directory of that name, which is no symbolic link."""
        try:
            os.close(self._open(name, os.O_DIRECTORY))
        except PermissionError:
            return True
        except OSError:
            return False
        return True

    @contextmanager
    def open(self, path: str) -> Iterator[tuple[IO[bytes], os.stat_result]]:
        """A file to read, and its facts. Raises Unreadable for anything but a regular file that we may read."""
        try:
            fd = self._open(path)
        except OSError as error:
            raise Unreadable(error.strerror) from error
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise Unreadable(f"it is no regular file: {stat.filemode(facts.st_mode)}")
            with open(fd, "rb", CHUNK_OCTETS, closefd=False) as file:
                yield file, facts
        finally:
            os.close(fd)

    def _open(self, path: str, flags: int = 0) -> int:
        folder, _, name = path.rpartition("/")
        if not folder:
            return _open_quietly(name, flags, self._fd)
        parent = _open_quietly(folder, os.O_DIRECTORY, self._fd)
        try:
            return _open_quietly(name, flags, parent)
        finally:
            os.close(parent)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file. Raises Unreadable."""
    try:
        while chunk := file.read(CHUNK_OCTETS):
            yield chunk
    except OSError as error:
        raise Unreadable(error.strerror) from error


def mark_of(facts: os.stat_result) -> Mark:
    """What to compare a later look with."""
    return Mark(facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _open_quietly(name: str, flags: int, parent: int) -> int:
    flags |= _READ_ONLY | os.O_NOFOLLOW
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=parent)
    except PermissionError:  # the access time is the owner's to spare
        return os.open(name, flags, dir_fd=parent)
