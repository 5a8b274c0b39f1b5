# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The only place that creates, writes, links, renames, unlinks and syncs; each step is one function here.

Each raises SpoolError naming the path and the reason; ClaimLost where what it should act on is gone (ENOENT, ENOTDIR,
or ESTALE as NFS puts it). Nothing is followed, waited on or overwritten: no symbolic link (nor one in the place of the
directory to create in, or the daemon's user could have root's `sendmail` write elsewhere), no FIFO, no name that is
there already. Files get mode 0600 and directories 0700 whatever the umask; what root makes belongs to the owner of
the directory it is made in, so that the daemon can read what root's `sendmail` wrote. An error from fsync or close
is final: after it the kernel may have dropped the data, and trying again would only seem to help.
"""

# ruff: noqa: PTH101, PTH104, PTH106, PTH108, PTH208 - paths are strings: pathlib is slow to load, and slow for each node

import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.store.descriptors import BUFFER, SAFELY, Folder, NewFile, entrust, let_go, open_within, within

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_NOT_OPENED = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV})  # a symbolic link, a socket, a device without driver


class Exists(SpoolError):
    """Something of that name is there already; it was left alone."""


class CannotLink(SpoolError):
    """The file system makes no (further) hard link to this file: copy it."""


# --- looking


def read_names(directory: str) -> list[str]:
    """What is in a directory, in no order, without NFS's own `.nfs*`; [] if it is not there, or is no directory."""
    try:
        return _names_in(directory)
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise _fault("read the directory", directory, error) from error


def read_folder(path: str) -> list[str]:
    """As `read_names`, but no symbolic link is followed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | SAFELY)
        try:
            return _names_in(fd)
        finally:
            let_go(fd)
    except OSError as error:
        if error.errno in {*_GONE, errno.ELOOP}:
            return []
        raise _fault("read the directory", path, error) from error


def _names_in(directory: str | int) -> list[str]:
    return [name for name in os.listdir(directory) if not name.startswith(".nfs")]


def is_directory(path: str) -> bool:
    """Whether it surely is one, and no symbolic link to one; NFS may answer from memory."""
    with suppress(OSError):
        return stat.S_ISDIR(os.lstat(path).st_mode)
    return False


def is_there(path: str) -> bool:
    """Whether the name exists, whatever it stands for; found out by open, since NFS answers stat from memory."""
    try:
        fd = os.open(path, os.O_RDONLY | SAFELY)
    except OSError as error:
        return error.errno not in _GONE
    let_go(fd)
    return True


def facts(path: str) -> os.stat_result | None:
    """Kind, mode, owner and inode of a name, not of what a symbolic link leads to; None if it is gone."""
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise _fault("look at", path, error) from error


def open_regular(path: str) -> tuple[IO[bytes], int]:
    """A file to read, and its size in octets. Raises ClaimLost, or Unreadable for anything but a regular file."""
    fd = _open(path)
    try:
        if not (content := _content(fd)):
            size = _regular_size(fd, path)
            os.lseek(fd, 0, os.SEEK_SET)
            return io.BufferedReader(io.FileIO(fd), BUFFER), size
    except BaseException as error:
        let_go(fd)
        if isinstance(error, OSError):
            raise SpoolError(f"cannot read {path}: {error.strerror}") from error
        raise
    let_go(fd)  # most messages are small: one read, and the file is done with
    return io.BytesIO(content), len(content)


def _content(fd: int) -> bytes:
    """All of a small file; b"" where it is not had at once, or nothing is there. Only files have an end to seek."""
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        content = os.pread(fd, size, 0) if size <= BUFFER else b""
    except OSError:
        return b""
    return content if len(content) == size else b""


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | SAFELY)
    except OSError as error:
        if error.errno in _NOT_OPENED:
            raise Unreadable(f"{path} is no regular file: {error.strerror}") from error
        raise _fault("open", path, error) from error


def _regular_size(fd: int, path: str) -> int:
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        raise Unreadable(f"{path} is no regular file: {stat.filemode(facts.st_mode)}")
    return facts.st_size


def read(path: str, octets: int = -1) -> bytes:
    """The first octets of a regular file, -1: all of them. Raises ClaimLost, Unreadable."""
    file, _ = open_regular(path)
    with _Step("read", path), file:
        return file.read(octets)


def glance(directory: int, name: str, octets: int) -> tuple[bytes, int]:
    """The first octets of a regular file in an open directory, and its size. Where anything is amiss, an OSError.

    For who reads a hundred thousand files, and asks `open_regular` about those few that this fails for.
    """
    if "/" in name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    fd = os.open(name, os.O_RDONLY | SAFELY, dir_fd=directory)
    try:
        begin = os.pread(fd, octets, 0)  # an error, and no wait, where it is a FIFO, a terminal or a directory
        return begin, len(begin) if len(begin) < octets else os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def read_dated(path: str, octets: int) -> tuple[bytes, float]:
    """The first octets of a regular file, and when it was last written to, Unix seconds of whoever keeps the disk.

    Found out from the opened file: NFS answers other questions from memory. Raises ClaimLost, Unreadable.
    """
    fd = _open(path)
    try:
        with _Step("read", path):
            _regular_size(fd, path)
            return os.pread(fd, octets, 0), os.fstat(fd).st_mtime
    finally:
        os.close(fd)


# --- writing


@contextmanager
def new_file(path: str, *, synced: bool = True, folder: Folder | None = None) -> Iterator[NewFile]:
    """A new file to `write` to: durable when the block ends, gone when the block raises.

    synced: else it is durable after the next `sync_file_system`. folder: see `create`.
    """
    file = create(path, folder)
    try:
        yield file
        if synced:
            sync(file)
        close(file)
    except BaseException:
        with suppress(OSError):
            file.close()
        with suppress(SpoolError):
            unlink(path)
        raise


def create(path: str, folder: Folder | None = None) -> NewFile:
    """folder: the one that it is in, if many are made there. Raises Exists if the name is taken."""
    with _Step("create", path):
        return NewFile((folder.open if folder else open_within)(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), path)


def write(file: NewFile | IO[bytes], data: bytes) -> None:
    """Append to a new file."""
    with _Step("write", file.name):
        file.write(data)


def rewrite(file: NewFile, data: bytes) -> None:
    """Replace the first octets of a new file."""
    with _Step("write", file.name):
        file.rewrite(data)


def sync(file: NewFile | IO[bytes]) -> None:
    """Make a new file's content durable; its name is made so by `sync_directory`."""
    with _Step("sync", file.name):
        file.flush()
        os.fsync(file.fileno())


