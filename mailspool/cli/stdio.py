# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`sendmail -bs`: an SMTP session on standard input and output, as Symfony, alpine and others open it.

A message is durable before its 250. QUIT and the end of the input both end it with exit code 0; an end in the middle of
content is said on standard error, and is 75: that message was not accepted.
"""

import os
import sys
from contextlib import suppress
from typing import IO

from mailspool.errors import MailspoolError, UsageError
from mailspool.spool import Spool
from mailspool.submission.policy import Limits
from mailspool.submission.reception import Reception
from mailspool.submission.reply import Reply
from mailspool.submission.server import Session, State

_BLOCK = 1 << 16  # octets


def serve(config: str | None) -> int:
    """Have the whole session; the exit code. config: path of the configuration file, None for the usual one.

    Raises UsageError, and MailspoolError for a wrong configuration, which the client is told too.
    """
    if sys.stdin is None or sys.stdout is None:
        raise UsageError("standard input or output is closed: -bs speaks SMTP there")
    try:
        spool = Spool.from_config(config)
    except MailspoolError as error:
        _say(Reply(421, error.status, "the configuration is wrong: see standard error").octets)
        raise MailspoolError(str(error)) from error
    session = Session(Reception(spool, local=True), spool.settings.hostname, Limits(spool.settings.max_message_size))
    try:
        return _converse(session)
    finally:
        session.close()


def _converse(session: Session[IO[bytes]]) -> int:
    typed = os.isatty(0)
    session.begin()
    while _say(session.replies()) and session.state is not State.ENDED:
        octets = os.read(0, _BLOCK)
        if not octets:
            return _hung_up(session)
        session.receive(octets.replace(b"\n", b"\r\n") if typed else octets)  # a person cannot type CRLF
    return 0


def _hung_up(session: Session[IO[bytes]]) -> int:
    if session.state is State.CONTENT:
        raise MailspoolError("the input ended in a message, which is not accepted: it ends with CRLF, a dot, CRLF")
    return 0


def _say(octets: bytes) -> bool:
    """Whether the client was there to read it."""
    with suppress(BrokenPipeError):
        while octets:
            octets = octets[os.write(1, octets) :]
        return True
    return False
