# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A worker: takes batches of jobs from its socket, does each under a deadline, reports, and ends when told.

Three clocks bound it (`docs/architecture.md`, deadlines): the session's own timeouts, SIGALRM with the budget of
`deadline`, and the parent, which kills a worker whose scoreboard line is overdue. From `Phase.FINAL` on neither
SIGALRM nor a shutdown interrupts: the reply to the final dot decides whether a message is delivered twice.
A worker dies with its parent (PR_SET_PDEATHSIG), so that a new supervisor may take back its claims at once.
"""

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

import msgspec
from setproctitle import setproctitle

from mailspool.errors import DeadlineExceeded, ShutdownRequested
from mailspool.log import drops, get_logger, record, reopen
from mailspool.model.phase import Phase, Watch
from mailspool.supervisor.job import Job, Result, Work
from mailspool.supervisor.scoreboard import Slot

KILL_GRACE = 10.0
"""Seconds past its own deadline after which the parent kills a worker: its SIGALRM had its chance."""

LOCAL_PATIENCE = 300.0
"""Seconds that claiming and settling may take on a slow disk or file server before the parent kills."""

LINGER = 1.0
"""Seconds without a job after which a worker lets go of its session."""

EXIT_BROKEN = 3
"""Exit code of a worker that met what it cannot go on with; the parent waits a while before it forks again."""

_PR_SET_PDEATHSIG = 1
_MAX_PACKET = 1 << 17  # twice dispatch.MAX_BATCH of the longest names fit into it
_FOREVER = float("inf")

_encode = msgspec.msgpack.encode
_decode_batch = msgspec.msgpack.Decoder(list[Job]).decode
_decode_results = msgspec.msgpack.Decoder(list[Result]).decode
_libc = ctypes.CDLL(None, use_errno=True)


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


class Worker:
    """The parent's end of one worker."""

    def __init__(self, serial: int, pid: int, channel: socket.socket, slot: Slot) -> None:
        self.serial, self.pid, self.channel, self.slot = serial, pid, channel, slot
        self.batch: list[Job] = []
        self.destination = ""  # the last one: there may still be a session with it
        self.jobs_done = 0
        self.idle_since = 0.0
        self.leaving = False  # told to end: it gets no more
        self.closed = False

    def give(self, batch: list[Job]) -> None:
        """Raises OSError if the worker is gone."""
        self.batch, self.destination = batch, batch[0].destination
        self.channel.send(_encode(batch))

    def report(self) -> list[Result] | None:
        """The results of its batch, None if it has ended."""
        try:
            packet = self.channel.recv(_MAX_PACKET)
        except OSError:
            return None
        return _decode_results(packet) if packet else None

    def signal(self, number: int) -> None:
        """Send a signal; a worker that is gone but not yet reaped is fine."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def retire(self) -> None:
        """It ends once it has nothing to do."""
        self.channel.close()
        self.closed = self.leaving = True


def fork_worker(work: Work, serial: int, slot: Slot, clock: Callable[[], float], release: Callable[[], None]) -> Worker:
    """Fork a worker. release: closes in the child what belongs to the parent. Raises OSError if fork does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def in_child() -> None:
        ours.close()
        release()
        WorkerStation(serial, theirs, slot, clock).run(work)

    try:
        pid = fork_child(f"worker {serial}", in_child)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return Worker(serial, pid, ours, slot)


def fork_child(name: str, task: Callable[[], None]) -> int:
    """Fork a child that does `task` and ends, and that never outlives its parent. Returns its pid. Raises OSError.

    name: "worker 7" is titled `mailspool: worker 7` and logs as mailspool/worker.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_BROKEN
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it died before we could ask to die with it
            setproctitle(f"mailspool: {name}")
            reopen(f"mailspool/{name.partition(' ')[0]}")
            task()
            code = 0
    except ShutdownRequested:
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may escape into the parent's code above the fork
        get_logger().exception("child ended by an error", name=name)
    finally:
        if drops():  # of which nobody else can tell
            record("ended", "warning", dropped_lines=drops())
        os._exit(code)


class WorkerStation:
    """The worker's end: see `job.Station`."""

    def __init__(self, serial: int, channel: socket.socket, slot: Slot, clock: Callable[[], float]) -> None:
        self.serial, self._channel, self._slot, self._clock = serial, channel, slot, clock
        self.finishing = False
        self._phase = Phase.IDLE
        self._interruptible = False
        self._until = _FOREVER  # end of the present budget
        self._host = ""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_quit)
        signal.signal(signal.SIGQUIT, self._on_quit)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent's business; a terminal sends it to all of us
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def run(self, work: Work) -> None:
        """Until the parent closes the channel or asks to finish."""
        while not self.finishing and (batch := self._next_batch(work)):
            self._report(Phase.SETTLE, "", self._clock() + LOCAL_PATIENCE)
            results = work.perform(batch, self)
            self._report(Phase.IDLE, self._host, _FOREVER)
            self._channel.send(_encode(results))
        work.idle()

    def _next_batch(self, work: Work) -> list[Job]:
        """[] if the parent wants no more."""
        self._channel.settimeout(LINGER)
        self._interruptible = True
        try:
            if self.finishing:  # the signal came before it could interrupt
                return []
            packet = self._channel.recv(_MAX_PACKET)
        except TimeoutError:
            work.idle()
            self._host = ""
            self._report(Phase.IDLE, "", _FOREVER)  # from here on TERM interrupts; before, it had to wait for QUIT
            if self.finishing:
                return []
            setproctitle(f"mailspool: worker {self.serial} idle")
            self._channel.settimeout(None)
            packet = self._channel.recv(_MAX_PACKET)
        except OSError:
            return []
        finally:
            self._interruptible = False
        return _decode_batch(packet) if packet else []

    @property
    def watch(self) -> Watch:
        """What a session tells of its phases."""
        return self._watch

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Around the delivery of one group of jobs; not around claiming and settling, which are never interrupted."""
        self._until = self._clock() + seconds
        self._report(Phase.RESOLVE, self._host, self._until)
        try:
            try:
                self._interruptible = True
                signal.setitimer(signal.ITIMER_REAL, seconds)
                if self.finishing:
                    raise ShutdownRequested
                yield
            finally:
                self._interruptible = False
        finally:  # also if a signal came at the very end of the block
            self._interruptible = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._report(Phase.SETTLE, self._host, self._clock() + LOCAL_PATIENCE)

    def _watch(self, phase: Phase, host: str, seconds: float) -> None:
        if host != self._host:
            self._host = host
            setproctitle(f"mailspool: worker {self.serial} → {host}")
        if phase >= Phase.FINAL:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._report(phase, host, self._clock() + seconds)
            return
        if self._phase >= Phase.FINAL and self._interruptible:  # on to the next host, with what is left of the budget
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self._until - self._clock()))
        self._report(phase, host, self._until)

    def _report(self, phase: Phase, host: str, until: float) -> None:
        self._phase = phase
        self._slot.write(phase, host, until + KILL_GRACE, self._clock())

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        """Finish what is begun."""
        self.finishing = True
        if self._interruptible and self._phase == Phase.IDLE:
            raise ShutdownRequested

    def _on_quit(self, _number: int, _frame: FrameType | None) -> None:
        """Give back what is not past its final dot."""
        self.finishing = True
        self._interrupt(ShutdownRequested)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupt(DeadlineExceeded)

    def _interrupt(self, error: type[BaseException]) -> None:
        if self._interruptible and self._phase < Phase.FINAL:
            raise error
