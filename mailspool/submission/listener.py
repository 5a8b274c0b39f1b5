# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The listener: takes messages from any user of this host as the spool's user, who alone may write there.

Each client has a child to itself once there is room, under a deadline, so that none waits for another and a fault of
one ends nobody else's. A child that has served one takes the next, as a fork costs more than a message. Until it is
greeted nothing of a client is taken; what is taken is finished after TERM. Who a client is the kernel tells
(SO_PEERCRED). It opens no file that a client names, only reads the one that it hands over.
"""

import contextlib
import os
import selectors
import signal
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from mailspool.log import get_logger, reopen
from mailspool.submission.client import GREETING, LENGTH_OCTETS, Answer, socket_path
from mailspool.supervisor.child import fork_with_channel
from mailspool.supervisor.entrance import Entrance
from mailspool.supervisor.signals import Signals

TIME_LIMIT = 300
"""Seconds for one message; less than `client.ANSWER_PATIENCE`."""

MAX_CHILDREN, MAX_CHILDREN_OF_A_USER = 40, 20
MAX_WAITING, MAX_WAITING_OF_A_USER = 600, 200  # all of them are open files
MAX_REQUEST = 1 << 21  # octets; more than a command line can have (ARG_MAX)

_RETRY = 1.0  # seconds until a fork is tried again
_REST = 5.0  # seconds for which a child may wait for its next client
_CLIENTS = 100  # for one child; then a new one knows users and memory anew
_NEXT = b"!"  # "may I have", and "here is", the next client
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_AT_ONCE = _ENDING - {signal.SIGTERM}
_BROKEN = "what came is no message that is handed over"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))

Accept = Callable[[Sequence[str], int, IO[bytes]], Answer]
"""Words, uid and message to an answer: `submission.hand_in.answer`."""

log = get_logger()


def entrance(run_dir: str) -> Entrance:
    """The socket to which everybody may connect. The supervisor makes it for all its listeners. Raises SpoolError."""
    return Entrance(socket_path(run_dir), 0o666)


class _Client(NamedTuple):
    connection: socket.socket
    uid: int


class _Child:
    """One that serves client after client. channel: to it. uid: of its client; None: it rests, since `rested`."""

    def __init__(self, channel: socket.socket, uid: int) -> None:
        self.channel = channel
        self.uid: int | None = uid
        self.rested = 0.0

    def serve(self, client: _Client) -> None:
        """Give it its next client. Raises OSError if it has died."""
        socket.send_fds(self.channel, [_NEXT], [client.connection.fileno()])
        self.uid = client.uid

    def rest(self, now: float) -> bool:
        """Whether it has said that it is ready for the next one; otherwise it has ended, and SIGCHLD is on its way."""
        with contextlib.suppress(OSError):
            if self.channel.recv(1) == _NEXT:
                self.uid, self.rested = None, now
                return True
        return False


class Listener:
    """The service. accept: what is done with a message, in a child. clock: monotonic seconds.

    Its limits: `MAX_CHILDREN` and the others.
    """

    name = "listener"
    to_the_end = False

    def __init__(self, entrance: Entrance, accept: Accept, clock: Callable[[], float] = time.monotonic) -> None:
        self._entrance, self._accept, self._clock = entrance, accept, clock
        self._children: dict[int, _Child] = {}  # by pid
        self._resting: list[_Child] = []  # those without a client; the last one is the first to have another
        self._waiting: deque[_Client] = deque()

    def close(self, *, unlink: bool) -> None:
        """Let go of the socket."""
        self._entrance.close(unlink=unlink)

    def run(self) -> None:
        """Until TERM; then finish what has come in. INT and QUIT end that too: clients are told to try again."""
        stopping = False
        with Signals() as signals, selectors.DefaultSelector() as self._selector:
            self._selector.register(signals, selectors.EVENT_READ)
            self._open(wanted=True)
            while not (stopping and not self._children and not self._waiting):
                for key, _ in self._selector.select(self._patience()):
                    if key.data and key.data.rest(self._clock()):
                        self._resting.append(key.data)
                for number in signals.take():
                    stopping = stopping or number in _ENDING
                    if number in _AT_ONCE:
                        self._give_up()
                    if number == signal.SIGUSR1:
                        reopen()
                        self._signal(number)
                self._reap()
                if self._is_open:
                    self._take_in()
                self._attend()
                self._dismiss(float("inf") if stopping else self._clock() - _REST)
                self._open(wanted=not stopping and len(self._waiting) < MAX_WAITING)

    def _patience(self) -> float | None:
        """Seconds until there is something to do though nothing is heard."""
        if self._waiting:
            return _RETRY
        return max(0.0, self._resting[0].rested + _REST - self._clock()) if self._resting else None

    _is_open = False

    def _open(self, *, wanted: bool) -> None:
        """Whether to hear of new clients: they wait outside while there are too many inside."""
        if wanted and not self._is_open:
            self._selector.register(self._entrance, selectors.EVENT_READ)
        elif self._is_open and not wanted:
            self._selector.unregister(self._entrance)
        self._is_open = wanted

    # --- clients

    def _take_in(self) -> None:
        """Who waits is told apart by user, so that one user's storm does not keep the others out."""
        while len(self._waiting) < MAX_WAITING:
            try:
                connection, _ = self._entrance.socket.accept()
            except OSError:  # there is nobody else, or no descriptor is free
                return
            client = _Client(connection, _peer_uid(connection))
            if sum(other.uid == client.uid for other in self._waiting) < MAX_WAITING_OF_A_USER:
                self._waiting.append(client)
            else:
                connection.close()

    def _attend(self) -> None:
        """Give each a child who may have one, in their order."""
        for _ in range(len(self._waiting)):
            client = self._waiting.popleft()
            if not self._has_room(client.uid):
                self._waiting.append(client)
            elif self._begin(client):
                client.connection.close()
            else:
                self._waiting.appendleft(client)
                return

    def _has_room(self, uid: int) -> bool:
        of_this_user = sum(child.uid == uid for child in self._children.values())
        room = self._resting or len(self._children) < MAX_CHILDREN
        return bool(room) and of_this_user < MAX_CHILDREN_OF_A_USER

    def _begin(self, client: _Client) -> bool:
        """By a child that rests, or a new one. False if there is no room for a process now."""
        while self._resting:
            with contextlib.suppress(OSError):  # that one has died, and is reaped soon
                self._resting.pop().serve(client)
                return True
        try:
            self._fork(client)
        except OSError as error:
            log.error("cannot fork", error=error.strerror)  # noqa: TRY400  # no fault of ours
            return False
        return True

    def _fork(self, client: _Client) -> None:
        def serve_all(channel: socket.socket) -> None:
            _serve_all(channel, client.connection, self._accept)

        pid, channel = fork_with_channel("listener", serve_all, self._let_go)
        self._children[pid] = child = _Child(channel, client.uid)
        self._selector.register(channel, selectors.EVENT_READ, child)

    def _let_go(self) -> None:
        self._selector.close()
        self._entrance.close(unlink=False)
        for client in self._waiting:
            client.connection.close()
        for child in self._children.values():
            child.channel.close()

    # --- children, and the end

    def _dismiss(self, since: float) -> None:
        """Let those go that have rested since then: they end when they hear that nobody will come."""
        while self._resting and self._resting[0].rested <= since:
            with contextlib.suppress(OSError):  # it has died
                self._resting.pop(0).channel.shutdown(socket.SHUT_WR)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self._children.pop(pid)
            self._selector.unregister(child.channel)
            child.channel.close()
            if child in self._resting:
                self._resting.remove(child)
            if status and child.uid is not None:
                code = os.waitstatus_to_exitcode(status)
                log.error("a message was not taken: its child ended", uid=child.uid, status=code)

    def _give_up(self) -> None:
        """Who has not been greeted has not been taken, and goes elsewhere."""
        self._signal(signal.SIGKILL)
        for client in self._waiting:
            client.connection.close()
        self._waiting.clear()

    def _signal(self, number: int) -> None:
        for pid in self._children:
            os.kill(pid, number)


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


