# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The parent's end of a worker: batches go down a socket pair, results come up, and nobody waits."""

import socket
from collections.abc import Callable
from functools import partial

import msgspec

from mailspool.supervisor.child import Child, fork_with_channel
from mailspool.supervisor.job import Job, Order, Report, Work
from mailspool.supervisor.processors import FRESH
from mailspool.supervisor.scoreboard import Slot
from mailspool.supervisor.station import LINGER, MAX_PACKET, WorkerStation

LETS_GO = LINGER + 1.0
"""Seconds after its last job for which a worker's session is taken for open, its goodbye included."""

_encode = msgspec.msgpack.encode
_decode_report = msgspec.msgpack.Decoder(Report).decode


class Worker(Child):
    """One worker, as the parent knows it."""

    def __init__(self, serial: int, pid: int, channel: socket.socket, slot: Slot) -> None:
        super().__init__(pid, channel)
        self.serial, self.slot = serial, slot
        self.batch: list[Job] = []
        self.destination = ""  # the last one: there may still be a session with it
        self.jobs_done = 0
        self.idle_since = 0.0
        self.share = 0.0  # as of its last report; before the first one, of others'
        self._given = 0.0
        self.leaving = False  # told to end: it gets no more
        self.killed = False  # because it was overdue
        self._connections: dict[str, float] = {}  # by destination and pattern of hosts, and for how long

    def give(self, order: Order, connection: socket.socket | None = None, now: float = 0.0) -> None:
        """connection: with `order.host`, of which nothing was read yet. Raises OSError if the worker is gone."""
        self.batch, self.destination, self._given = order.jobs, order.jobs[0].destination, now
        self._connections |= dict.fromkeys((self.destination, *self.batch[0].rules), float("inf"))
        socket.send_fds(self.channel, [_encode(order)], [connection.fileno()] if connection else [])

    def reported(self, now: float, share: float) -> None:
        """It has nothing to do, and soon lets go of its session. share: as of `job.Report`."""
        self.share = share
        self._connections = {key: now + min(left, LETS_GO) for key, left in self.connections(now).items()}

    def connections(self, now: float) -> dict[str, float]:
        """What it may have a session for, destination and patterns of hosts, and for how many seconds: inf if busy."""
        return {key: until - now for key, until in self._connections.items() if until > now}

    def computes(self, now: float) -> float:
        """The part of its time in which it most likely wants a processor."""
        return self.share if self.batch and now - self._given < FRESH else 0.0

    def report(self) -> Report | None:
        """What became of its batch, None if it has ended."""
        try:
            packet = self.channel.recv(MAX_PACKET)
        except OSError:
            return None
        return _decode_report(packet) if packet else None

    def retire(self) -> None:
        """It ends once it has nothing to do."""
        self.close()
        self.leaving = True


def fork_worker(work: Work, serial: int, slot: Slot, clock: Callable[[], float], release: Callable[[], None]) -> Worker:
    """Fork a worker. release: closes in the child what belongs to the parent. Raises OSError if fork does."""
    station = WorkerStation(serial, slot, clock)
    pid, channel = fork_with_channel(f"worker {serial}", partial(station.run, work), release, station.handlers)
    return Worker(serial, pid, channel, slot)
