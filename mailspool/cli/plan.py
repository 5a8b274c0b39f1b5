# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool plan`: what the schedule means for a message that no host takes, and what would go wrong with it.

It writes nothing and needs neither a spool nor a daemon; where there is a spool, it looks which tiers hold nodes.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING

import click
import msgspec

from mailspool.cli import terminal
from mailspool.cli.options import Given, configured, examples
from mailspool.cli.text import count, span
from mailspool.config.schema import Settings
from mailspool.errors import SpoolError
from mailspool.model.plan import Looks, Plan, Try, plan
from mailspool.spool import Spool

if TYPE_CHECKING:
    from rich.table import Table

_BAR = 22  # columns; with the widest times beside it a line stays within 80
_MEAN, _LATER = "█", "░"


@click.command(
    name="plan",
    short_help="Show when a message is tried, and when it is given up.",
    epilog=examples("mailspool plan", "mailspool plan --hosts 4 -o dequeue_periods='[0, 600, 3600, 86400]'"),
)
@click.option("--hosts", type=click.IntRange(1, 10_000), default=1, help="So many hosts share the spool.")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object; times in seconds.")
@configured
def show_plan(spool: Spool, *, hosts: int, as_json: bool) -> None:
    """Show when a message that no host takes is tried again, and when it is given up.

    The times of each attempt count from the message's arrival: on average, and within what 95 and 99 of 100 come.
    They follow from dequeue_periods, dequeue_priority, dequeue_timeout and max_age. With -o another schedule is
    compared with the present one (NOW: its average).
    """
    given = click.get_current_context().find_object(Given) or Given()
    settings = spool.settings
    new = _plan(settings, hosts)
    present = _plan(Spool.from_config(given.config).settings, hosts) if given.overrides else None
    warnings = [*doubts(settings, new, hosts), *_stranded(spool)]
    if as_json:
        found = {"hosts": hosts, "plan": _facts(new), "present": present and _facts(present), "warnings": warnings}
        click.echo(msgspec.json.encode(found).decode())
        return
    terminal.console().print(_table(new, present))
    click.echo(_end(new))
    if present:
        click.echo(f"now {_end(present)}")
    for warning in warnings:
        click.echo(terminal.painted(f"warning: {warning}", "yellow"))


def _plan(settings: Settings, hosts: int) -> Plan:
    return plan(settings.tiers, settings.dequeue_timeout, settings.max_age, hosts)


def _facts(made: Plan) -> dict[str, object]:
    return {"tries": [one._asdict() for one in made.tries], "by_age": made.by_age}


# --- for people


def _table(new: Plan, present: Plan | None) -> "Table":
    made = terminal.table("TRY", "TIER", "WAITS", "MEAN", "95 %", "99 %", *(["NOW"] if present else []), "")
    rows = zip_longest(new.tries, present.tries if present else ())
    horizon = max(one.tries[-1].within_99 for one in (new, present) if one)
    for number, (one, before) in enumerate(rows, 1):
        cells = [_cells(one) if one else ("", "", "", "", "")]
        now = [span(before.mean) if before else ""] if present else []
        made.add_row(str(number), *cells[0], *now, bar(one, horizon) if one else "")
    return made


def _cells(one: Try) -> tuple[str, ...]:
    return (str(one.tier), span(one.wait), span(one.mean), span(one.within_95), span(one.within_99))


def bar(one: Try, horizon: float) -> str:
    """Up to the mean, and from there to where 99 of 100 are, of all the time there is."""
    mean, most = (round(_BAR * seconds / horizon) if horizon else 0 for seconds in (one.mean, one.within_99))
    return _MEAN * mean + _LATER * (most - mean)


def _end(made: Plan) -> str:
    last = made.tries[-1]
    why = "max_age" if made.by_age else f"tier {last.tier} is the last"
    return f"given up after {span(last.mean)} on average, {span(last.within_99)} in 99 % ({why})"


# --- what would go wrong


def doubts(settings: Settings, made: Plan, hosts: int) -> Iterator[str]:
    """What the schedule does that its author can hardly mean."""
    max_age = span(settings.max_age)
    for tier in settings.tiers:
        if tier.wait > settings.max_age:
            yield f"tier {tier.number} waits {span(tier.wait)}, but max_age ({max_age}) ends that wait"
        mean = Looks(tier.priority, settings.dequeue_timeout, hosts).mean
        if tier.number and mean > tier.wait:
            yield (
                f"tier {tier.number} waits {span(tier.wait)}, but is looked at only every {span(mean)} on average:"
                f" lower its dequeue_priority ({tier.priority}) or dequeue_timeout"
            )
    if len(made.tries) < len(settings.tiers):
        left = range(len(made.tries), len(settings.tiers))
        yield f"{_tiers(left)} never reached: max_age ({max_age}) comes first"
    if settings.delay_notice and made.tries[-1].mean < settings.delay_notice:
        yield f"a message bounces before its sender hears of a delay (delay_notice is {span(settings.delay_notice)})"


def _stranded(spool: Spool) -> Iterator[str]:
    """A shorter schedule leaves tiers behind."""
    tiers = len(spool.settings.tiers)
    with suppress(SpoolError):  # no spool yet, or none that we may look into
        for tier in spool.store.tiers():
            if tier >= tiers and (held := len(list(spool.store.names(tier)))):
                yield f"tier {tier} holds {count(held, 'node')}, but there are only {count(tiers, 'tier')} now"


def _tiers(numbers: Sequence[int]) -> str:
    return f"tier {numbers[0]} is" if len(numbers) == 1 else f"tiers {numbers[0]} to {numbers[-1]} are"
