# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""All that is wrong with the layers of a configuration, each where it stands; loaded only when something is.

A layer is judged alone, so that a value which a later layer hides must be right too; then what they say together.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache

from msgspec import convert

from mailspool.config import statements
from mailspool.config.check import alone, faults
from mailspool.config.explain import wrong_values
from mailspool.config.layers import ENVIRONMENT, PREFIX, Layer, merged
from mailspool.config.machine import filled_in
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError

DEFAULTS = Layer("default", {})
"""Below all others: it sets what no layer sets."""

_Values = Mapping[str, object]


def complaint(layers: Sequence[Layer]) -> ConfigError:
    """The error of all faults; without problems if there is none."""
    wrong = list(dict.fromkeys(_wrong(layers)))
    return joined([*(fault for layer in layers for fault in layer.faults), *([ConfigError(wrong)] if wrong else [])])


def joined(faults: Sequence[ConfigError]) -> ConfigError:
    """One error of all the problems; of the class of the faults, where that is one."""
    kinds = {type(fault) for fault in faults}
    kind = kinds.pop() if len(kinds) == 1 else ConfigError
    return kind([problem for fault in faults for problem in fault.problems])


def place(layer: Layer, name: str) -> str:
    """Where a layer sets an option, or "table.key": a file and its line, or the layer."""
    line = _lines(layer.text).get(name)
    return f"{layer.source}:{line}" if line else layer.source


@cache
def _lines(text: str) -> dict[str, int]:
    return statements.read(text).lines


def sets(layer: Layer, name: str) -> bool:
    """Whether a layer sets an option, or "table.key"."""
    option, dot, key = name.partition(".")
    value = layer.values.get(option)
    return key in value if dot and isinstance(value, dict) else option in layer.values


def title(layer: Layer, name: str) -> str:
    """What an option is called in that layer."""
    return f"{PREFIX}{name.upper()}" if layer.source == ENVIRONMENT else name


def _titles(layer: Layer) -> dict[str, str]:
    names = [*Settings.__struct_fields__, *(["config"] if layer.source == ENVIRONMENT else [])]
    return {name: title(layer, name) for name in names}


def _wrong(layers: Sequence[Layer]) -> Iterator[str]:
    right = []
    for layer in layers:
        wrong = wrong_values(layer.values, _titles(layer))
        right.append(_without(layer.values, wrong))
        wrong |= {name: text for name, text in alone(_settings(right[-1])) if sets(layer, name)}
        for name, text in wrong.items():
            yield f"{place(layer, name)}: {title(layer, name)}: {text}"
    if any(layer.faults for layer in layers):
        return  # what is missing may be what was not read
    for name, text in faults(_settings(merged(right))):
        last = next((layer for layer in reversed(layers) if sets(layer, name)), DEFAULTS)
        yield f"{place(last, name)}: {title(last, name)}: {text}"


def _settings(values: _Values) -> Settings:
    return filled_in(convert(values, Settings))


def _without(values: _Values, names: Container[str]) -> dict[str, object]:
    """Those that are right; of a table its right keys."""
    return {
        name: {key: inner for key, inner in value.items() if f"{name}.{key}" not in names}
        if isinstance(value, dict)
        else value
        for name, value in values.items()
        if name not in names
    }
