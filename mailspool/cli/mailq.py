# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailq` and `sendmail -bp`: `mailspool queue` for who may look into the spool, for everybody else the own nodes.

Those the daemon's listener tells, to whom the kernel says who asks. Without a daemon `mailspool queue` refuses.
"""

import sys

import msgspec

from mailspool.cli import nodes, terminal
from mailspool.cli.admin import main as admin_main
from mailspool.cli.queue import as_text, in_all
from mailspool.errors import MailspoolError, SpoolForbidden
from mailspool.spool import Spool
from mailspool.submission import client
from mailspool.submission.listing import Seen, understand


def list_queue(config: str | None) -> int:
    """The exit code. config: the path of a configuration file."""
    spool = _forbidden(config)
    seen = _own(spool) if spool else None
    if spool is None or seen is None:
        return admin_main(["queue", *(["--config", config] if config else [])])
    entries = [nodes.Entry(each.at, each.envelope, each.trouble) for each in seen]
    width = terminal.columns()
    sys.stdout.writelines(in_all([as_text(entries, spool.now(), width)], width, "Mail queue is empty"))
    return 0


def _forbidden(config: str | None) -> Spool | None:
    """The spool, if it is one that we may not look into."""
    spool = None
    try:
        spool = Spool.from_config(config)
        nodes.existing(spool)
    except SpoolForbidden:
        return spool
    except MailspoolError:  # which `mailspool queue` will tell of
        pass
    return None


def _own(spool: Spool) -> list[Seen] | None:
    """Each node where it was seen last, by arrival; None if nobody tells."""
    answer = client.ask(spool.settings.run_dir, "-bp")
    if answer is None or answer.code:
        return None
    try:
        latest = {nodes.identity(each.at): each for each in understand(answer.text)}
    except msgspec.MsgspecError:
        return None
    return [latest[identity] for identity in sorted(latest)]
