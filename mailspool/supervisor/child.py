# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A child of the supervisor: forked, titled, with its own log and signals; it never outlives its parent.

It dies with its parent (PR_SET_PDEATHSIG), so that a new supervisor may take back its claims at once.
"""

import os
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
