# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`sendmail`, as cron, mutt, git, PHP and the rest call it: a message on standard input is spooled, and only then yes.

Exit codes are those of sysexits.h. 0: the message is durable. 64: wrong arguments, or no recipient. 65: the message or
an address cannot be accepted. 75: anything local or unforeseen, a wrong configuration included: the caller did its
part, and the same message may be sent later. Options that mean something only to other mail systems are accepted and
do nothing; those that ask for something else than this program does are refused. It is `mailq` and `newaliases` too.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

from mailspool.errors import ConfigError, MailspoolError, UsageError


class Options(NamedTuple):
    """What the command line says.

    mode: the letter behind -b, or "q" and what stands behind -q. sender: None where -f is not given. delivery: as
    `Spool.send_mail` has it. config: path of the configuration file, None for the usual one.
    """

    mode: str = "m"
    recipients: tuple[str, ...] = ()
    from_header: bool = False
    ignore_dots: bool = False
    sender: str | None = None
    full_name: str = ""
    delivery: str = "Deferred"
    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""
    config: str | None = None
    verbose: bool = False


_PROGRAMS = {"mailq": "p", "newaliases": "i"}

_FLAGS = "tivIGUcmnsx"
_VALUED = "fFrCNRVboBhLXODMpeA"  # the value is the rest of the word, or the next one
_ATTACHED = "qd"  # the value is the rest of the word, if there is one

# sendmail's "interactive" keeps what could not be delivered at once, which is our Background; its "background" only
# means that the daemon is told.
_DELIVERY = {"i": "Background"}

_MEANING: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "t": lambda _: {"from_header": True},
    "i": lambda _: {"ignore_dots": True},
    "v": lambda _: {"verbose": True},
    "I": lambda _: {"mode": "i"},
    "f": lambda value: {"sender": value},
    "r": lambda value: {"sender": value},
    "F": lambda value: {"full_name": value},
    "C": lambda value: {"config": value},
    "N": lambda value: {"notify": tuple(value.split(","))},
    "R": lambda value: {"ret": value},
    "V": lambda value: {"envid": value},
    "b": lambda value: {"mode": value},
    "q": lambda value: {"mode": f"q{value}"},
    "o": lambda value: _MEANING_OF_O.get(value[:1], _nothing)(value),
}
_MEANING_OF_O: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "i": lambda _: {"ignore_dots": True},
    "d": lambda value: {"delivery": _DELIVERY.get(value[1:], "Deferred")},
}


def parse_arguments(argv: Sequence[str]) -> Options:
    """The meaning of a command line, the program's name included. Raises UsageError.

    As with sendmail, options end at the first word that is none.
    """
    words = list(argv[1:])
    found: dict[str, Any] = {"mode": _PROGRAMS.get(os.path.basename(argv[0]), "m")}  # noqa: PTH119  # pathlib is slow to load
    for letter, value in _take_options(words):
        found |= _MEANING.get(letter, _nothing)(value)
    return Options(recipients=tuple(words), **found)


def _take_options(words: list[str]) -> Iterator[tuple[str, str]]:
    """(letter, value) of each option, taken off the front of `words`."""
    while words and words[0].startswith("-") and words[0] != "-":
        cluster = words.pop(0)[1:]
        if cluster == "-":
            return
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter in _FLAGS:
                yield letter, ""
                continue
            if letter in _VALUED and not cluster and not words:
                raise UsageError(f"option -{letter} needs a value behind it")
            if letter not in _VALUED + _ATTACHED:
                raise UsageError(f"there is no option -{letter}")
            yield letter, cluster or (words.pop(0) if letter in _VALUED else "")
            cluster = ""


def _nothing(_value: str) -> dict[str, Any]:
    return {}


def main(argv: Sequence[str]) -> int:
    """Do what the command line says; the exit code. argv: the program's name included, as in sys.argv."""
    options = Options()
    try:
        options = parse_arguments(argv)
        return _MODES.get(options.mode, _refuse)(options)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # a caller must get an exit code that means "again"
        _complain(error, options.verbose)
        passing = options.mode == "m" and isinstance(error, ConfigError)
        return MailspoolError.exit_code if passing else getattr(error, "exit_code", MailspoolError.exit_code)


def _submit(options: Options) -> int:
    gc.disable()  # a submission is over within milliseconds; collecting while it imports would take three of them
    from mailspool import log  # `newaliases` and errors need none of these
    from mailspool.message.parse import parse_message
    from mailspool.spool import Spool
    from mailspool.submission.prepare import header_recipients, login

    if not (options.recipients or options.from_header):
        raise UsageError("there is no recipient: name one, or read To, Cc and Bcc with -t")
    spool = Spool.from_config(options.config)
    log.configure(stream="quiet", **spool.settings.log_options)
    me = login()
    message = parse_message({"filehandle": _input(options)})
    in_header = header_recipients(message, spool.parse_for_address) if options.from_header else []
    queue_id = spool.send_mail(
        to=[*options.recipients, *in_header],
        from_=me.name if options.sender is None else options.sender,
        message=message,
        delivery=options.delivery,
        notify=options.notify,
        ret=options.ret,
        envid=options.envid,
        full_name=options.full_name or (me.full_name if options.sender is None else ""),
    )
    if options.verbose:
        _say(f"accepted as {queue_id}")
    return 0


def _list_queue(options: Options) -> int:
    from mailspool.cli.admin import main as admin_main  # only here

    return admin_main(["queue", *(["--config", options.config] if options.config else [])])


def _dequeue(options: Options) -> int:
    from mailspool import log  # only here and in `_submit`
    from mailspool.spool import Spool

    spool = Spool.from_config(options.config)
    log.configure(stream="quiet", **spool.settings.log_options)
    spool.dequeue()
    return 0


def _speak_smtp(options: Options) -> int:
    from mailspool.cli.stdio import serve  # only here

    return serve(options.config)


def _succeed(_options: Options) -> int:
    return 0


def _refuse(options: Options) -> int:
    if options.mode.startswith("q"):
        raise UsageError(f"-{options.mode}: only -q itself is supported; mailspoold looks at the spool regularly")
    if options.mode in {"d", "D"}:
        raise UsageError(f"-b{options.mode}: the daemon is a program of its own, mailspoold")
    raise UsageError(f"-b{options.mode} is not supported yet: hand in messages as with -bm")


_MODES: Mapping[str, Callable[[Options], int]] = {
    "m": _submit,
    "s": _speak_smtp,
    "p": _list_queue,
    "i": _succeed,  # there are no aliases to make anew
    "q": _dequeue,
    "qf": _dequeue,
}


def _input(options: Options) -> Any:
    if sys.stdin is None:
        raise UsageError("standard input is closed: the message is read from there")
    return sys.stdin.buffer if options.ignore_dots else UntilDot(sys.stdin.buffer)


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


def _complain(error: BaseException, verbose: bool) -> None:
    known = isinstance(error, MailspoolError)
    text = "; ".join(str(error).splitlines())
    _say(text if known else f"{type(error).__name__}: {text}")
    if verbose and not known:
        from traceback import format_exception  # only for a fault of our own that somebody looks at

        _say("".join(format_exception(error)))


def _say(text: str) -> None:
    """On standard error, whatever has become of it: nobody's not listening may change the exit code."""
    if sys.stderr:  # None where the caller has closed it: print would then use standard output
        with suppress(OSError, ValueError):
            print(f"sendmail: {text}", file=sys.stderr, flush=True)  # noqa: T201  # this is the program's voice
