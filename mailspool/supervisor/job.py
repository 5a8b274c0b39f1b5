# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Jobs, what is told of them, and the protocols of those who do them: all that the supervisor knows of its work.

It never knows that jobs are mail. `delivery.work.SpoolWork` satisfies `Work`; the tests run the real supervisor with
work that only counts.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum, IntEnum, auto
from typing import NamedTuple, Protocol

from mailspool.model.phase import Watch
from mailspool.model.rules import NO_RULES, Rules
from mailspool.model.target import Host


class Job(NamedTuple):
    """One piece of work. key names it; jobs of one group are best done together, in one batch.

    refusal: how its destination refuses sessions, and since when. Then it is not to be tried, but put off.
    patient: it has failed before, so that whoever tries it now waits long for each answer.
    rules: in the first job of a batch, the patterns of hosts whose limits the batch was counted for.
    """

    key: str
    destination: str
    group: str
    refusal: str = ""
    rules: tuple[str, ...] = ()
    patient: bool = False


MAX_RULES = 8
"""Patterns that one destination is counted for, at most: more kinds of hosts take nobody's mail."""


class Result(IntEnum):
    """How a job of a batch ended, as far as the supervisor cares."""

    SETTLED = 0  # it is no more, or it waits elsewhere under a new key
    DELIVERED = 1  # settled, and the destination took it
    REFUSED = 2  # settled, and the destination would refuse the next one too: it cools down
    RETURNED = 3  # not tried: it may be offered again
    FAULT = 4  # not tried because of a local fault (disk, memory): nobody should try for a while
    GONE = 5  # not tried, and not to be offered again: another has it, or nobody can read it

    @property
    def tried(self) -> bool:
        """Whether its destination may have heard of it."""
        return self <= Result.REFUSED


class Slower(NamedTuple):
    """A destination wants less than it gets. text: in its words. seconds: for which it wants nothing, 0.0: unsaid."""

    text: str
    seconds: float


class Appointment(NamedTuple):
    """A job that is not due yet, and in how many seconds it is to be tried all the same, by us."""

    job: Job
    seconds: float


LEASE = "lease"
"""What the alarm is about that a lease is not fresh: nothing is begun until it is."""

FAULT = "local fault"
"""What the alarm is about that goes with `Result.FAULT`. The supervisor knows when it is over."""


class Look(Enum):
    """Where to look for jobs."""

    POKED = auto()  # only where something has just come in
    TICK = auto()  # as at each tick: each place has its own chance
    ALL = auto()  # in every place, because somebody asked for it


class Order(NamedTuple):
    """What a worker is given: jobs of one destination.

    host: one of it that has spoken just now, if one is known. found: what the scout met, who has tried these jobs
    already; then they are settled by that. careful: connections with it have been lost lately, so that no job should
    be let go of before it is known what became of the one before.
    """

    jobs: list[Job]
    host: Host | None = None
    found: bytes = b""
    careful: bool = False


NOTHING = Order([])


class Station(Protocol):
    """A worker's place, as the work sees it."""

    serial: int  # never used twice by one supervisor

    @property
    def finishing(self) -> bool:
        """Return what has not been begun."""

    @property
    def watch(self) -> Watch:
        """To be told of each phase."""

    @property
    def order(self) -> Order:
        """What is to be done."""

    def connection_to(self, address: str, port: int) -> socket.socket | None:
        """The connection on which the order's host has spoken, its words still unread; once."""

    def alarm(self, subject: str, text: str) -> None:
        """Something that an administrator must mend, in one line; "": it works. Said as often as it is met."""

    def refused(self, text: str) -> None:
        """The destination would refuse the next job too: how, and since when, in one line."""

    def slower(self, text: str, seconds: float) -> None:
        """The destination wants less, as of `Slower`."""

    def lost(self) -> None:
        """A connection was lost before it was known what became of a job: the order is a careful one from now on."""

    def appoint(self, job: Job, seconds: float) -> None:
        """To be tried in so many seconds, though it is not due by then."""

    def counts_for(self, rule: str) -> bool:
        """Whether the batch was counted for that pattern of hosts. If not, it is to be returned, and will be."""

    def deadline(self, seconds: float, about: str = "") -> AbstractContextManager[None]:
        """Inside it, DeadlineExceeded or ShutdownRequested may be raised once, at any point before Phase.SEAL.

        about: what is done, for the title.
        """


