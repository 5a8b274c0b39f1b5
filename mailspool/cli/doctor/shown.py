# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How findings are shown to people: each with its fix, and how many there are of which kind."""

from collections.abc import Sequence
from textwrap import wrap

import click

from mailspool.cli.doctor.finding import Finding, Level
from mailspool.cli.terminal import columns, painted
from mailspool.cli.text import count, shown

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}
_INDENT = " " * 21


def show(findings: Sequence[Finding]) -> None:
    """On standard output, wrapped to the terminal's width."""
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


def problems(findings: Sequence[Finding]) -> int:
    """How many of them are."""
    return sum(finding.level is Level.PROBLEM for finding in findings)
