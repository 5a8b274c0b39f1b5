# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The lookout: the child that looks for jobs, since a look can hang on a file server, and the parent must not.

It is asked for one look at a time, and answers with what it finds in pieces. A piece waits in the socket until the
parent takes it, and so does the lookout: however much there is, neither holds it all as jobs.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from mailspool.errors import SpoolError
from mailspool.supervisor.child import Child, fork_with_channel
from mailspool.supervisor.job import Job, Look, Work
from mailspool.supervisor.station import MAX_PACKET

PIECE = 200
"""Jobs told of at once: as many of the longest names fit into `station.MAX_PACKET`."""

MAX_ERROR = 1000
"""Characters of what kept a look from being a whole one: there is room for it beside the jobs."""

_MAX_REQUEST = 16


class Findings(NamedTuple):
    """What a look tells at its end. error: what kept it from being a whole one, "" if nothing did.

    seconds: how long it took. summary, deferred: see `job.Work`.
    """

    error: str
    seconds: float
    summary: dict[str, Any]
    deferred: int


class Piece(NamedTuple):
    """Some jobs; with the last ones, the findings."""

    jobs: list[Job]
    findings: Findings | None = None


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Piece).decode


class Lookout(Child):
    """The parent's end of it."""

    def ask(self, look: Look) -> None:
        """Have it look, once the last look has brought its findings. Raises OSError if it is gone."""
        self.channel.send(look.name.encode())

    def hear(self) -> Piece | None:
        """The next piece, for which it waits; None if there will be none."""
        try:
            packet = self.channel.recv(MAX_PACKET)
        except OSError:
            return None
        return _decode(packet) if packet else None


def fork_lookout(work: Work, release: Callable[[], None]) -> Lookout:
    """Fork one for this work. release: closes in the child what belongs to the parent. Raises OSError if fork does."""
    return Lookout(*fork_with_channel("lookout", partial(look_when_asked, work), release))


# --- in the child


def look_when_asked(work: Work, channel: socket.socket) -> None:
    """Until the parent closes its end."""
    with contextlib.suppress(ConnectionError):  # the parent wants no more
        while request := channel.recv(_MAX_REQUEST):
            for piece in pieces(work, Look[request.decode()]):
                channel.send(_encode(piece))


def pieces(work: Work, look: Look) -> Iterator[Piece]:
    """What a look finds; whatever goes wrong with it stands in its findings: not even an override's bug ends us."""
    began, jobs, error = time.monotonic(), list[Job](), ""
    try:
        for job in work.jobs(look):
            jobs.append(job)
            if len(jobs) == PIECE:
                yield Piece(jobs)
                jobs = []
    except SpoolError as fault:
        error = str(fault)
    except Exception as fault:  # noqa: BLE001 - told by the parent, once for as long as it lasts
        error = repr(fault)
    yield Piece(jobs, Findings(error[:MAX_ERROR], time.monotonic() - began, work.summary(), work.deferred()))
