# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool fsck`: whether the spool is as docs/spool-format.md says; --repair mends what can be without loss.

Looking writes nothing and holds up nobody: a daemon may go on delivering. Nothing that is not understood is touched.
"""

import time
from collections.abc import Iterable, Sequence

import click
import msgspec

from mailspool import log
from mailspool.cli import change, nodes, terminal
from mailspool.cli.options import configured, examples
from mailspool.cli.text import count, shown
from mailspool.errors import UsageError
from mailspool.spool import Spool
from mailspool.store.filesystem import FileStore
from mailspool.store.fsck.examine import Repair, examine, repair
from mailspool.store.fsck.finding import Finding

SETTLING = 3.0
"""Seconds between two looks: a step of a worker is over by then, a sync to a busy disk included."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One finding in --json.

    cure: what a repair does, or, if it is not repairable, what a person can do. became: "" without --repair; else
    repaired, moved (the finding is no more), or left; then trouble says why.
    """

    path: str
    fault: str
    cure: str
    repairable: bool
    became: str
    trouble: str


@click.command(
    short_help="Check that the spool is whole.", epilog=examples("mailspool fsck", "mailspool fsck --repair --yes")
)
@click.option("--repair", "mends", is_flag=True, help="Repair what can be repaired without loss, after a question.")
@change.yes_option
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@configured
def fsck(spool: Spool, *, mends: bool, yes: bool, as_json: bool) -> int:
    """Check every directory, name, file and owner in the spool; tell what is wrong, and what --repair does about it.

    It writes nothing and may run beside a daemon: what it finds it looks at twice, some seconds apart. --repair puts
    what cannot be delivered into quarantine, gives back what owners held that have ended, removes what belongs to
    nothing any more, sets modes, and makes missing directories. Each finding is looked at again just before. What
    nobody here understands is left alone.

    The exit code is 1 if there is a finding, with --repair if one is left.
    """
    if yes and not mends:
        raise UsageError("--yes answers the question of --repair: say both, or neither")
    store = nodes.existing(spool)
    if not isinstance(store, FileStore):
        raise UsageError("only a spool in a directory can be checked")
    findings = examine(store, len(spool.settings.tiers), lambda: time.sleep(SETTLING))
    if not mends:
        _tell([_told(finding) for finding in findings], as_json=as_json)
        return int(bool(findings))
    if not as_json:
        _list(findings)
    if (able := sum(finding.mend is not None for finding in findings)) and not yes:
        terminal.confirm(f"Repair {able} of {count(len(findings), 'finding')}?", "'mailspool fsck'")
    done = [_became(each) for each in repair(findings)]
    _tell(done, as_json=as_json)
    return int(any(each.became == "left" for each in done))


def _became(each: Repair) -> Told:
    became = "left" if each.trouble else "moved" if each.moved else "repaired"
    if became == "repaired":
        log.record("repaired by an operator", path=each.finding.path, fault=each.finding.fault, cure=each.finding.cure)
    return _told(each.finding, became, each.trouble)


def _told(finding: Finding, became: str = "", trouble: str = "") -> Told:
    return Told(
        path=shown(finding.path),
        fault=shown(finding.fault),
        cure=shown(finding.cure),
        repairable=finding.mend is not None,
        became=became,
        trouble=shown(trouble),
    )


# --- telling


def _tell(told: Sequence[Told], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"findings": told}).decode())
        return
    for line in map(_line, told):
        click.echo(line)
    click.echo(_sum(told))


def _list(findings: Iterable[Finding]) -> None:
    for finding in findings:
        click.echo(_line(_told(finding)))


def _line(one: Told) -> str:
    if one.became:
        colour = {"repaired": "green", "left": "red"}.get(one.became, "")
        return f"{terminal.painted(one.became, colour)}: {one.path}{f': {one.trouble}' if one.trouble else ''}"
    return f"{one.path}: {one.fault}; {'--repair: ' if one.repairable else ''}{one.cure}"


def _sum(told: Sequence[Told]) -> str:
    if not told:
        return "the spool is whole"
    if not told[0].became:
        able = sum(one.repairable for one in told)
        return f"{count(len(told), 'finding')}, {able} of which --repair mends"
    left = sum(one.became == "left" for one in told)
    return f"{count(len(told), 'finding')}, {left} left"
