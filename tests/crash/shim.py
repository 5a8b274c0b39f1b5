# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Between the spool and the kernel: each call about a file below a root is counted, and one of them meets a fault.

The functions of `os` are wrapped, and files are those of `_pyio`, which is `io` written in Python over `os`: nothing
that reads, writes or closes gets past. Which calls there are is never listed: a test asks for a fault at the first,
the second, …, until the action comes to its end without having met it.

    with Disk(root, Fault("EIO"), 7) as disk:
        action()
    disk.met                             # "fsync incoming/A~…", or "" if there were fewer than 7 calls
"""

import _pyio
import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from typing import NamedTuple, Self

_OF_DESCRIPTORS = {"close", "fdatasync", "fsync", "lseek", "pread", "pwrite", "read", "write", "fchmod", "fchown"}
_OF_NAMES = {f.__name__ for f in os.supports_dir_fd | os.supports_fd | os.supports_follow_symlinks} - {"execve"}
CALLS = sorted(name for name in _OF_DESCRIPTORS | _OF_NAMES | {"ftruncate", "lstat", "truncate"} if hasattr(os, name))
_PLACES = [
    *((os, name) for name in CALLS),
    *((io, name) for name in ("FileIO", "BufferedReader", "BufferedWriter")),
    (builtins, "open"),
]

_DENIED = {"rename": errno.ENOENT, "replace": errno.ENOENT, "unlink": errno.ENOENT, "rmdir": errno.ENOENT,
           "link": errno.EEXIST, "mkdir": errno.EEXIST}  # fmt: skip

ONCE = ("EIO", "ENOSPC", "EINTR", "ESTALE", "EDQUOT", "EROFS", "EMFILE", "ENOMEM")
FOR_GOOD = ("EIO", "ENOSPC", "EROFS")


class Fault(NamedTuple):
    """kill: the process dies before the call. deny: it is done, and denied, as NFS does when the answer was lost and

    the request is repeated. short: a half of a write is done. Otherwise an errno by name: the call is not done (but
    what is closed is closed), nor is, for_good, any later one that changes something.
    """

    kind: str
    for_good: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-for-good" if self.for_good else self.kind


KILL, DENY, SHORT = Fault("kill"), Fault("deny"), Fault("short")
ERRORS = [*map(Fault, ONCE), *(Fault(name, for_good=True) for name in FOR_GOOD)]
_HARMLESS = {"access", "close", "fstat", "listdir", "lseek", "lstat", "pread", "read", "readlink", "scandir", "stat"}


class Disk:
    """calls: what was called, and on what. fault: met at the call with the number `at`, counted from 1, of those that

    can meet it; None: at none. met: at which.
    """

    def __init__(self, root: str, fault: Fault | None = None, at: int = 0) -> None:
        self._root, self._fault = root, fault
        self._fds: dict[int, str] = {}
        self._left = at
        self.calls: list[str] = []
        self.met = ""

    def __enter__(self) -> Self:
        self._real = [(module, name, getattr(module, name)) for module, name in _PLACES]
        for module, name, real in self._real:
            setattr(module, name, self._watched(name, real) if module is os else getattr(_pyio, name))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for module, name, real in self._real:
            setattr(module, name, real)

    def _watched(self, name: str, real: Callable) -> Callable:
        def call(*args, **kwargs):
            what = self._what(args, kwargs)
            if not what:
                return real(*args, **kwargs)
            self.calls.append(f"{name} {what.removeprefix(self._root + '/')}")
            if self._is_met(name, args):
                return self._fail(name, real, args, kwargs)
            result = real(*args, **kwargs)
            if name == "open":
                self._fds[result] = what
            elif name == "close":
                self._fds.pop(args[0], None)
            return result

        return call

    def _what(self, args: tuple, kwargs: dict) -> str:
        """The path that it is about, "" if that is not below the root."""
        thing = args[0] if args else kwargs.get("fd", kwargs.get("path", ""))
        if isinstance(thing, int):
            return self._fds.get(thing, "")
        if folder := self._fds.get(kwargs.get("dir_fd") or kwargs.get("src_dir_fd") or -1):
            return f"{folder}/{thing}"
        thing = os.fsdecode(thing)
        return thing if (thing + "/").startswith(self._root + "/") else ""

    def _is_met(self, name: str, args: tuple) -> bool:
        if self._fault is None:
            return False
        if self.met:
            return self._fault.for_good and not _is_harmless(name, args)
        self._left -= is_met_by(self._fault, name)
        return not self._left

    def _fail(self, name: str, real: Callable, args: tuple, kwargs: dict) -> object:
        assert self._fault is not None
        self.met = self.met or self.calls[-1]
        kind = self._fault.kind
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "short":
            return real(args[0], bytes(args[1])[: len(args[1]) // 2], **kwargs)
        if name == "access":
            return False  # it raises nothing
        if kind == "deny" or name == "close":
            real(*args, **kwargs)
        if name == "close":
            self._fds.pop(args[0], None)
        number = _DENIED[name] if kind == "deny" else getattr(errno, kind)
        raise OSError(number, os.strerror(number), str(args[0]))


def is_met_by(fault: Fault, name: str) -> bool:
    """Whether this call can fail in this way."""
    return {"deny": name in _DENIED, "short": name == "write"}.get(fault.kind, True)


def _is_harmless(name: str, args: tuple) -> bool:
    """A disk that is full, or read-only, can still be read."""
    return name in _HARMLESS or (name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
