# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Every event as one line, to syslog's mail facility or elsewhere, in the form that log analysers know.

`mailspool/worker[4711]: ID: to=<joe@example.org>, relay=…, delay=…, dsn=2.0.0, status=sent (250 OK)`. No line
ever holds a control character, no reader of the log can hold up a delivery, and no fault of the log is raised.

`get_logger` gives a structlog logger; `record` writes the same lines without loading structlog, for `sendmail`.
An embedding program's own use of structlog and logging is left alone.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from mailspool.log.entry import Entry, Event, make_entry
from mailspool.log.writer import SEVERITIES, Form, LogFile, Nowhere, Stderr, Syslog, Writer

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

SYSLOG_SOCKET = "/dev/log"

Stream = Literal["syslog", "quiet", "stderr", "journal"]
"""syslog: a daemon's, standard error where nobody listens; quiet: syslog or nothing, for who only hands mail in."""

_ident = "mailspool"
_threshold = SEVERITIES["info"]
_clock = time.time

_FORMS: dict[str, tuple[Form, Form, Form]] = {
    "text": ("line", "line", "dated_line"),
    "json": ("tagged_json", "json", "json"),
}
"""What lines look like in syslog, on standard error, in a file."""


def _chain(stream: Stream, path: str, forms: tuple[Form, Form, Form], file: str) -> Writer:
    """The writer, with those behind it that take the lines while it cannot."""
    in_syslog, on_stderr, in_file = forms
    stderr = Stderr(on_stderr)
    if file:
        return LogFile(file, in_file, Syslog(path, in_syslog, Nowhere() if stream == "quiet" else stderr))
    if stream == "journal":
        from mailspool.log.journal import Journal  # only under systemd

        return Journal(stderr)
    if stream == "stderr":
        return stderr
    return Syslog(path, in_syslog, Nowhere() if stream == "quiet" else stderr)


_make_writer: Callable[[], Writer] = partial(_chain, "quiet", SYSLOG_SOCKET, _FORMS["text"], "")
_writer = _make_writer()


def configure(
    level: str = "info",
    stream: Stream = "syslog",
    ident: str = "mailspool",
    path: str = SYSLOG_SOCKET,
    *,
    form: str = "text",
    file: str = "",
) -> None:
    """Log this process's lines of `level` and above under `ident`. Loggers that are already held follow.

    file: where lines go instead of `stream`; to syslog while it cannot be written. form: "text" or "json"; in the
    journal each field has its own place anyway. path: syslogd's socket.
    """
    global _threshold, _make_writer  # noqa: PLW0603 a process has one log
    _threshold = SEVERITIES[level]
    _make_writer = partial(_chain, stream, path, _FORMS[form], file)
    _begin(ident)


def reopen(ident: str = "") -> None:
    """Have the next line open anew what it goes to: at USR1, after logrotate. A signal handler may call it.

    ident: in a new child, its own name; it begins with no drops.
    """
    if ident:
        _begin(ident)
    else:
        _writer.close()


def _begin(ident: str) -> None:
    global _ident, _writer  # noqa: PLW0603 a process has one log
    _ident = ident
    _writer.close()
    _writer = _make_writer()


def drops() -> int:
    """How many lines this process could not get rid of."""
    return _writer.drops


def shows(level: str) -> bool:
    """Whether lines of that level are written: for who would have to make them first."""
    return SEVERITIES[level] <= _threshold


def record(event: str, level: str = "info", **fields: object) -> None:
    """Write one event, as `get_logger().info(event, **fields)` does, without structlog."""
    if shows(level):
        _writer.write(make_entry(level, _ident, _clock(), {"event": event, **fields}))


def get_logger() -> "FilteringBoundLogger":
    """A structlog logger, good for the life of the process, also across `configure`."""
    structlog = _structlog()
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(),
        processors=[_finish],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        cache_logger_on_first_use=True,
    )
    return logger


def _structlog() -> ModuleType:
    """The module, loaded when first asked for: `sendmail` does without.

    For its console, which is not used here, it would load rich, which commands draw tables with, and pygments: 6 MB in
    each of the daemon's processes.
    """
    before = sys.modules.get("rich")
    if before is None:
        sys.modules["rich"] = None  # type: ignore[assignment] # as the import system says that there is none
    try:
        import structlog
    finally:
        if before is None:
            del sys.modules["rich"]
    return structlog


def _finish(_logger: object, level: str, event: Event) -> tuple[tuple[Entry], dict[str, object]]:
    """The one structlog processor."""
    if not shows(level):
        from structlog import DropEvent  # loaded long since

        raise DropEvent
    return (make_entry(level, _ident, _clock(), event),), {}


class _Lines:
    """What structlog hands its finished entries to."""

    def debug(self, entry: Entry) -> None:
        _writer.write(entry)

    info = warning = error = critical = debug
