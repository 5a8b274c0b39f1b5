# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool config`: which values count and who set them; `mailspool config explain KEY`: all there is to say of one.

It reads what the daemon would read now; what a running one has read may be older. It writes nothing.
"""

import json
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import click
from msgspec import to_builtins

from mailspool.cli.options import Given, examples, located, say
from mailspool.cli.terminal import columns
from mailspool.cli.text import folded, shown
from mailspool.config.complaint import DEFAULTS, last, place, sets
from mailspool.config.explain import Option, option_named, options, toml
from mailspool.config.layers import PREFIX, Layer, merged
from mailspool.config.load import layers, load
from mailspool.errors import ConfigError

_FULL = 10_000  # columns of a pipe


class Value(NamedTuple):
    """An option, or a key of a table, "table.key": its value, and the layer that sets it."""

    option: Option
    name: str
    value: Any
    layer: Layer

    @property
    def assignment(self) -> str:
        """As it is written in TOML."""
        table, dot, key = self.name.partition(".")
        return shown(f"{table}{dot}{json.dumps(key) if dot else ''} = {toml(self.value, self.option.unit)}")

    @property
    def source(self) -> str:
        """The file and the line, or what else set it."""
        return place(self.layer, self.name)


@click.group(
    invoke_without_command=True,
    epilog=examples("mailspool config --changed", "mailspool config explain max_age"),
)
@click.option("--changed", is_flag=True, help="Only what somebody has set.")
@click.option("--json", "as_json", is_flag=True, help="For programs; durations in seconds, sizes in octets.")
@located
def config(given: Given, *, changed: bool, as_json: bool) -> None:
    """Show every option's value and where it comes from.

    The output is a configuration file itself: the values are in TOML and the sources in comments.
    """
    if click.get_current_context().invoked_subcommand:
        return
    values = [value for value in _values(given) if not changed or value.layer is not DEFAULTS]
    click.echo(_as_json(values) if as_json else _as_toml(values), nl=bool(values))


@config.command(epilog=examples("mailspool config explain max_age", "mailspool config explain MAILSPOOL_TLS"))
@click.argument("key")
@located
def explain(given: Given, *, key: str) -> None:
    """Tell what an option is for, what it may be, what it is, and who says so.

    It answers even while the configuration has faults.
    """
    option = option_named(key)
    found = layers(*given)
    try:
        value = getattr(load(*given), option.name)
    except ConfigError:
        value = merged(layer.values for layer in found).get(option.name, option.default)
        say("the configuration has faults, which mailspool check tells; this is what is written")
    click.echo("\n".join(_explained(option, value, found)))


def _values(given: Given) -> Iterator[Value]:
    settings, found = load(*given), layers(*given)
    for option in options():
        value = getattr(settings, option.name)
        names = {f"{option.name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {}
        for name, inner in (names or {option.name: value}).items():
            yield Value(option, name, inner, last(found, name))


def _as_toml(values: Sequence[Value]) -> str:
    """A source that the terminal has no room for stands in a line above."""
    width = max((len(value.assignment) for value in values if len(value.assignment) < 50), default=0)
    room = columns() or _FULL
    return "\n".join(_commented(f"{value.assignment:{width}}", f"# {shown(value.source)}", room) for value in values)


def _commented(assignment: str, comment: str, room: int) -> str:
    line = f"{assignment}  {comment}"
    return line if len(line) <= room else f"{comment}\n{assignment.rstrip()}"


def _as_json(values: Sequence[Value]) -> str:
    return json.dumps(
        {value.name: {"value": value.value, "source": value.source} for value in values}, indent=2, default=to_builtins
    )


def _explained(option: Option, value: object, found: Sequence[Layer]) -> Iterator[str]:
    yield shown(f"{option.name} = {toml(value, option.unit)}")
    yield fill(option.help, 76, initial_indent="    ", subsequent_indent="    ")
    yield ""
    facts = {
        "from": place(last(found, option.name), option.name),
        "allowed": option.allowed,
        "default": toml(option.default, option.unit),
        "a change": "counts after a restart of the daemon" if option.restart else "counts after mailspool reload (HUP)",
        "variable": f"{PREFIX}{option.name.upper()}",
    }
    for word, fact in facts.items():
        yield from folded(shown(f"  {word:<10}{fact}"), hang=10)
    setting = [layer for layer in found if sets(layer, option.name)]
    for word, layer in zip(["set in", *[""] * len(setting)], setting, strict=False):
        yield shown(f"  {word:<10}{place(layer, option.name)}: {toml(layer.values[option.name], option.unit)}")
