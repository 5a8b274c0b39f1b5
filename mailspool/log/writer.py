# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Where entries go, each as one line: syslog, a file, standard error. None ever raises or waits for a stopped reader.

A reader that is merely behind is waited for, at most PATIENCE. Once that was in vain nothing waits until a line gets
through again; lines are dropped and counted, and the next one that gets through follows the count. While nobody
is there to read, lines go to another writer, which is told why.
"""

import errno
import os
import select
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from mailspool.log.entry import Entry

if TYPE_CHECKING:
    import socket

FACILITY_MAIL = 2 << 3  # RFC 5424 §6.2.1
SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # RFC 5424 §6.2.1
PATIENCE = 0.05  # seconds

Form = Literal["line", "dated_line", "json", "tagged_json"]
"""Which of an entry's lines is written."""


class Writer:
    """What all have in common. reader: how complaints name it. otherwise: who takes the lines while it is not there."""

    def __init__(self, reader: str, form: Form, otherwise: "Writer | None" = None) -> None:
        self._reader, self._form, self._otherwise = reader, form, otherwise
        self._absent = self._behind = False
        self._untold = self._dropped = 0

    @property
    def drops(self) -> int:
        """How many lines got lost."""
        return self._dropped + (self._otherwise.drops if self._otherwise else 0)

    def write(self, entry: Entry) -> None:
        """Write one line, or count it."""
        try:
            if self._untold:
                self._tell_of_dropped(entry)
            if self._untold or not self._send(entry):
                self._untold += 1
                self._dropped += 1
            self._absent = False
        except OSError as error:
            self._give_up(entry, error.strerror or str(error))

    def close(self) -> None:
        """Let go of what is open; the next line opens it anew. A signal handler may call it in the midst of a write."""
        if self._otherwise:
            self._otherwise.close()

    def _give_up(self, entry: Entry, why: str) -> None:
        if self._otherwise is None:
            self._dropped += 1
            return
        if not self._absent:
            self._otherwise.write(entry.about_the_log(f"no {self._reader} ({why}): lines come here"))
        self._absent = True
        self._otherwise.write(entry)

    def _tell_of_dropped(self, entry: Entry) -> None:
        notice = entry.about_the_log(f"{self._untold} lines dropped: {self._reader} did not take them")
        if self._send(notice):
            self._untold = 0

    def _send(self, entry: Entry) -> bool:
        """False: the reader is there and takes nothing. Raises OSError: it is not there."""
        octets, patience = self._octets(entry), 0.0 if self._behind else PATIENCE
        for last in (False, False, True):  # a reader began anew, or a signal's handler closed it under our hands
            try:
                self._write(octets, patience)
            except (BlockingIOError, TimeoutError):
                break
            except OSError as error:
                self.close()
                if last or isinstance(error, FileNotFoundError):  # who is not there is not there a moment later
                    raise
            else:
                self._behind = False
                return True
        self._behind = True
        return False

    def _octets(self, entry: Entry) -> bytes:
        return f"{getattr(entry, self._form)}\n".encode()

    def _write(self, octets: bytes, patience: float) -> None:
        """Open it if need be, then write all. Raises OSError; BlockingIOError, TimeoutError: the reader is behind."""
        raise NotImplementedError


class Nowhere(Writer):
    """What a program that only hands mail in has for a log where there is no syslog."""

    def __init__(self) -> None:
        super().__init__("log", "line")

    def write(self, _entry: Entry) -> None:
        """Count one line."""
        self._dropped += 1


class Datagrams(Writer):
    """To the Unix socket at `path`, a datagram for each line."""

    def __init__(self, path: str, reader: str, form: Form, otherwise: Writer) -> None:
        super().__init__(reader, form, otherwise)
        self._path = path
        self._socket: socket.socket | None = None

    def _write(self, octets: bytes, patience: float) -> None:
        self._socket = opened = self._socket or self._connect()
        try:
            if opened.gettimeout():  # one that is to wait wants much more room than one line needs (unix_writable)
                opened.settimeout(0)
            opened.send(octets)
        except BlockingIOError:
            if not patience:
                raise
            opened.settimeout(patience)
            opened.send(octets)

    def _connect(self) -> "socket.socket":
        if not os.path.lexists(self._path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        import socket  # who logs nothing, and who has no syslog, does not pay for it

        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(PATIENCE)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:  # noqa: D102 as of each Writer
        opened, self._socket = self._socket, None
        if opened:
            opened.close()
        super().close()


class Syslog(Datagrams):
    """To syslogd, in its mail facility."""

    def __init__(self, path: str, form: Form, otherwise: Writer) -> None:
        super().__init__(path, f"syslog at {path}", form, otherwise)

    def _octets(self, entry: Entry) -> bytes:
        return f"<{FACILITY_MAIL | SEVERITIES[entry.level]}>{getattr(entry, self._form)}".encode()


class Stream(Writer):
    """To a descriptor of its own, which does not block wherever that can be had."""

    _fd = -1
    _is_file = False  # which always has room: to ask for it costs as much as to write
    _torn = b""  # what ends a line of which the reader took only a part

    def _open(self) -> int:
        raise NotImplementedError

    def _write(self, octets: bytes, patience: float) -> None:
        if self._fd < 0:
            self._fd = self._open()
        fd, octets, sent = self._fd, self._torn + octets, 0
        while sent < len(octets):
            try:
                if not (self._is_file or _has_room(fd, patience)):
                    raise BlockingIOError
                sent += os.write(fd, octets[sent:])
            except OSError:
                self._torn = b"\n" if sent else self._torn
                raise
        self._torn = b""

    def close(self) -> None:  # noqa: D102 as of each Writer
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
        super().close()


class LogFile(Stream):
    """To the end of a file, which is opened again after `close`: for logrotate."""

    _is_file = True

    def __init__(self, path: str, form: Form, otherwise: Writer) -> None:
        super().__init__(f"log file {path}", form, otherwise)
        self._path = path

    def _open(self) -> int:
        return open_log_file(self._path)


class Stderr(Stream):
    """To standard error, for a supervisor in the foreground."""

    def __init__(self, form: Form) -> None:
        super().__init__("standard error", form)

    def _open(self) -> int:
        """Of a pipe or a terminal a descriptor of our own: if ours is set not to block, nobody else's is."""
        if sys.stderr is None:  # closed before we were: its number is somebody else's by now
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fd = sys.stderr.fileno()
        mode = os.fstat(fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            with suppress(OSError):  # it may be somebody else's, whose user we are no more
                return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        return os.dup(fd)


def _has_room(fd: int, patience: float) -> bool:
    """Wait for it. Where the descriptor may block, a write after this does not, unless siblings are quicker."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(patience * 1000))


def open_log_file(path: str, flags: int = os.O_CREAT) -> int:
    """A descriptor that appends to a regular file, made if need be. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd
