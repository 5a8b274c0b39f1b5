# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Beginning anew after others took us for dead: a child takes the new lease, since the file server may not answer.

Until it has, nothing is done, and the parent hears signals as ever.
"""

from collections.abc import Callable

from mailspool.errors import SpoolError
from mailspool.supervisor.child import Ended, fork_child
from mailspool.supervisor.job import Work
from mailspool.supervisor.pause import Pause


class Anew:
    """release_in_child: closes in a child what is the parent's. clock: monotonic seconds."""

    def __init__(self, release_in_child: Callable[[], None], clock: Callable[[], float]) -> None:
        self._release_in_child = release_in_child
        self._work: Work | None = None
        self._pid = 0  # of who takes its lease; 0 once that is done
        self.pause = Pause("begin anew", clock)

    def successor(self, work: Work) -> Work | None:
        """The work to go on with instead of this one, whose lease is lost; None until its own is there."""
        if self._work is None:
            if not self.pause.left:
                self._begin(work)
            return None
        if self._pid:
            return None
        self.pause.over()
        ready, self._work = self._work, None
        return ready

    def _begin(self, work: Work) -> None:
        try:
            fresh = work.begin_anew()
            fresh.preload()
            self._pid = fork_child("recover", lambda: self._take_lease(fresh))
        except Exception as error:  # noqa: BLE001 - even if it is an override's bug, it is tried again
            self.pause.begin(str(error) if isinstance(error, SpoolError) else repr(error))
            return
        self._work = fresh

    def _take_lease(self, work: Work) -> None:
        self._release_in_child()
        work.take_lease()

    def ended(self, child: Ended) -> bool:
        """A child was reaped. Whether it was ours."""
        if child.pid != self._pid:
            return False
        self._pid = 0
        if child.status:
            self._work = None
            self.pause.begin(f"ended by {child.how}")
        return True
