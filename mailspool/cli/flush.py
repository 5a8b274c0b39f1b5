# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`sendmail -q…` and `-bd`: what waits is tried now. The daemon itself is a program of its own, mailspoold."""

import sys
from collections.abc import Callable

from mailspool import log
from mailspool.cli import nodes, running, steps
from mailspool.config.units import SECONDS
from mailspool.errors import ControlForbidden, NotRunning, SpoolError, SpoolForbidden, UsageError
from mailspool.spool import Spool
from mailspool.store.base import State
from mailspool.store.filesystem import FileStore
from mailspool.submission import client
from mailspool.submission.arguments import Options

_Text = Callable[[nodes.Entry], str]
_SELECTORS: dict[str, _Text] = {
    "I": lambda entry: nodes.message_id(entry.at),
    "R": lambda entry: entry.recipient,
    "S": lambda entry: entry.envelope.sender if entry.envelope else "",
}
"""Where the text behind -qI, -qR and -qS is looked for."""


def run_queue(options: Options) -> int:
    """-q: a look into every tier. -qI, -qR, -qS with a text: nodes whose ID, recipient or sender holds it are due now.

    -q15m is the daemon's business.
    """
    what, text = options.mode[1:2], options.mode[2:]
    if what in {"", "f"} and not text:
        return _look(_spool(options))
    if what in _SELECTORS and text and not text.startswith("!"):
        _make_due(_spool(options), _SELECTORS[what], text.lower())
        return 0
    if what.isdecimal() or what in {"p", *SECONDS}:
        return be_daemon(options)
    raise UsageError(f"-{options.mode}: there are -q, -qItext, -qRtext and -qStext")


def _look(spool: Spool) -> int:
    """By the daemon, where one runs: its limits hold, and no host keeps us. Who may not look into the spool, pokes."""
    try:
        if isinstance(spool.store, FileStore):
            spool.store.check()
    except SpoolForbidden:
        return _poke(spool)
    try:
        running.look(spool)
    except (NotRunning, ControlForbidden):
        spool.dequeue()
    return 0


def _poke(spool: Spool) -> int:
    """As in Postfix, anybody may have the queue looked at; the listener, which may, is asked to. Raises NotRunning."""
    answer = client.ask(spool.settings.run_dir, "-q")
    if answer is None:
        raise NotRunning(f"nobody answers at {client.socket_path(spool.settings.run_dir)}: is mailspoold running?")
    sys.stderr.write(answer.text)
    return answer.code


def be_daemon(options: Options) -> int:
    """-bd and -q15m: mailspoold is the daemon. Raises NotRunning if it does not run, ControlForbidden."""
    try:
        running.status(_spool(options))
    except NotRunning:
        raise NotRunning("the daemon is a program of its own: start mailspoold") from None
    sys.stderr.write("sendmail: mailspoold is running; it looks at the spool every dequeue_timeout\n")
    return 0


def _make_due(spool: Spool, where: _Text, text: str) -> None:
    """A node that moves on meanwhile is being tried."""
    store = nodes.existing(spool)
    queued = [at for at in nodes.once(store.locations()) if at.state is State.QUEUED]
    for entry in nodes.read(store, queued):
        if text in where(entry).lower():
            try:
                steps.make_due(spool, entry.at)
            except SpoolError as error:
                sys.stderr.write(f"sendmail: {error}\n")
    try:
        running.look(spool)
    except (NotRunning, ControlForbidden) as error:
        sys.stderr.write(f"sendmail: they are due, but {error}\n")


def _spool(options: Options) -> Spool:
    spool = Spool.from_config(options.config)
    log.configure(stream="quiet", **spool.settings.log_options)
    return spool
