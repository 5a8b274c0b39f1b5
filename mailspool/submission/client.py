# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Handing a message over to the listener: to a daemon that accepts it in the spool's name, with hardly an import.

The whole message is in a file of its own before anybody is asked, so that the listener never waits for who writes it.
Nothing is said to be accepted that the listener did not say is durable. Where its answer gets lost after the message
was handed over, nobody here knows: who hands it in again may make a second copy.
"""

import _socket  # `socket` itself would cost as much as all the rest
import posix  # `os` too, where it is not there already: in a Python that was started without `site` (-S)
import sys

TYPE_CHECKING = False  # as in `typing`, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Sequence

GREETING = b"mailspool submit 1\n"
"""What the listener says first, when it has time: until then it has taken nothing."""

PATIENCE = 60.0
"""Seconds that a client waits for the greeting, and for each answer but the last."""

ANSWER_PATIENCE = 330.0
"""Seconds that a client waits for the answer; more than `listener.TIME_LIMIT`, after which there will be none."""

LENGTH_OCTETS = 8
IN_MEMORY = 1 << 20  # octets of a message that need not go to a disk before they are handed over

_CHUNK = 1 << 16
_TEMPFAIL = 75
_IN_DOUBT = "the listener went away: the message may have been accepted, or not"


class Answer:
    """What came of it. code: an exit code of sysexits.h. queue_id: "" if there is none. text: for standard error."""

    def __init__(self, code: int, queue_id: str, text: str) -> None:
        self.code, self.queue_id, self.text = code, queue_id, text

    def encode(self) -> bytes:
        """As it is sent."""
        return f"{self.code} {self.queue_id}\n{self.text}".encode(errors="backslashreplace")

    @classmethod
    def decode(cls, raw: bytes) -> "Answer":
        """Raises ValueError if it is none."""
        head, end, text = raw.decode(errors="replace").partition("\n")
        code, _, queue_id = head.partition(" ")
        if not end:
            raise ValueError(raw)
        return cls(int(code), queue_id, text)


def socket_path(run_dir: str) -> str:
    """Where the listener is found."""
    return f"{run_dir}/submit"


def collect(reader: int, until_dot: bool) -> int:
    """A file, already without a name, that holds what can be read: all, or until a line with nothing but a dot in it.

    Returns its descriptor, for the caller to close. Raises OSError.
    """
    file = posix.memfd_create("message")
    try:
        size, end, tail = 0, False, b"\n"
        while not end and (chunk := posix.read(reader, _CHUNK)):
            if size <= IN_MEMORY < size + len(chunk):
                file = _on_disk(file, size)
            size += len(chunk)
            _write(file, chunk)
            if until_dot:
                tail += chunk
                end = b"\n.\n" in tail or b"\n.\r\n" in tail
                tail = tail[-4:]
        posix.lseek(file, 0, 0)
    except BaseException:
        posix.close(file)
        raise
    return file


def hand_over(run_dir: str, words: "Sequence[str]", file: int) -> Answer | None:
    """What the listener makes of a command line and a message; None if there is none, or it has not taken anything.

    words: the sender's full name, or "", then a whole command line of `sendmail`; or one word alone, an envelope as
    `submission.hand_in` writes it. file: a regular file, of which the listener reads all, wherever it stands.
    """
    request = b"\0".join(word.encode(sys.getfilesystemencoding(), "surrogateescape") for word in words)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    taken = False
    try:
        connection.settimeout(PATIENCE)
        connection.connect(socket_path(run_dir))
        if connection.recv(len(GREETING)) != GREETING:
            return None
        connection.sendmsg(
            [len(request).to_bytes(LENGTH_OCTETS, "big")],
            [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, file.to_bytes(4, sys.byteorder))],
        )
        connection.sendall(request)
        taken = True  # it is complete: from here on only an answer tells
        connection.settimeout(ANSWER_PATIENCE)
        return Answer.decode(_read_all(connection))
    except (OSError, ValueError):
        return Answer(_TEMPFAIL, "", _IN_DOUBT) if taken else None
    finally:
        connection.close()


def ask(run_dir: str, *arguments: str) -> Answer | None:
    """What the listener answers to a command line of `sendmail` that hands nothing in; None if there is no listener."""
    nothing = posix.memfd_create("nothing")  # every request comes with a file
    try:
        return hand_over(run_dir, ["", "sendmail", *arguments], nothing)
    finally:
        posix.close(nothing)


def _read_all(connection: _socket.socket) -> bytes:
    answer = b""
    while chunk := connection.recv(_CHUNK):
        answer += chunk
    return answer


def _on_disk(memory: int, size: int) -> int:
    """The same file, in memory no more; where there is no room for it, it stays."""
    try:
        flags = posix.O_RDWR | posix.O_TMPFILE | posix.O_CLOEXEC  # it never has a name
        file = posix.open("/var/tmp", flags, 0o600)  # noqa: S108
    except OSError:
        return memory
    sent = 0
    try:
        while sent < size:
            sent += posix.sendfile(file, memory, sent, size - sent)
    except OSError:
        file, memory = memory, file
    posix.close(memory)
    return file


def _write(file: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[posix.write(file, chunk) :]
