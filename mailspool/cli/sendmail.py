# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`sendmail`, as cron, mutt, git, PHP and the rest call it: a message on standard input is spooled, and only then yes.

Exit codes are those of sysexits.h. 0: the message is durable. 64: wrong arguments, or no recipient. 65: the message or
an address cannot be accepted. 67: there is nobody of that name. 75: anything local or unforeseen, a wrong configuration
included: the caller did its part, and the same message may be sent later. It is `mailq` and `newaliases` too.

Where the daemon runs, its listener accepts the message: that needs hardly an import, no right to write the spool, and
nothing that is installed but this package. So Python may be started without `site` (-S), which finds the rest and
takes a quarter of the time; `setup` installs it so. Who does need the rest loads `site`.
"""

import posix  # not `os`: see `client`
import sys

from mailspool.submission import client
from mailspool.submission.arguments import Options, parse_arguments

TYPE_CHECKING = False  # as in `typing`, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

RUN_DIR = "/run/mailspool"
"""The default of `run_dir` (`config.schema`), where the listener is looked for before any configuration is read."""


def run() -> "NoReturn":
    """`main` for a process of its own, which it ends: at once, for to take apart all that was loaded takes 6 ms."""
    code = main(sys.argv, _environment())
    try:
        if sys.stdout:
            sys.stdout.flush()
    except (OSError, ValueError):  # Python's own end tells of it
        sys.exit(code)
    posix._exit(code)  # noqa: SLF001  # the name that it has


def main(argv: "Sequence[str]", environ: "Mapping[str, str] | None" = None) -> int:
    """Do what the command line says; the exit code.

    argv: the program's name included, as in sys.argv. environ: what os.environ was at the start, if none is given.
    """
    options, environ = Options(), _environment() if environ is None else environ
    try:
        options = parse_arguments(argv)
        if options.mode == "m":
            answer = _hand_over(options, argv, environ) or _hand_in(options, environ)
            _say(answer.text)
            return answer.code
        _find_all()
        return _MODES.get(options.mode[:1], _refuse)(options)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # a caller must get an exit code that means "again"
        _find_all()
        from mailspool.submission.hand_in import explain  # loads much of what is behind it

        answer = explain(error, options)
        _say(answer.text)
        return answer.code


def _environment() -> "dict[str, str]":
    """What os.environ was at the start."""
    encoding = sys.getfilesystemencoding()
    return {
        name.decode(encoding, "surrogateescape"): value.decode(encoding, "surrogateescape")
        for name, value in posix.environ.items()
    }


def _find_all() -> None:
    """Let Python find all that is installed, as it does by itself when it is not started without `site`."""
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()


# --- handing mail in


def _hand_over(options: Options, argv: "Sequence[str]", environ: "Mapping[str, str]") -> client.Answer | None:
    """To the listener; None if there is none, and then standard input is as it was, or what was read of it."""
    run_dir = _usual_run_dir(options, environ)
    if not run_dir or not sys.stdin or not options.addressed:
        return None
    try:
        posix.stat(client.socket_path(run_dir))
    except OSError:
        return None
    file = client.collect(sys.stdin.fileno(), until_dot=not options.ignore_dots)
    answer = client.hand_over(run_dir, [environ.get("NAME", ""), *argv], file)
    if answer is None:
        posix.lseek(file, 0, 0)
        posix.dup2(file, sys.stdin.fileno())
    posix.close(file)
    return answer


def _usual_run_dir(options: Options, environ: "Mapping[str, str]") -> str:
    """Where the daemon's listener is, unless a configuration of the caller's own may say otherwise: then ""."""
    own = any(name.startswith("MAILSPOOL_") and name != "MAILSPOOL_RUN_DIR" for name in environ)
    return "" if own or options.config else environ.get("MAILSPOOL_RUN_DIR", RUN_DIR)


def _hand_in(options: Options, environ: "Mapping[str, str]") -> client.Answer:
    """Into the spool, by ourselves."""
    _find_all()
    import gc

    gc.disable()  # a submission is over within milliseconds; collecting while it imports would take three of them
    from mailspool import log
    from mailspool.errors import UsageError
    from mailspool.submission.hand_in import accepted, hand_in, refuse_nobody  # loads much of what is behind it
    from mailspool.submission.prepare import login

    refuse_nobody(options)  # before a configuration is read
    if not sys.stdin:
        raise UsageError("standard input is closed: the message is read from there")
    from mailspool.spool import Spool

    spool = Spool.from_config(options.config)
    log.configure(stream="quiet", **spool.settings.log_options)
    return accepted(hand_in(spool, options, login(), environ.get("NAME", ""), sys.stdin.buffer), options)


# --- the other modes


def _list_queue(options: Options) -> int:
    from mailspool.cli import interrupt  # only here, as below

    interrupt.end_at_once()  # while what follows loads
    from mailspool.cli.mailq import list_queue

    return list_queue(options.config)


def _speak_smtp(options: Options) -> int:
    from mailspool.cli.stdio import serve  # only here

    return serve(options.config)


def _succeed(_options: Options) -> int:
    return 0


def _verify(options: Options) -> int:
    from mailspool.cli.verify import verify  # only here

    return verify(options)


def _run_queue(options: Options) -> int:
    from mailspool.cli.flush import run_queue  # only here

    return run_queue(options)


def _be_daemon(options: Options) -> int:
    from mailspool.cli.flush import be_daemon  # only here

    return be_daemon(options)


def _refuse(options: Options) -> int:
    from mailspool.errors import UsageError

    raise UsageError(f"-b{options.mode} is not supported: hand in messages as with -bm")


_MODES: "Mapping[str, Callable[[Options], int]]" = {
    "s": _speak_smtp,
    "p": _list_queue,
    "i": _succeed,  # there is no database of aliases to make anew
    "v": _verify,
    "q": _run_queue,
    "d": _be_daemon,
    "D": _be_daemon,
    "h": _succeed,  # there is no database of hosts to print (-bh)
    "H": _succeed,  # or to empty
}


def _say(text: str) -> None:
    """On standard error, whatever has become of it: nobody's not listening may change the exit code."""
    if text and sys.stderr:  # None where the caller has closed it
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):  # `contextlib` is slow to load
            pass
