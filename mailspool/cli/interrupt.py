# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Ctrl-C: a command ends at it without a word, and is seen to have died of it, so that a shell's loop ends as well.

As long as there is nothing to be put right, while it still loads, it dies at once; later as a `KeyboardInterrupt`
that passes all that clears up behind itself. Who ignores the signal goes on ignoring it.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

EXIT_CODE = 128 + signal.SIGINT
"""What a shell makes of it."""


def end_at_once() -> None:
    """From now on an interrupt ends the process, and nothing else is done."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def clearing_up() -> Iterator[None]:
    """Within it an interrupt is a KeyboardInterrupt, where outside it would be the end."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        end_at_once()


def die() -> int:
    """Of the interrupt. It returns, with the exit code that is left to say so, only where the signal is blocked."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    end_at_once()
    signal.raise_signal(signal.SIGINT)
    return EXIT_CODE
