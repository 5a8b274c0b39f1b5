# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whatever a caller calls a message, as a `Message`: text, bytes, lines, an email object, a file, the name of a file.

A file is read as it is needed and never held as a whole. A line that has
newlines in it is more lines, and nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from mailspool.errors import InputError, MailspoolError, UsageError
from mailspool.message.message import Message

CHUNK_OCTETS = 1 << 16


def parse_message(args: Mapping[str, Any]) -> Message:
    """The message in `args`: the first of these that is there and not None.

    message: str (encoded as UTF-8), bytes, a list of lines (with or without line ends), a `Message`, an
      `email.message.Message`, or an object with one of `as_bytes()`, `__bytes__()`, `print(file)`, or both of
      `header()` and `body()`, which return lists of lines.
    filehandle: an open file, binary or text, read from where it stands.
    filename: the path of a file.

    Raises UsageError if there is none or it is none of these, InputError if its header cannot be accepted.
    """
    if args.get("message") is not None:
        given = args["message"]
        return given if isinstance(given, Message) else Message(_chunks(given))
    if args.get("filehandle") is not None:
        return Message(_read(args["filehandle"]))
    if args.get("filename"):
        return Message(_read_named(args["filename"]))
    raise UsageError("there is no message: give one as message=, filehandle= or filename=")


def _chunks(given: Any) -> Iterable[bytes]:
    match given:
        case str() | bytes() | bytearray() | memoryview():
            return _pieces(_to_bytes(given))
        case list() | tuple():
            return map(_line, given)
        case object(header=header, body=body) if callable(header) and callable(body):
            return map(_line, [*header(), "", *body()])
        case object(print=write) if callable(write):
            sink = _Sink()
            write(sink)
            return sink
    return _pieces(_serialise(given))


def _serialise(given: Any) -> bytes:
    match given:
        case object(as_bytes=as_bytes, policy=policy):
            return bytes(as_bytes(policy=policy.clone(linesep="\r\n")))
        case object(as_bytes=as_bytes):
            return bytes(as_bytes())
        case object(__bytes__=_):
            return bytes(given)
    raise UsageError(
        f"a {type(given).__name__} is no message: give str, bytes, a list of lines, an email.message.Message,"
        " or an object with as_bytes(), print(file), or header() and body()"
    )


class _Sink(list[bytes]):
    """What an object's own `print(file)` writes into."""

    def write(self, text: str | bytes) -> int:
        self.append(_to_bytes(text))
        return len(text)


def _to_bytes(text: Any) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise InputError(f"the message holds {text[error.start]!r}, which is no character: remove it") from None


def _line(line: str | bytes) -> bytes:
    raw = _to_bytes(line)
    return raw if raw.endswith(b"\n") else raw + b"\n"


def _pieces(whole: bytes) -> Iterator[bytes]:
    return (whole[start : start + CHUNK_OCTETS] for start in range(0, len(whole), CHUNK_OCTETS))


def _read_named(filename: Any) -> Iterator[bytes]:
    try:
        file = open(filename, "rb")  # noqa: PTH123, SIM115  # pathlib is slow to load; closed below
    except OSError as error:
        raise UsageError(f"cannot open the message file {filename!r}: {error.strerror}") from error
    with file:
        yield from _read(file)


def _read(file: IO[bytes] | IO[str]) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK_OCTETS):
            yield _to_bytes(chunk)
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read the message as text ({error}): open its file in binary mode") from error
    except OSError as error:
        raise MailspoolError(f"cannot read the message: {error.strerror}") from error
