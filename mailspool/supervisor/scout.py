# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The scout: tries the hosts of strangers, hundreds at a time, so that who never speaks costs no worker.

A service. The parent asks it about one job of a destination; it answers what the search found there, and with a host
that speaks comes the connection to it. One thread goes on with all of them, since all that they do is wait.
Nothing depends on the scout: what it was asked when it dies, and what it cannot tell, goes to a worker untried.
"""

import _thread
import fcntl
import select
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

import msgspec

from mailspool.log import get_logger
from mailspool.model.target import Host
from mailspool.model.wait import Steps, Wait
from mailspool.supervisor.job import Job
from mailspool.supervisor.loop import Loop

MAX_ASKED = 250
"""Questions at a time, each with two sockets or a thread; the usual limit of 1024 open files has room for them."""

MAX_BEGUN = 20
"""Questions, until those that were begun before have their turn."""

STACK = 1 << 18
"""Octets of a thread's stack. Those of Python's own calls are not on it."""

DEAF = 10.0
"""Seconds after which it should have answered, or taken each question, to wait for the answer."""

_MAX_PACKET = 1 << 16
_MAX_FOUND = _MAX_PACKET // 2
_FOREVER = float("inf")

log = get_logger()


class Verdict(IntEnum):
    """What was found at a destination."""

    SPEAKS = 0  # a host has greeted, or has just greeted others
    SILENT = 1  # none of its hosts does: nothing is to be tried there for now
    BUSY = 2  # others ask its host already: ask again
    UNKNOWN = 3  # a worker must find out


class Question(NamedTuple):
    """patience: seconds for each answer of a host, for a job that is tried for the first time.

    era: how often an operator has wanted all of it tried; what was silent in an earlier one may speak.
    """

    number: int
    job: Job
    patience: float
    era: int = 0


class Answer(NamedTuple):
    """host: which speaks. refusal, found: how none does, see `Job`. rule: the pattern of hosts that they come under."""

    number: int
    verdict: Verdict
    host: Host | None = None
    refusal: str = ""
    found: bytes = b""
    rule: str = ""


Search = Callable[[Question], Steps[tuple[Answer, socket.socket | None]]]
"""Looks for a host that speaks; with it may come the connection on which its greeting is still to be read."""

_encode = msgspec.msgpack.encode
_decode_question = msgspec.msgpack.Decoder(Question).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Scout:
    """Both ends of the channel. search: runs in the child, many at once."""

    name = "scout"
    to_the_end = False

    def __init__(self, search: Search) -> None:
        self._search = search
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._near.setblocking(False)
        self._unheard_since = 0.0
        self._is_asked = True

    def close(self, *, unlink: bool) -> None:  # noqa: ARG002 - it has no name that could be unlinked
        """Let go of the channel."""
        self._near.close()
        self._far.close()

    # --- in the parent

    def fileno(self) -> int:
        """For a selector: readable when there is an answer."""
        return self._near.fileno()

    def ask(self, question: Question) -> bool:
        """Whether the question could be put: it is not, for now, to who does not listen."""
        try:
            self._near.send(_encode(question))
        except OSError:
            return False
        return True

    def listens(self, now: float) -> bool:
        """Whether it has answered, or taken all that it was asked, lately; if not, it is as good as dead.

        now: monotonic seconds.
        """
        if not struct.unpack("i", fcntl.ioctl(self._near, termios.TIOCOUTQ, bytes(4)))[0]:
            self._unheard_since = 0.0
        elif not self._unheard_since:
            self._unheard_since = now
        elif now - self._unheard_since > DEAF:
            self._unheard_since = 0.0
            return False
        return True

    def answers(self) -> Iterator[tuple[Answer, socket.socket | None]]:
        """Those that have come. The connections are the caller's to close."""
        with suppress(OSError):
            while True:
                packet, descriptors, *_ = socket.recv_fds(self._near, _MAX_PACKET, 1)
                self._unheard_since = 0.0
                yield _decode_answer(packet), socket.socket(fileno=descriptors[0]) if descriptors else None

    # --- in its own child

    def run(self) -> None:
        """Until it is killed: what it has begun is nobody's loss."""
        self._near.close()
        _thread.stack_size(STACK)
        loop = Loop(time.monotonic)
        loop.begin(self._listen(loop))
        while self._is_asked:
            loop.turn()

    def _listen(self, loop: Loop) -> Steps[None]:
        """All questions are taken at once, and begun a few at a time: those before them come to their end meanwhile."""
        taken: deque[bytes] = deque()
        while self._is_asked:
            yield Wait(0.0 if taken else _FOREVER, self._far.fileno(), select.POLLIN)
            with suppress(BlockingIOError):
                while packet := self._far.recv(_MAX_PACKET, socket.MSG_DONTWAIT):
                    taken.append(packet)
                self._is_asked = False
            for _ in range(min(MAX_BEGUN, len(taken))):
                loop.begin(self._look(_decode_question(taken.popleft())))

    def _look(self, question: Question) -> Steps[None]:
        try:
            answer, connection = yield from self._search(question)
        except Exception:  # of ours, or of an override that does not like threads
            log.exception("scout failed, a worker finds out", destination=question.job.destination)
            answer, connection = Answer(question.number, Verdict.UNKNOWN), None
        if len(answer.found) > _MAX_FOUND:
            answer = Answer(question.number, Verdict.UNKNOWN)
        with suppress(BrokenPipeError):  # who has asked is gone, or asks another one
            self._answer(answer, connection)

    def _answer(self, answer: Answer, connection: socket.socket | None) -> None:
        if connection is None:
            self._far.send(_encode(answer))
            return
        with connection:
            socket.send_fds(self._far, [_encode(answer)], [connection.fileno()])
