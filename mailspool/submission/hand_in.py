# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a command line of `sendmail` does with a spool: in the caller's own process, or in the listener for another's.

A program's own message, with wishes for each recipient, comes to the listener the same way.

Each fault becomes an exit code of sysexits.h and a line: 0 means durable, and a wrong configuration is no fault of who
hands mail in, so that it is 75 like everything local or unforeseen.
"""

import os
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import msgspec

from mailspool.errors import ConfigError, InputError, MailspoolError, NoSuchUser, SpoolError, UsageError
from mailspool.log import record
from mailspool.message.message import Message
from mailspool.message.parse import parse_message
from mailspool.model.address import control_character
from mailspool.model.envelope import Envelope, Recipient
from mailspool.submission import client
from mailspool.submission.arguments import Options, parse_arguments
from mailspool.submission.client import Answer
from mailspool.submission.prepare import Login, header_recipients, login

if TYPE_CHECKING:
    from mailspool.submission.mailer import Mailer

_ERRORS = {error.exit_code: error for error in (UsageError, InputError, NoSuchUser)}


def hand_in(mailer: "Mailer", options: Options, me: Login, name: str, file: IO[bytes]) -> str:
    """Send the message in a file as the command line says; returns the queue id. Raises what `send_mail` raises.

    me: whose command line it is. name: the full name that the environment tells, "" for none.
    """
    refuse_nobody(options)
    if options.ignored:
        record("options ignored", "warning", options=f"-{options.ignored}", user=me.name)
    message = parse_message({"filehandle": file if options.ignore_dots else UntilDot(file)})
    in_header = header_recipients(message, mailer.parse_for_address) if options.from_header else []
    name = "" if control_character(name) else name
    return mailer.send_mail(
        to=[*options.recipients, *in_header],
        from_=me.name if options.sender is None else options.sender,
        message=message,
        delivery=options.delivery,
        notify=options.notify,
        ret=options.ret,
        envid=options.envid,
        full_name=options.full_name or (name or me.full_name if options.sender is None else ""),
        login=me,
    )


def refuse_nobody(options: Options) -> None:
    """Raise UsageError if the command line sends to nobody."""
    if not options.addressed:
        raise UsageError("there is no recipient: name one, or read To, Cc and Bcc with -t")


def answer(
    mailer: "Mailer",
    poke: Callable[[], object],
    tell: Callable[[str], str],
    words: Sequence[str],
    uid: int,
    file: IO[bytes],
) -> Answer:
    """In the listener: send somebody's message, wake the supervisor for `sendmail -q`, tell for -bp. Never raises.

    tell: `listing.tell` of the spool. words: see `client.hand_over`. uid: whose they are, as the kernel tells.
    """
    options = Options()
    try:
        if len(words) == 1:
            queue_id = _send(mailer, _HandedOver.decode(words[0]), login(uid), file)
        else:
            options = parse_arguments(words[1:])
            if options.config:
                raise UsageError("what is asked for here is done under the daemon's own configuration")
            if options.mode == "q":
                poke()
                return Answer(0, "", "")
            if options.mode == "p":
                return Answer(0, "", tell("" if uid in {0, os.geteuid()} else login(uid).name))
            if options.mode != "m":
                raise UsageError("only messages are taken here")
            options.delivery = "Deferred"  # the daemon, which is told, begins at once
            queue_id = hand_in(mailer, options, login(uid), words[0] if words else "", file)
    except Exception as error:  # noqa: BLE001  # who waits must hear of it
        if isinstance(error, ConfigError):  # and who can mend it
            record("not accepted", "error", user=login(uid).name, error="; ".join(error.problems))
        return explain(error, options)
    return accepted(queue_id, options)


class _HandedOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of an envelope that was made elsewhere, what is handed over with its message: in JSON."""

    sender: str
    recipients: tuple[Recipient, ...]
    ret: str = ""
    envid: str = ""

    @classmethod
    def decode(cls, text: str) -> "_HandedOver":
        """Raises UsageError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise UsageError(f"what came is no envelope that is handed over: {error}") from None

    def encode(self) -> str:
        """The text that `decode` reads."""
        return msgspec.json.encode(self).decode()


def _send(mailer: "Mailer", handed: _HandedOver, me: Login, file: IO[bytes]) -> str:
    """A message that was prepared elsewhere is prepared again: nothing is taken on trust."""
    return mailer.send_mail(
        to=handed.recipients,
        from_=handed.sender,
        message=parse_message({"filehandle": file}),
        ret=handed.ret,
        envid=handed.envid,
        login=me,
    )


def accepted(queue_id: str, options: Options) -> Answer:
    """What to say of a message that is durable."""
    return Answer(0, queue_id, f"sendmail: accepted as {queue_id}\n" if options.verbose else "")


def explain(error: BaseException, options: Options) -> Answer:
    """What to say of an error, and how to end. With -v a fault of our own is told at length."""
    known = isinstance(error, MailspoolError)
    text = "; ".join(str(error).splitlines())
    said = f"sendmail: {text if known else f'{type(error).__name__}: {text}'}\n"
    if options.verbose and not known:
        from traceback import format_exception  # only for a fault of our own that somebody looks at

        said += "".join(format_exception(error))
    passing = options.mode == "m" and isinstance(error, ConfigError)
    code = MailspoolError.exit_code if passing else getattr(error, "exit_code", MailspoolError.exit_code)
    return Answer(code, "", said)


def hand_over(run_dir: str, dequeue_dir: str, message: Message, envelope: Envelope) -> str:
    """Give a prepared message to the listener; returns the queue id that it has there.

    Raises SpoolError if nobody listens, and what the listener answers: UsageError, InputError, NoSuchUser, SpoolError.
    """
    handed = _HandedOver(envelope.sender, envelope.recipients, envelope.ret, envelope.envid)
    file = os.memfd_create("message")
    try:
        with open(file, "wb", closefd=False) as writer:  # a descriptor
            message.print(writer)
        os.lseek(file, 0, os.SEEK_SET)
        found = client.hand_over(run_dir, [handed.encode()], file)
    except OSError as error:
        raise SpoolError(f"cannot hand the message over: {error.strerror}") from error
    finally:
        os.close(file)
    if found is None:
        raise SpoolError(
            f"{dequeue_dir} may not be written by this user, and nobody takes mail at {client.socket_path(run_dir)}:"
            " is mailspoold running?"
        )
    if found.code:
        raise _ERRORS.get(found.code, SpoolError)(found.text.removeprefix("sendmail: ").rstrip("\n"))
    return found.queue_id


class UntilDot:
    """A binary file that ends before a line with nothing but a dot in it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at_start = True
        self._ended = False

    def read(self, size: int) -> bytes:
        """About `size` octets (3 or more: a line must show its end), b"" at the end."""
        text = bytearray()
        while len(text) < size and not self._ended:
            line = self._file.readline(size)
            self._ended = not line or (self._at_start and line in {b".\n", b".\r\n", b"."})
            self._at_start = line.endswith(b"\n")
            if not self._ended:
                text += line
        return bytes(text)
