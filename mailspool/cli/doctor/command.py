# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool doctor`: the machine, the way out and the daemon, checked beside each other; each finding with its fix.

It writes nothing, sends no mail and is over within SECONDS, with or without a network.
"""

from collections.abc import Sequence
from functools import partial
from textwrap import wrap

import click
import msgspec

from mailspool.cli.doctor import machine, network
from mailspool.cli.doctor.finding import Finding, Level, run
from mailspool.cli.options import Given, configured, examples
from mailspool.cli.terminal import columns, painted
from mailspool.cli.text import count, shown
from mailspool.config.load import config_file
from mailspool.spool import Spool

SECONDS = 20.0

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}
_INDENT = " " * 21


@click.command(epilog=examples("mailspool doctor", "mailspool doctor --json | jq '.findings[] | select(.fix != \"\")'"))
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@configured
def doctor(spool: Spool, *, as_json: bool) -> int:
    """Find what may keep mail from being delivered, and tell what mends it.

    DNS, this host's names, the hosts that mail goes to, permissions, room, clock, log, daemon, sendmail and who reads
    root's mail. A warning says also what could not be known. The exit code is 1 if there is a problem.
    """
    given = click.get_current_context().find_object(Given)
    findings = examine(spool, config_file(given.config if given else None))
    if as_json:
        click.echo(msgspec.json.encode({"findings": findings}).decode())
    else:
        _show(findings)
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def examine(spool: Spool, config: str) -> list[Finding]:
    """All findings. config: the configuration file, "" if there is none."""
    settings = spool.settings
    return run(
        {
            "daemon": partial(machine.daemon, spool),
            "permissions": partial(machine.permissions, spool, config),
            "room": partial(machine.room, settings),
            "clock": partial(machine.clock, settings, spool.now()),
            "log": partial(machine.logging, settings),
            "sendmail": machine.sendmail,
            "aliases": partial(machine.aliases, spool),
            **network.checks(settings),
        },
        SECONDS,
    )


def _show(findings: Sequence[Finding]) -> None:
    width = (columns() or 80) - len(_INDENT)
    for finding in findings:
        level = painted(f"{finding.level:<8}", _COLOURS[finding.level])
        text = wrap(shown(finding.text), width, break_long_words=False, break_on_hyphens=False) or [""]
        click.echo(f"{level} {finding.check:<11} {text[0]}")
        for line in text[1:]:
            click.echo(_INDENT + line)
        if finding.fix:
            click.echo(f"{_INDENT}→ {shown(finding.fix)}")
    levels = [finding.level for finding in findings]
    click.echo(f"{count(levels.count(Level.PROBLEM), 'problem')}, {count(levels.count(Level.WARNING), 'warning')}")
