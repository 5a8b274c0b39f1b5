# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""All that is wrong with the layers of a configuration, each where it stands; loaded only when something is.

A layer is judged alone, so that a value which a later layer hides must be right too; then what they say together.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from msgspec import convert

from mailspool.config import statements
from mailspool.config.check import Fault, alone, together
from mailspool.config.explain import wrong_values
from mailspool.config.layers import ENVIRONMENT, PREFIX, Layer, merged
from mailspool.config.machine import filled_in
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError, OptionError

DEFAULTS = Layer("default", {})
"""Below all others: it sets what no layer sets."""

_Values = Mapping[str, object]


class Judgement(NamedTuple):
    """What there is to say of layers.

    error: of all faults; without problems if there is none. settings: what they say together, as far as it is of the
    right type. doubtful: the options whose value there is wrong, or may be set in a part that could not be read.
    """

    error: ConfigError
    settings: Settings
    doubtful: frozenset[str]


def complaint(layers: Sequence[Layer]) -> ConfigError:
    """The error of all faults; without problems if there is none."""
    return judge(layers).error


def judge(layers: Sequence[Layer]) -> Judgement:
    """Each layer alone, and what all say together."""
    unread = [fault for layer in layers for fault in layer.faults]
    each = [_alone(layer) for layer in layers]
    settings = _settings(merged(right for right, _ in each))
    found = [(layer, *fault) for layer, (_, faults) in zip(layers, each, strict=True) for fault in faults]
    if not unread:  # else what is missing may be what was not read
        found += _together(layers, settings)
    lines = list(dict.fromkeys(_line(*fault) for fault in found))
    unset = {name for name in Settings.__struct_fields__ if last(layers, name) is DEFAULTS}
    doubtful = {name for _, name, _ in found} | (unset if unread else set())
    return Judgement(joined([*unread, *([ConfigError(lines)] if lines else [])]), settings, frozenset(doubtful))


def joined(faults: Sequence[ConfigError]) -> ConfigError:
    """One error of all the problems; of the class of the faults, where that is one."""
    kinds = {type(fault) for fault in faults}
    kind = kinds.pop() if len(kinds) == 1 else ConfigError
    return kind([problem for fault in faults for problem in fault.problems])


def placed(layers: Sequence[Layer], fault: OptionError) -> str:
    """What is wrong with an option, and where it is set."""
    return _line(last(layers, fault.option), fault.option, fault.text)


def place(layer: Layer, name: str) -> str:
    """Where a layer sets an option, or "table.key": a file and its line, or the layer."""
    line = _lines(layer.text).get(name)
    return f"{layer.source}:{line}" if line else layer.source


@cache
def _lines(text: str) -> dict[str, int]:
    return statements.read(text).lines


def last(layers: Sequence[Layer], name: str) -> Layer:
    """The layer whose value of an option, or "table.key", counts."""
    return next((layer for layer in reversed(layers) if sets(layer, name)), DEFAULTS)


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


def _alone(layer: Layer) -> tuple[_Values, Sequence[Fault]]:
    """Of a layer its values of the right type, and what is wrong."""
    wrong = wrong_values(layer.values, _titles(layer))
    right = _without(layer.values, wrong)
    senseless = {name: text for name, text in alone(_settings(right)) if sets(layer, name)}
    return right, list((wrong | senseless).items())


def _together(layers: Sequence[Layer], settings: Settings) -> Iterator[tuple[Layer, str, str]]:
    """What does not fit is the fault of whoever came last."""
    for name, text in alone(settings):  # of the machine's names, too, which no layer sets
        yield last(layers, name), name, text
    order = [DEFAULTS, *layers]
    for views in together(settings):
        name, text = max(views, key=lambda view: order.index(last(layers, view[0])))
        yield last(layers, name), name, text


def _line(layer: Layer, name: str, text: str) -> str:
    return f"{place(layer, name)}: {title(layer, name)}: {text}"


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