def close(file: NewFile | IO[bytes]) -> None:
    """NFS may report only here that the server's disk is full."""
    with _Step("close", file.name):
        file.close()


def append(path: str, data: bytes) -> None:
    """Append in one write, make the file if need be; not synced."""
    with _Step("append to", path):
        fd = open_within(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            _regular_size(fd, path)
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)


def overwrite(path: str, data: bytes) -> None:
    """Replace the first octets of a file that is there, durably, in one write; never make it. Raises ClaimLost."""
    try:
        fd = os.open(path, os.O_WRONLY | SAFELY)
    except OSError as error:
        raise _fault("open", path, error) from error
    try:
        _regular_size(fd, path)
        if os.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    except BaseException as error:
        with suppress(OSError):
            os.close(fd)
        if isinstance(error, OSError):
            raise _fault("write", path, error) from error
        raise
    with _Step("close", path):
        os.close(fd)


def replace(path: str, data: bytes, draft: str) -> None:
    """Put a file in the place of what has its name, if anything: who reads sees the one or the other, and whole.

    draft: its name until then, which nobody else makes. Its name is made durable by `sync_directory`.
    """
    discard([draft])  # of one that was killed
    with new_file(draft) as file:
        write(file, data)
    try:
        rename(draft, path)
    except ClaimLost:
        if read(path) != data:  # NFS may deny what it did when the request was repeated
            raise


