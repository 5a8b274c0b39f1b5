# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool doctor`: the machine, the way out and the daemon, checked beside each other; each finding with its fix.

It writes nothing, sends no mail and is over within SECONDS, with or without a network.
"""

from collections.abc import Sequence
from functools import partial

import click
import msgspec

from mailspool.cli.doctor import machine, network
from mailspool.cli.doctor.finding import Finding, run
from mailspool.cli.doctor.shown import problems, show
from mailspool.cli.options import Given, examples, located, opened
from mailspool.config.layers import Layer
from mailspool.config.load import layers
from mailspool.spool import Spool

SECONDS = 20.0


@click.command(epilog=examples("mailspool doctor", "mailspool doctor --json | jq '.findings[] | select(.fix != \"\")'"))
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@located
def doctor(given: Given, *, as_json: bool) -> int:
    """Find what may keep mail from being delivered, and tell what mends it.

    DNS, this host's names, the hosts that mail goes to, permissions, mount, room, clock, log, daemon,
    sendmail and who reads root's mail. A warning says also what could not be known. The exit code is 1 if there is a
    problem.
    """
    findings = examine(opened(given), layers(*given))
    if as_json:
        click.echo(msgspec.json.encode({"findings": findings}).decode())
    else:
        show(findings)
    return int(problems(findings) > 0)


def examine(spool: Spool, found: Sequence[Layer]) -> list[Finding]:
    """All findings. found: what the configuration was read from."""
    settings = spool.settings
    return run(
        {
            "daemon": partial(machine.daemon, spool),
            "permissions": partial(machine.permissions, spool, found),
            "mount": partial(machine.mount, settings),
            "room": partial(machine.room, settings),
            "clock": partial(machine.clock, settings, spool.now()),
            "log": partial(machine.logging, settings),
            "sendmail": machine.sendmail,
            "aliases": partial(machine.aliases, spool),
            **network.checks(settings),
        },
        SECONDS,
    )
