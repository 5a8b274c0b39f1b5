# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Recovering in children of its own, since a rename can hang on a file server: at start, and after a worker's death.

After a reload one moves what stands in a tier that is no more. What could not be done is tried again later; what is
not done when the supervisor stops, the next one does.
"""

import signal
from collections.abc import Callable

from mailspool.supervisor.child import Ended, fork_child, send_signal
from mailspool.supervisor.pause import Pause

Task = Callable[[], None]


class Recovery:
    """The tasks that are to be done, and the children that are at them.

    release_in_child: closes in a child what is the parent's. clock: monotonic seconds.
    """

    def __init__(self, release_in_child: Task, clock: Callable[[], float]) -> None:
        self._release_in_child = release_in_child
        self._tasks: list[Task] = []
        self._children: dict[int, Task] = {}
        self._stopping = False
        self.pause = Pause("recover claims", clock)

    def __bool__(self) -> bool:
        """Whether anything is left to wait for."""
        return bool(self._tasks or self._children)

    @property
    def pids(self) -> list[int]:
        """Of the children at work."""
        return list(self._children)

    def add(self, task: Task) -> None:
        """Have it done soon; once, however often it is asked for until it begins."""
        if task not in self._tasks:
            self._tasks.append(task)

    def begin(self) -> None:
        """Start a child for each task that is to be done, unless there is a pause: none waits for another.

        But for its own last run.
        """
        if self.pause.left and not self._stopping:
            return
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if task in self._children.values():
                self._tasks.append(task)
            else:
                self._begin(task)

    def _begin(self, task: Task) -> None:
        def in_child() -> None:
            self._release_in_child()
            task()

        try:
            self._children[fork_child("recover", in_child)] = task
        except OSError as error:
            self._later(task, str(error))

    def ended(self, child: Ended) -> bool:
        """A child was reaped. Whether it was one of ours."""
        task = self._children.pop(child.pid, None)
        if task is None:
            return False
        if child.status:
            self._later(task, f"ended by {child.how}")
        else:
            self.pause.over()
        return True

    def stop(self, *, at_once: bool) -> None:
        """Begin what is left, once, and try nothing again. at_once: do not wait for it either."""
        self._stopping = True
        if at_once:
            for pid in self._children:
                send_signal(pid, signal.SIGKILL)

    def _later(self, task: Task, why: str) -> None:
        self.pause.begin(why)
        if not self._stopping:
            self._tasks.append(task)
