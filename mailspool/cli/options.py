# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What every command takes and how it ends: `-c FILE`, `-o KEY=VALUE`, and an error's own exit code."""

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from mailspool import log
from mailspool.cli import interrupt
from mailspool.errors import MailspoolError, UsageError
from mailspool.spool import Spool

_USAGE = 2  # what click ends with, where sysexits.h has EX_USAGE
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Given(NamedTuple):
    """What the command line says of the configuration: its file, None for the usual one, and overrides of it."""

    config: str | None = None
    overrides: tuple[str, ...] = ()


def takes_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options -c and -o, as the arguments `config` and `overrides`."""
    command = click.option(
        "-o", "--option", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one option."
    )(command)
    return click.option(
        "-c",
        "--config",
        metavar="FILE",
        callback=_absolute,
        help="Read this file and conf.d beside it; else $MAILSPOOL_CONFIG or /etc/mailspool/mailspool.toml.",
    )(command)


def exits(command: Callable[..., int | None]) -> Callable[..., None]:
    """What the command returns is the exit code. A MailspoolError is said in its own words, and its exit code taken."""

    @wraps(command)
    def run(*given: Any, **arguments: Any) -> None:
        try:
            code = command(*given, **arguments)
        except MailspoolError as error:
            for line in str(error).splitlines():  # a fault each
                say(line)
            code = error.exit_code
        if code or not click.get_current_context().invoked_subcommand:  # a group goes on with what was named behind it
            sys.exit(code or 0)

    return run


def located(command: Callable[..., int | None]) -> Callable[..., None]:
    """Give a command the options -c and -o, and what they say, `Given`, as its first argument. It ends as of `exits`.

    Where the command belongs to a group, the group's own -c and -o count too.
    """

    @takes_settings
    @click.pass_context
    @exits
    @wraps(command)
    def run(
        context: click.Context, /, *, config: str | None, overrides: tuple[str, ...], **arguments: Any
    ) -> int | None:
        above = context.find_object(Given) or Given()
        context.obj = given = Given(config or above.config, above.overrides + overrides)
        return command(given, **arguments)

    return run


def configured(command: Callable[..., int | None]) -> Callable[..., None]:
    """As `located`, but the first argument is the spool that the configuration describes."""

    @located
    @wraps(command)
    def run(given: Given, /, **arguments: Any) -> int | None:
        return command(opened(given), **arguments)

    return run


def opened(given: Given) -> Spool:
    """The spool that the configuration describes. Raises ConfigError."""
    spool = Spool.from_config(*given)
    log.configure(stream="quiet", **spool.settings.log_options)
    return spool


def read_by(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A click callback: the option's value, or each of its values, as `parse` reads it; its ValueError is told."""

    def read(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        try:
            return tuple(map(parse, value)) if isinstance(value, tuple) else value and parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return read


def examples(*lines: str) -> str:
    """An epilog that shows these command lines."""
    return "\b\n" + "\n".join(("Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)))


def exit_code(command: click.Command, argv: Sequence[str], program: str) -> int:
    """Run a command line (without the program's name); what the process is to end with, unless it is interrupted."""
    try:
        with interrupt.clearing_up():
            return _exit_code(command, argv, program)
    except KeyboardInterrupt:
        return interrupt.die()


def _exit_code(command: click.Command, argv: Sequence[str], program: str) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an address must not be more than the terminal can bear
    try:
        code = _end_of(command, argv, program)
        sys.stdout.flush()
    except OSError as error:  # click minds a reader that leaves early
        if error.filename or error.errno not in _NO_ROOM:
            raise
        code = MailspoolError.exit_code
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter's own last flush fails as well
        click.echo(f"{program}: cannot write to standard output: {error.strerror}", err=True)
    return code


def _end_of(command: click.Command, argv: Sequence[str], program: str) -> int:
    """Raises KeyboardInterrupt, of which click's own mode of a program makes words and the answer "no"."""
    try:
        command.main(list(argv), program, standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code if error.exit_code == _USAGE else error.exit_code
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        click.echo("Aborted!", err=True)
        return 1
    return 0


def say(line: str) -> None:
    """One line on standard error, under the program's name."""
    click.echo(f"{click.get_current_context().find_root().info_name}: {line}", err=True)


def _absolute(_context: click.Context, _parameter: click.Parameter, path: str | None) -> str | None:
    """A daemon leaves the place that a path was relative to."""
    return str(Path(path).absolute()) if path else None
