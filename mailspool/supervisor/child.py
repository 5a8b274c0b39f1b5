# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A child of the supervisor: forked, titled, with its own log and signals; it never outlives its parent.

It dies with its parent (PR_SET_PDEATHSIG), so that a new supervisor may take back its claims at once.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from setproctitle import setproctitle

from mailspool.log import drops, get_logger, record, reopen
from mailspool.supervisor.privileges import die_with_parent
from mailspool.supervisor.signals import Handlers, begin_in_child, held_back

EXIT_BROKEN = 3
"""Exit code of a child that met what it cannot go on with; the parent waits a while before it forks again."""


class Ended(NamedTuple):
    """A child that was reaped."""

    pid: int
    status: int

    @property
    def how(self) -> str:
        """In words."""
        if os.WIFSIGNALED(self.status):
            return f"signal {os.WTERMSIG(self.status)}"
        return f"exit code {os.WEXITSTATUS(self.status)}"


def fork_child(name: str, task: Callable[[], None], handlers: Handlers = MappingProxyType({})) -> int:
    """Fork a child that does `task` and ends. Returns its pid. Raises OSError.

    name: "worker 7" is titled `mailspool: worker 7` and logs as mailspool/worker. handlers: for what
    `signals.begin_in_child` does not know better; they are in force from the child's first moment.
    """
    parent = os.getpid()
    with held_back():
        pid = os.fork()
        if not pid:
            _live(name, task, handlers, parent)
    return pid


class Child:
    """One that was forked with a channel, as its parent knows it."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid, self.channel = pid, channel
        self.closed = False

    def signal(self, number: int) -> None:
        """See `send_signal`."""
        send_signal(self.pid, number)

    def close(self) -> None:
        """It ends as soon as it notices: nobody hears it any more."""
        self.channel.close()
        self.closed = True


def fork_with_channel(
    name: str,
    task: Callable[[socket.socket], None],
    release: Callable[[], None],
    handlers: Handlers = MappingProxyType({}),
) -> tuple[int, socket.socket]:
    """Fork a child as above, whose task is given one end of a channel of packets. Its pid and the other end.

    release: closes in the child what belongs to the parent. Raises OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def in_child() -> None:
        ours.close()
        release()
        task(theirs)

    with theirs:
        try:
            return fork_child(name, in_child, handlers), ours
        except OSError:
            ours.close()
            raise


def send_signal(pid: int, number: int) -> None:
    """To a child: one that is gone but not yet reaped is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _live(name: str, task: Callable[[], None], handlers: Handlers, parent: int) -> NoReturn:
    code = EXIT_BROKEN
    try:
        die_with_parent()
        if os.getppid() == parent:  # else it died before we could ask to die with it
            begin_in_child(handlers)
            setproctitle(f"mailspool: {name}")
            reopen(f"mailspool/{name.partition(' ')[0]}")
            task()
            code = 0
    except BaseException:  # noqa: BLE001 - nothing may escape into the parent's code above the fork
        get_logger().exception("child ended by an error", name=name)
    finally:
        if drops():  # of which nobody else can tell
            record("ended", "warning", dropped_lines=drops())
        os._exit(code)
