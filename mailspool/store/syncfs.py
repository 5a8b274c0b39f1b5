# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""syncfs(2), which Python does not have: one wait for the disk, after which all that was written is durable.

It stands for many fsyncs only where it does all that they do, and tells each error that they would: on file systems
that the power cuts of tests/lab have tried, from Linux 5.8 on (before, it said yes whatever had happened). An error is
told to a descriptor that was opened before the error came.
"""

import ctypes
import os

_TRIED = frozenset({0xEF53, 0x58465342})  # ext4, xfs: linux/magic.h
_TELLS_ERRORS = (5, 8)
_MOST_STATFS = 512  # octets: more than struct statfs on any machine; it begins with the type, a long

_libc = ctypes.CDLL(None, use_errno=True)


def is_enough(fd: int) -> bool:
    """Whether it can stand for many fsyncs on the file system of an open directory."""
    release = tuple(int(number) for number in os.uname().release.split(".")[:2] if number.isdecimal())
    return release >= _TELLS_ERRORS and _type(fd) in _TRIED


def syncfs(fd: int) -> None:
    """Make all that was written to the file system durable. Raises OSError."""
    _check(_libc.syncfs(fd))


def _type(fd: int) -> int:
    facts = ctypes.create_string_buffer(_MOST_STATFS)
    _check(_libc.fstatfs(fd, facts))
    return ctypes.c_long.from_buffer(facts).value & 0xFFFFFFFF


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
