# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspoold`, the daemon: checks its configuration, then runs the supervisor in the background, or in the foreground.

It returns when the supervisor is ready, with 0, or with the error on the terminal and its sysexits.h code.
"""

from collections.abc import Sequence

import click

from mailspool.cli.options import Given, exit_code, located, opened
from mailspool.version import VERSION

_EPILOG = """\b
Signals:
  HUP        read the configuration again; a bad one is refused
  TERM       stop when deliveries have ended, at most after shutdown_timeout
  INT, QUIT  stop at once
  USR1       open the log file anew (for logrotate)
  USR2       write the scoreboard to the log
  TTIN, TTOU one worker more, or less, until the next HUP
  WINCH      pause until the next HUP (ignored at a terminal)

\b
Exit codes:
  0   ready, in the background; or told to stop, in the foreground
  64  the command line makes no sense
  75  already running, or a local fault: unsafe directories, a full disk
  78  the configuration is wrong

\b
Examples:
  mailspoold
  mailspoold --check && mailspoold
  mailspoold -f -o dequeue_dir=/tmp/spool -o run_dir=/tmp/run
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mailspoold")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to standard error.")
@click.option("-t", "--check", is_flag=True, help="Only tell whether it could start, as mailspool check does.")
@located
def mailspoold(given: Given, *, foreground: bool, check: bool) -> int:
    """Deliver what is in the spool, until told to stop.

    It returns when the daemon is ready, or with the reason why it is not. Started by root it becomes the user that
    the configuration names before it reads any mail. mailspool status tells what it does, mailspool doctor what may
    keep it from delivering.
    """
    if check:
        from mailspool.cli.check import examine  # else it would stay in the memory of each of the daemon's processes

        examine(given)
        return 0
    return opened(given).daemon(foreground=foreground)


def main(argv: Sequence[str]) -> int:
    """Do what the command line (without the program's name) says; the exit code."""
    return exit_code(mailspoold, argv, "mailspoold")
