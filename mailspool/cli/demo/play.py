# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The course of the demo: puts the scenes in, winds the clock on whenever all is quiet, and sees how each node ends.

The clock starts days ago. It runs like any other while there is something to do; when there is nothing, it is wound
forward to the next look, until it shows the present. So the real periods pass, and not one second is waited for them.
"""

import json
import mmap
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from mailspool.cli.demo.scenes import BY_SEND_MAIL, BY_SENDMAIL, Arrived, Fate, NodeKey, Scene, Sent, Waiting, fates
from mailspool.cli.demo.view import At, Line, span
from mailspool.errors import MailspoolError, NotRunning, Unreadable
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State
from mailspool.store.handle import Node
from mailspool.supervisor.control import ask

LONGEST = 60.0
"""Seconds after which it is an error that the daemon still has something to do."""

_FRAME = 0.05  # seconds between two moments
_HOUR = 3600.0
_DELIVERY = re.compile(r"(\w+): to=<(.*?)>, relay=.*?, delay=.*?, dsn=.*?, status=(\w+) \((.*)\)$", re.MULTILINE)
_HOST = re.compile(r"127\.0\.0\.1\[127\.0\.0\.1\]:(\d+)")


class Clock:
    """Unix seconds, behind those of the real clock; the same in this process and in all that it forks."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def __call__(self) -> float:
        """The time."""
        return time.time() - self.behind

    @property
    def behind(self) -> float:
        """Seconds until the present."""
        return float(struct.unpack_from("d", self._shared)[0])

    @behind.setter
    def behind(self, seconds: float) -> None:
        struct.pack_into("d", self._shared, 0, seconds)


class Play:
    """One performance.

    arrived: what the hosts have taken so far. ports: of each domain's host. read_log: the daemon's log so far; raises
    MailspoolError if it has ended. sendmail: hands a scene to that program, and returns the queue id.
    """

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        arrived: list[Arrived],
        ports: Mapping[str, int],
        read_log: Callable[[], str],
        sendmail: Callable[[Scene], str],
    ) -> None:
        self._spool, self._clock, self._arrived = spool, clock, arrived
        self._domains = {str(port): domain for domain, port in ports.items()}
        self._read_log, self._sendmail = read_log, sendmail
        self._sent: list[Sent] = []
        self._story: list[Line] = []
        self._heard = 0  # of the log's deliveries
        self._attempts: dict[NodeKey, int] = {}

    # --- the course of things

    def perform(self, show: Callable[[At], None]) -> None:
        """Both acts, until nothing is due any more. show: is given moment after moment. Raises MailspoolError."""
        self._show, self._until = show, time.monotonic() + LONGEST
        self._clock.behind = sum(self._spool.settings.dequeue_periods) + _HOUR
        self._act(BY_SEND_MAIL, self._send_mail, "from send_mail()")
        while (wait := self._next_due() - self._clock()) < self._clock.behind:
            self._clock.behind -= max(0.0, wait)  # never backwards
            if wait > 60:
                self._remark("on to the next look")
            self._settle()
        self._clock.behind = 0
        self._act(BY_SENDMAIL, self._sendmail, "from the program sendmail")

    def _act(self, scenes: Sequence[Scene], put_in: Callable[[Scene], str], how: str) -> None:
        self._remark(f"{len(scenes)} messages {how}")
        for scene in scenes:
            now = self._clock()
            self._sent.append(Sent(put_in(scene), scene, now))
            self._frame()
        self._settle()

    def _send_mail(self, scene: Scene) -> str:
        return self._spool.send_mail(from_=scene.sender, message=scene.message)

    def _remark(self, text: str) -> None:
        behind = self._clock.behind
        self._story.append(Line("", "", f"{span(behind)} ago: {text}" if behind else f"now: {text}"))

    def _settle(self) -> None:
        """Until nothing is claimed and nothing is due. Twice, since a node that moves may be overlooked once."""
        quiet = 0
        while quiet < 2:
            self._frame()
            time.sleep(_FRAME)
            quiet = 0 if self._busy() else quiet + 1
            if time.monotonic() > self._until:
                raise MailspoolError(f"the daemon still has something to do after {LONGEST:.0f} s")

    def _busy(self) -> bool:
        now = self._clock()
        return any(place.state is State.CLAIMED or self._due(place) <= now for place in self._spool.store.locations())

    def _next_due(self) -> float:
        return min(map(self._due, self._spool.store.locations()), default=float("inf"))

    def _due(self, location: Location) -> float:
        """When it is looked at next; not at all if it is in no tier."""
        if location.state is not State.QUEUED:
            return float("inf")
        return nodename.entered(location.name) + self._spool.settings.tiers[location.tier].wait

    # --- what is seen of it

    def _frame(self) -> None:
        self._follow_log()
        self._show(At(self._clock.behind, self._tiers(), list(self._workers()), self._story))

    def _follow_log(self) -> None:
        titles = {one.queue_id: one.scene.title for one in self._sent}
        deliveries = _DELIVERY.findall(self._read_log())
        for queue_id, recipient, word, reply in deliveries[self._heard :]:
            key = queue_id, recipient
            self._attempts[key] = self._attempts.get(key, 0) + 1
            title = titles.get(queue_id, "the sender is told")
            self._story.append(Line(word, recipient, title if word == "sent" else self._with_domains(reply)))
        self._heard = len(deliveries)

    def _with_domains(self, reply: str) -> str:
        """All hosts are 127.0.0.1, which tells nobody anything."""
        return _HOST.sub(lambda found: self._domains.get(found[1], found[0]), reply)

    def _tiers(self) -> list[tuple[float, int]]:
        numbers = [place.tier for place in self._spool.store.locations()]
        return [(tier.wait, numbers.count(tier.number)) for tier in self._spool.settings.tiers]

    def _workers(self) -> Iterator[tuple[str, str, float]]:
        with suppress(NotRunning):  # it has only just been started
            for worker in json.loads(ask(self._spool.settings.run_dir, "status"))["workers"]:
                domain = self._domains.get(worker["destination"].rpartition(":")[2], "")
                yield worker["phase"].lower(), domain, worker["seconds"]

    # --- how it ended

    def fates(self) -> list[Fate]:
        """The fate of each node. The daemon must have ended: what moves is overlooked."""
        waiting: dict[NodeKey, Waiting] = {}
        reports: list[Arrived] = []
        for node in self._nodes():
            if node.from_:
                seconds = self._due(node.location) - self._clock()
                waiting[node.id, node.to] = Waiting(node.location.tier, max(0.0, seconds))
            else:
                reports.append(Arrived(self._clock(), (), node.filehandle().read()))
            node.close()
        return list(fates(self._sent, self._arrived + reports, waiting, self._attempts))

    def _nodes(self) -> Iterator[Node]:
        """All that is in the spool, in whatever state, as far as it can be read."""
        for location in self._spool.store.locations():
            with suppress(Unreadable):
                node = self._spool.node_at(location)
                node.open()
                yield node
