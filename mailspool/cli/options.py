# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What every command takes and how it ends: `-c FILE`, `-o KEY=VALUE`, and an error's own exit code."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from mailspool.errors import MailspoolError
from mailspool.spool import Spool


def configured(command: Callable[..., int | None]) -> Callable[..., None]:
    """Give a command the options -c and -o, and the spool that they describe as its first argument.

    What it returns is the exit code. A MailspoolError is said in its own words, and its exit code taken.
    """

    @click.option("-c", "--config", metavar="FILE", help="Read this configuration file.")
    @click.option("-o", "--option", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one option.")
    @wraps(command)
    def run(*, config: str | None, overrides: tuple[str, ...], **arguments: Any) -> None:
        try:
            code = command(Spool.from_config(config, overrides), **arguments)
        except MailspoolError as error:
            complain(error)
            code = error.exit_code
        sys.exit(code or 0)

    return run


def complain(error: MailspoolError) -> None:
    """Say on standard error what went wrong, one fault a line."""
    program = click.get_current_context().find_root().info_name
    for line in str(error).splitlines():
        click.echo(f"{program}: {line}", err=True)
