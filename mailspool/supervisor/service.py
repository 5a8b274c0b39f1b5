# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The services: children that each do one other thing than deliver, for as long as the supervisor lives.

One that ends is started again, after a pause that grows while it keeps ending. A reload starts each anew at once; the
old one ends when it has finished what it had begun. At the end those that workers rely on are killed last; none
outlives the supervisor.
"""

import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from mailspool.supervisor.child import Ended, fork_child, send_signal
from mailspool.supervisor.job import Service
from mailspool.supervisor.pause import LONGEST_PAUSE, Pause

_Kind = TypeVar("_Kind")


class _Running(NamedTuple):
    service: Service
    since: float


class Services:
    """Those of one supervisor. release_in_child: closes in a child what is the parent's. clock: monotonic seconds."""

    def __init__(
        self, services: Sequence[Service], release_in_child: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._release_in_child, self._clock = release_in_child, clock
        self._children: dict[int, _Running] = {}
        self._pauses: dict[str, Pause] = {}
        self._wanted: Sequence[Service] = services

    def __bool__(self) -> bool:
        """Whether any of them still runs that is told to end."""
        return any(not child.service.to_the_end for child in self._children.values())

    def begin(self) -> None:
        """Start those that should run and do not, unless one has a pause."""
        running = [child.service for child in self._children.values()]
        for service in self._wanted:
            if service not in running and not self._pause(service).left:
                self._begin(service)

    def _begin(self, service: Service) -> None:
        def in_child() -> None:
            self._release_in_child()
            self.close(unlink=False, but=service)
            service.run()

        try:
            pid = fork_child(service.name, in_child)
        except OSError as error:
            self._pause(service).begin(str(error))
            return
        self._children[pid] = _Running(service, self._clock())

    def ended(self, child: Ended) -> bool:
        """A child was reaped. Whether it was one of ours."""
        running = self._children.pop(child.pid, None)
        if running is None:
            return False
        if running.service in self._wanted:
            pause = self._pause(running.service)
            if self._clock() - running.since > LONGEST_PAUSE:
                pause.over()
            pause.begin(f"ended by {child.how}")
        return True

    def replace(self, services: Sequence[Service]) -> None:
        """After a reload: these take over at once; one that is among them already goes on."""
        self._wanted = services
        self._dismiss(signal.SIGTERM)

    def stop(self, number: int) -> None:
        """The supervisor ends: nothing new comes in. What workers rely on goes on, and is even started again."""
        staying = [service for service in self._wanted if service.to_the_end]
        for service in self._wanted:
            if service not in staying:
                service.close(unlink=True)
        self._wanted = staying
        self._dismiss(number)

    def finish(self) -> None:
        """No worker is left: the others end too."""
        self.close(unlink=True)
        self._wanted = ()
        self._dismiss(signal.SIGKILL)

    def close(self, *, unlink: bool, but: Service | None = None) -> None:
        """Let go of what is held open for all of them, or all but one."""
        for service in self._wanted:
            if service is not but:
                service.close(unlink=unlink)

    def find(self, kind: type[_Kind]) -> _Kind | None:
        """The one of this kind among those that should run."""
        return next((service for service in self._wanted if isinstance(service, kind)), None)

    def runs(self, service: Service | None) -> bool:
        """Whether it has a child."""
        return any(child.service is service for child in self._children.values())

    def kill(self, service: Service) -> None:
        """It is started again, as after any other end."""
        for pid, child in self._children.items():
            if child.service is service:
                send_signal(pid, signal.SIGKILL)

    @property
    def left(self) -> float:
        """Seconds until one may be started again, infinity if all run."""
        return min((pause.left for pause in self._pauses.values() if pause.left), default=float("inf"))

    @property
    def pids(self) -> list[tuple[str, int]]:
        """Name and pid of each that runs, those that are on their way out included."""
        return [(child.service.name, pid) for pid, child in self._children.items()]

    def pass_on(self, number: int) -> None:
        """Send a signal to all of them."""
        for pid in self._children:
            send_signal(pid, number)

    def _dismiss(self, number: int) -> None:
        """Send a signal to those that should run no more."""
        for pid, child in self._children.items():
            if child.service not in self._wanted:
                send_signal(pid, number)

    def _pause(self, service: Service) -> Pause:
        return self._pauses.setdefault(service.name, Pause(f"service {service.name}", self._clock))
