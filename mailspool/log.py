# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Every event as one line to syslog's mail facility, in the form that log analysers know from other mail systems.

`mailspool/worker[4711]: ID: to=<joe@example.org>, relay=…, delay=…, dsn=2.0.0, status=sent (250 OK)`. No line
ever holds a control character, no reader of the log can hold up a delivery, and no fault of the log is raised.

`get_logger` gives a structlog logger; `record` writes the same lines without loading structlog, for `sendmail`.
An embedding program's own use of structlog and logging is left alone.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import socket

    from structlog.typing import FilteringBoundLogger

SYSLOG_SOCKET = "/dev/log"
FACILITY_MAIL = 2 << 3  # RFC 5424 §6.2.1
SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # RFC 5424 §6.2.1
MAX_CHARACTERS = 2000  # of up to four octets each: syslogd takes 8 KiB
PATIENCE = 0.05  # seconds

_PREFIXES = {"warning": "warning: ", "error": "error: ", "critical": "fatal: "}
# Control characters end or rewrite a line, bidirectional marks turn it around, surrogates cannot be encoded.
_HARMFUL = "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_ONE_WORD = r'[^\s"]+'

Event = MutableMapping[str, Any]
Stream = Literal["syslog", "stderr"]


# --- where lines go


class Writer(Protocol):
    """Takes whole lines, never raises, and counts those that it had to drop."""

    @property
    def drops(self) -> int: ...  # noqa: D102 the class says it

    def write(self, level: str, text: str) -> None: ...  # noqa: D102 the class says it


class Stderr:
    """Standard error, for a supervisor in the foreground. A reader that stops is waited for: it is the operator's."""

    drops = 0

    def write(self, level: str, text: str) -> None:
        """Write one line."""
        try:
            sys.stderr.write(_line(level, text) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # broken, closed, or there never was one
            self.drops += 1


class Nowhere:
    """What a program that only hands mail in has for a log where there is no syslog."""

    drops = 0

    def write(self, _level: str, _text: str) -> None:
        """Count a line."""
        self.drops += 1


class Syslog:
    """Datagrams to syslogd, which may be behind, stopped, restarted or absent.

    A reader that is merely behind is waited for, at most PATIENCE. Once that was in vain nothing waits until a
    line gets through again; lines are dropped and counted, and the next one that gets through follows the count.
    While nobody listens at `path`, lines go to `otherwise`, which is told why.
    """

    def __init__(self, path: str, otherwise: Writer) -> None:
        self._path, self._otherwise = path, otherwise
        self._socket: socket.socket | None = None
        self._absent = False
        self._untold = self._dropped = 0

    @property
    def drops(self) -> int:
        """How many lines got lost."""
        return self._dropped + self._otherwise.drops

    def write(self, level: str, text: str) -> None:
        """Write one line."""
        try:
            self._send_or_drop(level, text)
            self._absent = False
        except OSError as error:
            if not self._absent:
                self._otherwise.write("warning", f"no syslog at {self._path} ({error.strerror}): lines come here")
            self._absent = True
            self._otherwise.write(level, text)

    def _send_or_drop(self, level: str, text: str) -> None:
        if self._untold and self._send("warning", f"{self._untold} lines dropped: syslogd did not take them"):
            self._untold = 0
        if self._untold or not self._send(level, text):
            self._untold += 1
            self._dropped += 1

    def _send(self, level: str, text: str) -> bool:
        """False: the reader is there and takes nothing. Raises OSError: it is not there."""
        data = f"<{FACILITY_MAIL | SEVERITIES[level]}>{_line(level, text)}".encode()
        taken = self._put(data)
        if self._socket:
            self._socket.settimeout(PATIENCE if taken else 0)
        return taken

    def _put(self, data: bytes) -> bool:
        for last in (False, True):  # a socket whose syslogd was restarted fails once, a fresh one does not
            try:
                self._socket = self._socket or self._connect()
                self._socket.send(data)
            except (BlockingIOError, TimeoutError):
                return False
            except OSError:
                self._close()
                if last:
                    raise
            else:
                return True
        return False

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

    def _close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


# --- this process's log

_ident = "mailspool"
_threshold = SEVERITIES["info"]
_make_writer: Callable[[], Writer] = lambda: Syslog(SYSLOG_SOCKET, Nowhere())  # noqa: E731 replaced by `configure`
_writer = _make_writer()


def configure(
    level: str = "info",
    stream: Stream = "syslog",
    ident: str = "mailspool",
    path: str = SYSLOG_SOCKET,
) -> None:
    """Log this process's lines of `level` and above under `ident`. Loggers that are already held follow.

    stream: "syslog" falls back to standard error while nobody listens at `path`.
    """
    global _threshold, _make_writer  # noqa: PLW0603 a process has one log
    _threshold = SEVERITIES[level]
    _make_writer = Stderr if stream == "stderr" else lambda: Syslog(path, Stderr())
    reopen(ident)


def reopen(ident: str = "") -> None:
    """Begin afresh, with no drops: when asked to (USR1), and in a new child, under its own name."""
    global _ident, _writer  # noqa: PLW0603 a process has one log
    _ident = ident or _ident
    _writer = _make_writer()


def drops() -> int:
    """How many lines this process could not get rid of."""
    return _writer.drops


def record(event: str, level: str = "info", **fields: object) -> None:
    """Write one event, as `get_logger().info(event, **fields)` does, without structlog."""
    if SEVERITIES[level] <= _threshold:
        _writer.write(level, render({"event": event, **fields}))


def get_logger() -> "FilteringBoundLogger":
    """A structlog logger, good for the life of the process, also across `configure`."""
    import structlog  # `sendmail` does without

    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(),
        processors=[_finish],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        cache_logger_on_first_use=True,
    )
    return logger


