# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A worker's place: takes batches of jobs from its socket, has each done under a deadline, reports, ends when told.

Three clocks bound it (`docs/architecture.md`, deadlines): the session's own timeouts, SIGALRM with the budget of
`deadline`, and the parent, which kills a worker whose scoreboard line is overdue. From `Phase.SEAL` on neither
SIGALRM nor a shutdown interrupts: the reply to the final dot decides whether a message is delivered twice. Only the
parent keeps to the budget until the dot: a seal that hangs on a file server is given up by killing.
None of the three runs while the machine is suspended.
"""

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Self

import msgspec

from mailspool.errors import DeadlineExceeded, ShutdownRequested
from mailspool.model.phase import Phase, Watch
from mailspool.model.target import address_in
from mailspool.supervisor.job import MAX_RULES, NOTHING, Appointment, Job, Order, Report, Result, Slower, Work
from mailspool.supervisor.processors import Stopwatch
from mailspool.supervisor.scoreboard import Slot
from mailspool.supervisor.signals import Handlers
from mailspool.supervisor.title import WorkerTitle

KILL_GRACE = 4.0
"""Seconds past its own deadline after which the parent kills a worker: its SIGALRM had its chance (`workers.DYING`)."""

LOCAL_PATIENCE = 300.0
"""Seconds that claiming and settling may take on a slow disk or file server before the parent kills."""

LINGER = 1.0
"""Seconds without a job after which a worker lets go of its session."""

MAX_PACKET = 1 << 17
"""Octets of a batch or its report; twice dispatch.MAX_BATCH of the longest names fit into it."""

MAX_ALARMS, MAX_ALARM = 8, 1000
"""Of one report, and characters of one of them: MAX_PACKET has room for so much beside the results."""

MAX_APPOINTED = 100
"""Of one report: MAX_PACKET has room for so many of the longest names beside the alarms."""

MAX_REFUSAL = 200
"""Characters: MAX_PACKET has room for it beside each of dispatch.MAX_BATCH jobs."""

_FOREVER = float("inf")

_encode = msgspec.msgpack.encode
_decode_order = msgspec.msgpack.Decoder(Order).decode


class WorkerStation:
    """The worker's end: see `job.Station`. It is made before the fork, so that its handlers are there at once."""

    def __init__(self, serial: int, slot: Slot, clock: Callable[[], float]) -> None:
        self.serial, self._slot, self._clock = serial, slot, clock
        self._stopwatch = Stopwatch(clock)
        self.finishing = False
        self._phase = Phase.IDLE
        self._interruptible = False  # who interrupts takes it away, so that no second one meets the ways out
        self._until = _FOREVER  # end of the present budget
        self._rings = _FOREVER  # when SIGALRM comes
        self._host = ""
        self._alarms: dict[str, str] = {}
        self._refusal = self._spoken_with = ""
        self.order = NOTHING
        self._connection: socket.socket | None = None
        self._rules: dict[str, None] = {}  # patterns that the batch does not count for, and should
        self._slower: Slower | None = None
        self._lost = False
        self._appointments: list[Appointment] = []
        self._title = WorkerTitle(serial, slot, clock)

    @property
    def handlers(self) -> Handlers:
        """What interrupts a worker."""
        return {
            signal.SIGTERM: self._on_term,
            signal.SIGINT: self._on_quit,
            signal.SIGQUIT: self._on_quit,
            signal.SIGALRM: self._on_alarm,
        }

    def run(self, work: Work, channel: socket.socket) -> None:
        """Until the parent closes the channel or asks to finish."""
        self._channel = channel
        self._title.keep()
        while not self.finishing and (order := self._next_order(work)):
            self._settle("")
            self._stopwatch.start()
            self.order = order
            results = work.perform(order.jobs, self)
            self._drop_connection()
            self._rest(self._host)
            self._channel.send(_encode(self._take_report(results)))
        work.idle()

    def _take_report(self, results: list[Result]) -> Report:
        met, address = tuple(self._rules), address_in(self._spoken_with)
        slower, appointments, share = self._slower, self._appointments, self._stopwatch.share
        report = Report(results, self._alarms, self._refusal, met, slower, appointments, address, share, self._lost)
        self._alarms, self._refusal, self._rules, self._slower, self._appointments = {}, "", {}, None, []
        self._lost = False
        return report

    # --- waiting for jobs

    def _next_order(self, work: Work) -> Order | None:
        """None if the parent wants no more. What a signal takes from us is found again: nothing is claimed."""
        try:
            packet = self._receive(LINGER)
            if packet is None:
                work.idle()
                self._rest("")  # from here on TERM interrupts; before, it had to wait for QUIT
                packet = self._receive(None)
        except (OSError, ShutdownRequested):
            return None
        return _decode_order(packet) if packet else None

    def _receive(self, seconds: float | None) -> bytes | None:
        """b"" if there will be no more, None if nothing came in time."""
        self._channel.settimeout(seconds)
        try:
            self._interruptible = True
            if self.finishing:  # the signal came before it could interrupt
                return b""
            packet, descriptors, *_ = socket.recv_fds(self._channel, MAX_PACKET, 1)
            if descriptors:
                self._connection = socket.socket(fileno=descriptors[0])
        except TimeoutError:
            return None
        else:
            return packet
        finally:
            self._interruptible = False

    # --- doing one

    def alarm(self, subject: str, text: str) -> None:
        """The parent says it once for all workers."""
        if subject in self._alarms or len(self._alarms) < MAX_ALARMS:
            self._alarms[subject] = text[:MAX_ALARM]

    def refused(self, text: str) -> None:
        """The parent tells it to those who get the rest of the destination's jobs."""
        self._refusal = text[:MAX_REFUSAL]

    def slower(self, text: str, seconds: float) -> None:
        """The parent keeps to it."""
        self._slower = Slower(text[:MAX_REFUSAL], seconds)

    def lost(self) -> None:
        """See `job.Station`."""
        self._lost, self.order = True, self.order._replace(careful=True)

    def appoint(self, job: Job, seconds: float) -> None:
        """The parent remembers it."""
        if len(self._appointments) < MAX_APPOINTED:
            self._appointments.append(Appointment(job, seconds))

    def counts_for(self, rule: str) -> bool:
        """The parent is told of a pattern that the batch does not count for."""
        counted = self.order.jobs[0].rules
        if rule not in counted and len(self._rules) < MAX_RULES:
            self._rules[rule] = None
        return rule in counted

    def connection_to(self, address: str, port: int) -> socket.socket | None:
        """What the parent has handed over with the batch, if it leads there."""
        host = self.order.host
        if not host or (host.address, host.port) != (address, port):
            return None
        connection, self._connection = self._connection, None
        return connection

    def _drop_connection(self) -> None:
        """It was not needed."""
        if self._connection:
            self._connection.close()
        self._connection = None

    @property
    def watch(self) -> Watch:
        """What a session tells of its phases."""
        return self._watch

    def deadline(self, seconds: float, about: str = "") -> Self:
        """Around the delivery of one group of jobs; not around claiming and settling, which are never interrupted."""
        self._title.about = about
        now = self._clock()
        self._until = now + seconds
        self._report(Phase.RESOLVE, self._host, self._until, now)
        return self

    def __enter__(self) -> None:
        """Into the block of `deadline`."""
        try:
            self._interruptible = True
            self._ring(self._until)
            if self.finishing:
                raise ShutdownRequested
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        """Out of it, and nobody interrupts that: `_interrupt` knows this code."""
        self._interruptible = False
        self._until = _FOREVER
        self._settle(self._host)

    def _settle(self, host: str) -> None:
        now = self._clock()
        self._report(Phase.SETTLE, host, now + LOCAL_PATIENCE, now)

    def _rest(self, host: str) -> None:
        self._report(Phase.IDLE, host, _FOREVER, self._clock())

    def _watch(self, phase: Phase, host: str, seconds: float) -> None:
        now, until = self._clock(), self._until
        if phase > Phase.SEAL:
            until = now + seconds
        elif phase is Phase.SEAL:
            until = min(until, now + LOCAL_PATIENCE)  # that of a message begun behind another has no budget yet
        else:
            if phase is Phase.EHLO:
                self._spoken_with = host
            if self._phase >= Phase.SEAL and self._interruptible:  # on to the next host, with the budget's rest
                self._ring(until)
        self._report(phase, host, until, now)

    def _ring(self, until: float) -> None:
        """Have SIGALRM come no later than that.

        Nobody takes it back when a budget ends: the next one most often ends later, and `_on_alarm` sees to the rest.
        """
        if until < self._rings:
            self._rings = until
            signal.setitimer(signal.ITIMER_REAL, max(0.001, until - self._clock()))

    def _report(self, phase: Phase, host: str, until: float, now: float) -> None:
        self._phase, self._host = phase, host
        self._slot.write(phase, host, until + KILL_GRACE, now)

    # --- signals

    def _on_term(self, _number: int, frame: FrameType | None) -> None:
        """Finish what is begun."""
        self.finishing = True
        if self._phase == Phase.IDLE:
            self._interrupt(ShutdownRequested(), frame)

    def _on_quit(self, _number: int, frame: FrameType | None) -> None:
        """Give back what is not past its final dot."""
        self.finishing = True
        self._interrupt(ShutdownRequested(), frame)

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        now = self._clock()
        hurried = now < self._rings  # the parent's: others wait for this worker
        if not hurried:
            self._rings = _FOREVER
        if hurried or now >= self._until:
            why = ", while others waited for its worker" if hurried else ""
            self._interrupt(DeadlineExceeded(f"the delivery took too long in {self._phase.name}{why}"), frame)
        elif self._until < _FOREVER:
            self._ring(self._until)

    def _interrupt(self, error: BaseException, frame: FrameType | None) -> None:
        leaves = frame is not None and frame.f_code is WorkerStation.__exit__.__code__
        if self._interruptible and self._phase < Phase.SEAL and not leaves:
            self._interruptible = False
            raise error
