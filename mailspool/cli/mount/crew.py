# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Doing things in children: several at the same moment, or one that may hang; none outlives its time, or its parent.

Who started them goes on, whatever a file server that does not answer does to them: only SIGKILL ends such a child.
"""

import os
import pwd
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

import msgspec

from mailspool.errors import MailspoolError, SpoolError
from mailspool.supervisor import privileges
from mailspool.supervisor.signals import begin_in_child, held_back

_DONE, _FAILED, _BROKEN = b"+", b"-", b"!"
_CHUNK = 1 << 16
_PARTING = 5.0  # seconds for a child that was killed to be gone


class NoAnswer(SpoolError):
    """A child did not say its result in time."""


class _Child(NamedTuple):
    pid: int
    pipe: int


def call(action: Callable[[], object], result: Any, seconds: float, user: pwd.struct_passwd | None = None) -> Any:
    """What `action` returns, done in a child; if root calls, by `user`. result: its type, which JSON can carry.

    Raises what went wrong there as SpoolError, NoAnswer if it took longer.
    """
    return race([action], result, seconds, user)[0]


def race(
    actions: Sequence[Callable[[], object]],
    result: Any,
    seconds: float,
    user: pwd.struct_passwd | None = None,
) -> list[Any]:
    """What each of them returns, done at once, each in a child: none begins before all are there."""
    until = time.monotonic() + seconds
    gate, opener = os.pipe()
    children: list[_Child] = []
    try:
        with held_back():  # Python loses a KeyboardInterrupt that comes while it forks
            children += (_start(action, gate, opener, user) for action in actions)
        os.close(opener)
        opener = -1
        said = [_hear(child, until, seconds) for child in children]
    finally:
        for child in children:  # before the gate is opened to those that have not begun
            _end(child.pid)
        for fd in (gate, opener, *(child.pipe for child in children)):
            with suppress(OSError):
                os.close(fd)
    return [_understood(each, result) for each in said]


def _start(action: Callable[[], object], gate: int, opener: int, user: pwd.struct_passwd | None) -> _Child:
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _live(action, (gate, opener), writer, user, parent)
    os.close(writer)
    return _Child(pid, reader)


def _live(
    action: Callable[[], object], gate: tuple[int, int], pipe: int, user: pwd.struct_passwd | None, parent: int
) -> NoReturn:
    try:
        said = _done(action, gate, user, parent)
        while said:
            said = said[os.write(pipe, said) :]
    finally:
        os._exit(0)


def _done(action: Callable[[], object], gate: tuple[int, int], user: pwd.struct_passwd | None, parent: int) -> bytes:
    try:
        begin_in_child({})
        privileges.become(user)
        privileges.die_with_parent()  # after the change of user, which would undo it
        if os.getppid() != parent:
            return b""
        os.close(gate[1])
        os.read(gate[0], 1)  # until nobody holds the other end
        return _DONE + msgspec.json.encode(action())
    except MailspoolError as error:
        return _FAILED + str(error).encode()
    except Exception as error:  # noqa: BLE001 - said to whom it is for: the parent
        return _BROKEN + f"{type(error).__name__}: {error}".encode()


def _hear(child: _Child, until: float, seconds: float) -> bytes:
    said = b""
    while select.select([child.pipe], [], [], max(0.0, until - time.monotonic()))[0]:
        if not (chunk := os.read(child.pipe, _CHUNK)):
            return said
        said += chunk
    raise NoAnswer(f"no result within {seconds:g} s: the file server does not answer, or is very slow")


def _understood(said: bytes, result: Any) -> Any:
    if said[:1] == _DONE:
        return msgspec.json.decode(said[1:], type=result)
    raise SpoolError(said[1:].decode(errors="replace") or "a process that was to try it was killed")


def _end(pid: int) -> None:
    """One that hangs where nothing can end it is left to die with us."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + _PARTING
    while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
        time.sleep(0.001)