def _finish(_logger: object, level: str, event: Event) -> tuple[tuple[str, str], dict[str, object]]:
    """The one structlog processor."""
    if SEVERITIES[level] > _threshold:
        from structlog import DropEvent  # loaded long since

        raise DropEvent
    return (level, render(event)), {}


class _Lines:
    """What structlog hands its finished lines to."""

    def debug(self, level: str, text: str) -> None:
        _writer.write(level, text)

    info = warning = error = critical = debug


# --- what lines look like


def render(event: Event) -> str:
    """One event's line without ident. Takes the event apart. "delivery" and "submission" have the known forms."""
    name, node_id = event.pop("event"), event.pop("id", "")
    error = _exception(event.pop("exc_info", None))
    parts = [_FORMS[name](event) if name in _FORMS else str(name)]
    parts += [f"{key}={_word(value)}" for key, value in event.items()]
    line = " ".join(parts) + error
    if node_id:
        line = f"{node_id}: {line}"
    return (line if line.isprintable() else re.sub(_HARMFUL, _escape, line))[:MAX_CHARACTERS]


def _delivery(event: Event) -> str:
    to, relay, delay = event.pop("to", ""), event.pop("relay", "") or "none", event.pop("delay", 0)
    dsn, status, text = event.pop("dsn", ""), event.pop("status", ""), event.pop("text", "")
    return f"to=<{to}>, relay={relay}, delay={_number(delay)}, dsn={dsn}, status={status} ({text})"


def _submission(event: Event) -> str:
    return f"from=<{event.pop('sender', '')}>, size={event.pop('size', 0)}, nrcpt={event.pop('nrcpt', 0)}"


_FORMS = {"delivery": _delivery, "submission": _submission}


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _word(value: object) -> str:
    text = _number(value)
    return text if re.fullmatch(_ONE_WORD, text) else '"' + text.replace('"', '\\"') + '"'


def _exception(given: object) -> str:
    """What was raised and, innermost first, where."""
    error = sys.exception() if given is True else given[1] if isinstance(given, tuple) else given
    if not isinstance(error, BaseException):
        return ""
    places, frame = [], error.__traceback__
    while frame:
        places.append(f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}")  # noqa: PTH119 no pathlib for `sendmail`
        frame = frame.tb_next
    return f": {type(error).__name__}: {error} ({' < '.join(reversed(places))})"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _line(level: str, text: str) -> str:
    return f"{_ident}[{os.getpid()}]: {_PREFIXES.get(level, '')}{text}"
