# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Owners and attempts: whose a claim is, whether that owner still lives, and names that are never used twice.

An owner is one running supervisor, `<host>.<boot id>.<pid>.<start>`: a pid alone is soon somebody else's, with the
time at which its process started it is not. One whose lease was lost goes on as another owner, `….2`. Only owners of
this host are ever judged here; containers that share a spool must not share a host name.
"""

# ruff: noqa: PTH123 - paths are strings: pathlib is slow to load, and slow for each node

import os
import re
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple, Self

from mailspool.errors import SpoolError, Unreadable

_OWNER = r"([A-Za-z0-9._-]{1,64})\.([0-9a-f]{32})\.([1-9][0-9]{0,9})\.([0-9]{1,19})(?:\.([2-9]|[1-9][0-9]{1,8}))?"
_GONE_STATES = frozenset("ZX")  # a zombie has let go of everything but its number


class Owner(NamedTuple):
    """host: as the kernel names it. boot: the kernel's random boot id, 32 hex digits. start: ticks after the boot.

    incarnation: 1, and one more each time that the process was taken for dead and goes on.
    """

    host: str
    boot: str
    pid: int
    start: int
    incarnation: int = 1

    def __str__(self) -> str:
        again = f".{self.incarnation}" if self.incarnation > 1 else ""
        return f"{self.host}.{self.boot}.{self.pid}.{self.start}{again}"

    def next(self) -> Self:
        """The same process as a new owner."""
        return self._replace(incarnation=self.incarnation + 1)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Unreadable."""
        if not (found := re.fullmatch(_OWNER, text)):
            raise Unreadable(f"{text!r} is not an owner of the form HOST.BOOT.PID.START")
        return cls(found[1], found[2], int(found[3]), int(found[4]), int(found[5] or 1))


def is_owner(text: str) -> bool:
    """Whether it has an owner's form."""
    return re.fullmatch(_OWNER, text) is not None


def this_owner(proc: str = "/proc") -> Owner:
    """The calling process as an owner. Raises SpoolError where there is no /proc."""
    host = re.sub(r"[^A-Za-z0-9._-]", "_", os.uname().nodename)[:64] or "localhost"
    try:
        with open(f"{proc}/sys/kernel/random/boot_id", "rb") as file:  # as text it would load a codec
            boot = file.read().strip().replace(b"-", b"").decode()
        start, _ = _start_and_state(os.getpid(), proc)
    except OSError as error:
        raise SpoolError(f"cannot read {error.filename}: {error.strerror}; mount {proc}") from error
    return Owner(host, boot, os.getpid(), start)


def is_dead(owner: Owner, me: Owner, proc: str = "/proc") -> bool:
    """Whether `owner` was of my host and runs no more. False for every other host: its lease must tell.

    Of my own process those before me are dead; one after me is not, even if I am a child that has not heard of it.
    """
    if owner.host != me.host:
        return False
    if owner[:4] == me[:4]:
        return owner.incarnation < me.incarnation
    return owner.boot != me.boot or not _is_running(owner, proc)


def has_ended(owner: str, me: Owner) -> bool:
    """Whether an owner of that name is surely dead: `is_dead`, and False for what is no owner's name."""
    return is_owner(owner) and is_dead(Owner.parse(owner), me)


def _is_running(owner: Owner, proc: str) -> bool:
    try:
        os.getpgid(owner.pid)  # sees also what /proc hides (mount option hidepid)
    except ProcessLookupError:
        return False
    try:
        start, state = _start_and_state(owner.pid, proc)
    except OSError:
        return True
    return start == owner.start and state not in _GONE_STATES


def _start_and_state(pid: int, proc: str) -> tuple[int, str]:
    """Fields 22 and 3 of proc_pid_stat(5), counted from behind the name, which may hold blanks and brackets."""
    with open(f"{proc}/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[19]), fields[0].decode()


class Attempts(Iterator[str]):
    """`w12.1`, `w12.2`, …: attempts that are never used twice, as long as no worker bears another's name.

    worker: letters and digits, a serial number over the owner's whole life. A fork must make its own.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._count = count(1)

    def __next__(self) -> str:
        return f"{self._worker}.{next(self._count)}"