class Report(NamedTuple):
    """What a worker sends for a batch: a result for each job, the alarms met, by subject, and the refusal, if any.

    rules: patterns of hosts that it came upon, and that the batch was not counted for.
    slower: if the destination wants less. appointments: what jobs have become that it wants soon again.
    address: of the host that it spoke with last, "" if with none. share: of the time that it took, the part in which
    it wanted a processor; for the rest it waited for others. lost: if a connection was, with a job in doubt.
    """

    results: list[Result]
    alarms: dict[str, str]
    refusal: str = ""
    rules: tuple[str, ...] = ()
    slower: Slower | None = None
    appointments: Sequence[Appointment] = ()
    address: str = ""
    share: float = 0.0
    lost: bool = False


class Lease(Protocol):
    """What entitles to do the jobs where others would do them too. A service keeps it up."""

    @property
    def fresh(self) -> bool:
        """Whether a job may be begun."""

    @property
    def late(self) -> bool:
        """Whether it cannot be kept up just now: what it is kept up with does not answer."""

    @property
    def lost(self) -> bool:
        """Others do our jobs by now: it never gets fresh again, see `Work.begin_anew`."""


class Unshared:
    """The lease of those whose jobs nobody else would do."""

    fresh = True
    late = False
    lost = False


UNSHARED = Unshared()


class Service(Protocol):
    """What one service does. What is to stay open from one child to the next, a socket say, is made before `run`."""

    @property
    def name(self) -> str:
        """In titles and in the log."""

    @property
    def to_the_end(self) -> bool:
        """Whether workers rely on it: then it is killed when all else has ended, and gets no TERM before."""

    def run(self) -> None:
        """In its child, whose signals are at their defaults: go on until TERM, and then end what is begun."""

    def close(self, *, unlink: bool) -> None:
        """Let go of what is held open. unlink: only the supervisor, at its end; not its other children."""


class Limits(NamedTuple):
    """The supervisor's own figures; times in seconds."""

    workers: int
    per_destination: int
    cool_down: float
    tick: float
    worker_jobs: int  # a worker retires after so many
    shutdown: float
    per_host: int = 10  # workers at one address
    unproven_share: float = 0.75  # of the workers, for all strangers together
    rules: Rules = NO_RULES


class Work(Protocol):
    """Who does the jobs. In the parent: down to `services`. All others run in children."""

    @property
    def lease(self) -> Lease:
        """Jobs are begun only while it is fresh."""

    @property
    def owners(self) -> int:
        """How many supervisors share the jobs, this one included, as far as is known: what limits are divided by."""

    def limits(self) -> Limits:
        """Read once, and again after a reload."""

    def preload(self) -> None:
        """Load what workers will need, so that a fork costs no import. Raises ConfigError."""

    def reload(self) -> "Reload":
        """The same work under the configuration as it now is. Raises ConfigError: then nothing has changed."""

    def begin_anew(self) -> "Work":
        """The lease is lost: the same work under a new one, for which the old one's jobs are a stranger's.

        Each time another one: `take_lease` comes next.
        """

    def services(self) -> Sequence[Service]:
        """What else is to be kept running, each in a child of its own. One that is new takes over after a reload."""

    def jobs(self, look: Look) -> Iterator[Job]:
        """In the lookout: what is due now, oldest first."""

    def summary(self) -> dict[str, object]:
        """In the lookout: what its looks found, for the status. In the parent before there was one."""

    def deferred(self) -> int:
        """Likewise: how many jobs there are that have failed before."""

    def perform(self, jobs: Sequence[Job], station: Station) -> list[Result]:
        """In a worker: do the jobs, one result for each."""

    def idle(self) -> None:
        """In a worker: no job has come for a moment; let go of what should not be kept open."""

    def take_lease(self) -> None:
        """In a child: make the lease, before anything is done under it. Raises whatever keeps it from that for now."""

    def recover(self) -> None:
        """In a child: return what dead owners held. Runs once at start."""

    def rearrange(self) -> None:
        """In a child: make new places, and bring what stands where there is none any more to where it is looked for."""

    def end(self) -> None:
        """In a child, when all others have ended: nothing of this supervisor is left."""

    def recover_worker(self, serial: int, end: str) -> None:
        """In a child: settle what the worker `serial` left behind. end: how it ended, in words."""


class Reload(NamedTuple):
    """What a reload gives. changed: each option that counts now, old and new; kept: those that wait for a restart."""

    work: Work
    changed: Sequence[str] = ()
    kept: Sequence[str] = ()
