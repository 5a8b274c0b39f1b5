# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspoold`, the daemon: checks its configuration, then runs the supervisor in the background, or in the foreground.

It returns when the supervisor is ready, with 0, or with the error on the terminal and its sysexits.h code.
"""

from collections.abc import Sequence

import click

from mailspool.cli.options import configured, exit_code
from mailspool.spool import Spool


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to standard error.")
@configured
def mailspoold(spool: Spool, *, foreground: bool) -> int:
    """Deliver what is in the spool, until told to stop.

    Signals: HUP reads the configuration again; TERM stops when deliveries in progress have ended (at most
    shutdown_timeout); INT and QUIT stop at once; USR2 writes the scoreboard to the log.
    """
    return spool.daemon(foreground=foreground)


def main(argv: Sequence[str]) -> int:
    """Do what the command line (without the program's name) says; the exit code."""
    return exit_code(mailspoold, argv, "mailspoold")
