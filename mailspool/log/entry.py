# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One event of the log, and its forms: a line of text, a line of JSON. Each is one line, whatever its fields hold.

Pure: an entry bears its own time. No form ever holds a control character, nor what could turn a line around.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, NamedTuple

MAX_CHARACTERS = 2000  # of a text, of up to four octets each: syslogd takes 8 KiB
MAX_OCTETS = 8000  # of a JSON line, for the same reason

_PREFIXES = {"warning": "warning: ", "error": "error: ", "critical": "fatal: "}
# Control characters end or rewrite a line, bidirectional marks turn it around, surrogates cannot be encoded.
_HARMFUL = "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_ONE_WORD = r'[^\s"]+'

Event = MutableMapping[str, Any]
Get = Callable[..., Any]


class Entry(NamedTuple):
    """One event. ident: "mailspool/worker". time: Unix seconds. text: as `render` has it. fields: by name, unharmed."""

    level: str
    ident: str
    time: float
    text: str
    fields: Mapping[str, object]

    @property
    def line(self) -> str:
        """As syslogd is given it: `mailspool/worker[4711]: warning: ID: …`."""
        return f"{self.tag}{_PREFIXES.get(self.level, '')}{self.text}"

    @property
    def tag(self) -> str:
        """Who says it (RFC 3164 §4.1.3)."""
        return f"{self.ident}[{os.getpid()}]: "

    @property
    def dated_line(self) -> str:
        """As syslogd writes it into a file: local time (RFC 3339), host, `line`."""
        return f"{_timestamp(self.time)} {os.uname().nodename} {self.line}"

    @property
    def tagged_json(self) -> str:
        """The JSON object where syslogd wants a tag in front."""
        return self.tag + self.json

    @property
    def json(self) -> str:
        """One JSON object in ASCII, of MAX_OCTETS at most; long strings are cut for that."""
        import json  # who writes no JSON does not pay for it

        head = {"time": _timestamp(self.time), "level": self.level, "ident": self.ident, "process": os.getpid()}
        whole = head | {**self.fields} | head  # the head stays in front, and nothing can forge it
        for limit in (MAX_CHARACTERS, 500, 100, 20):
            line = json.dumps({name: _cut(value, limit) for name, value in whole.items()})
            if len(line) <= MAX_OCTETS:
                break
        return line

    def about_the_log(self, text: str) -> "Entry":
        """A warning that goes before this entry."""
        return self._replace(level="warning", text=text, fields={"event": text})


def make_entry(level: str, ident: str, now: float, event: Event) -> Entry:
    """The entry of an event as structlog hands it over; keeps it."""
    error = _exception(event.pop("exc_info")) if "exc_info" in event else ""
    text = render(event)
    if error:
        text, event["exception"] = f"{text}: {_harmless(error)}"[:MAX_CHARACTERS], error
    return Entry(level, ident, now, text, event)


def render(event: Event) -> str:
    """One event's text. "delivery" and "submission" have the forms that analysers know; other fields come behind."""
    form = _FORMS.get(event["event"], _PLAIN)
    line = form.render(event.get)
    if not event.keys() <= form.fields:
        line = " ".join([line, *(f"{key}={_word(value)}" for key, value in event.items() if key not in form.fields)])
    if node_id := event.get("id"):
        line = f"{node_id}: {line}"
    return _harmless(line)[:MAX_CHARACTERS]


class _Form(NamedTuple):
    """How an event is put, and the fields that are told by that, or before it. render: takes the event's `get`."""

    render: Callable[[Get], str]
    fields: frozenset[str]


def _delivery(get: Get) -> str:
    return (
        f"to=<{get('to', '')}>, relay={get('relay') or 'none'}, delay={_number(get('delay', 0))}, "
        f"dsn={get('dsn', '')}, status={get('status', '')} ({get('text', '')})"
    )


def _submission(get: Get) -> str:
    return f"from=<{get('sender', '')}>, size={get('size', 0)}, nrcpt={get('nrcpt', 0)}"


def _plain(get: Get) -> str:
    return str(get("event"))


_HEAD = frozenset({"event", "id"})
_PLAIN = _Form(_plain, _HEAD)
_FORMS = {
    "delivery": _Form(_delivery, _HEAD | {"to", "relay", "delay", "dsn", "status", "text"}),
    "submission": _Form(_submission, _HEAD | {"sender", "size", "nrcpt"}),
}


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _word(value: object) -> str:
    text = _number(value)
    return text if re.fullmatch(_ONE_WORD, text) else '"' + text.replace('"', '\\"') + '"'


def _cut(value: object, limit: int) -> object:
    """What JSON has a type of its own for stays as it is."""
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)[:limit]


def _harmless(line: str) -> str:
    return line if line.isprintable() else re.sub(_HARMFUL, _escape, line)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _exception(given: object) -> str:
    """What was raised and, innermost first, where."""
    error = sys.exception() if given is True else given[1] if isinstance(given, tuple) else given
    if not isinstance(error, BaseException):
        return ""
    places, frame = [], error.__traceback__
    while frame:
        places.append(f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}")  # noqa: PTH119 no pathlib for `sendmail`
        frame = frame.tb_next
    return f"{type(error).__name__}: {error} ({' < '.join(reversed(places))})"


def _timestamp(when: float) -> str:
    second, zone = _second(int(when))
    return f"{second}.{int(when % 1 * 1e6):06d}{zone}"


@lru_cache(1)  # a worker writes a thousand lines within one
def _second(when: int) -> tuple[str, str]:
    """The local time, and its zone as RFC 3339 has it."""
    local = time.localtime(when)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{zone[:3]}:{zone[3:]}"