def open_to_append(path: str) -> IO[bytes]:
    """A file to read from its start and to append to, made if need be; `sync` makes durable what was appended."""
    with _Step("open", path):
        fd = open_within(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            _regular_size(fd, path)
        except BaseException:
            let_go(fd)
            raise
        return open(fd, "a+b")  # noqa: PTH123 - a descriptor


# --- names


def link(source: str, target: str) -> None:
    """A second name for a file. Raises CannotLink where there can be none, Exists if `target` is another file."""
    try:
        os.link(source, target)
    except FileExistsError as error:
        if not _is_same(source, target):  # NFS: our own link, its request repeated
            raise Exists(f"cannot link {target}: it is there already") from error
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise CannotLink(f"cannot link {target}: {error.strerror}") from error
        raise _fault("link", source, error) from error


def rename(source: str, target: str) -> None:
    """Rename to a name that nobody else can make. Raises ClaimLost if the source (or the directory) is gone."""
    try:
        os.rename(source, target)
    except OSError as error:
        raise _fault("rename", source, error) from error


def rename_to_new(source: str, target: str) -> None:
    """Rename to a name that ought to be new. Raises ClaimLost if the source is gone, else Exists if it is not new.

    Rename replaces what is there; and onto another link of the same file it does nothing and says yes.
    """
    if is_there(target):
        if not is_there(source):
            raise ClaimLost(f"cannot rename {source}: it is gone")
        raise Exists(f"cannot rename {source}: {target} is there already")
    rename(source, target)


def unlink(path: str) -> None:
    """Take one name away. Raises ClaimLost if it is gone."""
    try:
        os.unlink(path)
    except OSError as error:
        raise _fault("unlink", path, error) from error


def discard(paths: Iterable[str]) -> None:
    """Take away what nobody was told of, as far as that can be done; what is left is swept."""
    for path in paths:
        with suppress(SpoolError):
            unlink(path)


def set_mode(path: str, mode: int, uid: int) -> None:
    """Give a file or a directory of this owner its mode; follows no link. Raises ClaimLost if there is none such."""
    try:
        with within(path) as (directory, name):
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                found = os.fstat(fd)
                if found.st_uid != uid or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                    raise ClaimLost(f"cannot change the mode of {path}: it is another's, or of another kind")
                os.chmod(f"/proc/self/fd/{fd}", mode)  # what is held open, whatever the name stands for by now
            finally:
                let_go(fd)
    except OSError as error:
        raise _fault("change the mode of", path, error) from error


def give(path: str, uid: int, gid: int) -> None:
    """Make a file or a directory another user's, as only root can; a symbolic link itself, never what it leads to."""
    with _Step("give away", path):
        os.lchown(path, uid, gid)


# --- directories


def make_directory(path: str) -> bool:
    """Make a directory; one that is there already is left as it is. Whether it is new; not synced."""
    with _Step("make the directory", path), within(path) as (parent, name):
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
            return False
        if os.geteuid() != 0:
            os.chmod(name, 0o700, dir_fd=parent)  # the umask may have taken away even our own right to open it
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | SAFELY, dir_fd=parent)
        try:
            entrust(fd, 0o700, parent)
        finally:
            let_go(fd)
        return True


def remove_directory(path: str) -> None:
    """Remove a directory if it is one and empty; otherwise leave it."""
    with _Step("remove the directory", path):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in _GONE | {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    with _Step("sync the directory", path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            let_go(fd)


# --- many files at once


@contextmanager
def file_system(directory: str) -> Iterator[int | None]:
    """What `sync_file_system` wants, opened before files are written; None where each needs a sync of its own."""
    from mailspool.store import syncfs  # ctypes: only for who accepts many at once

    fd, enough = -1, False
    with suppress(OSError):  # a sync of each will do; what is wrong comes to light when the first is written
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        enough = syncfs.is_enough(fd)
    try:
        yield fd if enough else None
    finally:
        let_go(fd)


def sync_file_system(fd: int, directory: str) -> None:
    """Make all files on it durable. Raises SpoolError if any could not be written since it was opened."""
    from mailspool.store import syncfs  # as above

    with _Step("sync the file system of", directory):
        syncfs.syncfs(fd)


# --- underneath


class _Step:
    """Turns an OSError inside its block into a SpoolError; never a ClaimLost, since nothing is taken here."""

    __slots__ = ("action", "path")

    def __init__(self, action: str, path: str) -> None:
        self.action, self.path = action, path

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, OSError):
            if isinstance(error, FileExistsError):
                raise Exists(f"cannot {self.action} {self.path}: it is there already") from error
            raise SpoolError(f"cannot {self.action} {self.path}: {error.strerror}") from error


def _fault(action: str, path: str, error: OSError) -> SpoolError:
    kind = ClaimLost if error.errno in _GONE else SpoolError
    return kind(f"cannot {action} {path}: {error.strerror}")


def _is_same(source: str, target: str) -> bool:
    try:
        return os.path.samestat(os.lstat(source), os.lstat(target))
    except OSError:
        return False