# --- in a child


def _serve_all(channel: socket.socket, connection: socket.socket, accept: Accept) -> None:
    """A client, and then one after the other, until the listener has none for us, or it is time for a new child."""
    for left in reversed(range(_CLIENTS)):
        signal.alarm(TIME_LIMIT)  # its default action cannot be missed
        _serve(connection, accept)
        signal.alarm(0)
        if not left:
            return
        channel.sendall(_NEXT)
        _, clients, _, _ = socket.recv_fds(channel, len(_NEXT), 1)
        if not clients:
            return
        connection = socket.socket(fileno=clients[0])


def _serve(connection: socket.socket, accept: Accept) -> None:
    connection.setblocking(True)  # TIME_LIMIT bounds all of it
    with connection, contextlib.suppress(OSError):  # the client has gone: what it handed over by then, it handed over
        connection.sendall(GREETING)
        try:
            words, file = _receive(connection)
        except ValueError:
            connection.sendall(Answer(64, "", f"sendmail: {_BROKEN}\n").encode())
            return
        with file:
            answer = accept(words, _peer_uid(connection), file)
        connection.sendall(answer.encode())


def _receive(connection: socket.socket) -> tuple[list[str], IO[bytes]]:
    """The words and the file that a client hands over. Raises ValueError."""
    head, files, _, _ = socket.recv_fds(connection, LENGTH_OCTETS, 1)
    if len(head) != LENGTH_OCTETS or not files or not stat.S_ISREG(os.fstat(files[0]).st_mode):
        raise ValueError(_BROKEN)
    file = os.fdopen(files[0], "rb")
    length = int.from_bytes(head, "big")
    if length > MAX_REQUEST:
        raise ValueError(_BROKEN)
    with connection.makefile("rb") as reader:
        request = reader.read(length)
    if len(request) != length:
        raise ValueError(_BROKEN)
    return [os.fsdecode(word) for word in request.split(b"\0")], file
