# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Reads the layers of the configuration, checks each, and puts one over the other.

Later ones win: the defaults, the file, what is in `conf.d` beside it, the environment, overrides "name=value", a
program's own properties. Tables are merged key by key. Nothing is used of a configuration that has a fault in any
layer, and nothing is guessed.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

from mailspool.config.check import faults
from mailspool.config.layers import Layer, merged, program, read
from mailspool.config.machine import filled_in
from mailspool.config.schema import Settings


def load(
    path: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    **properties: object,
) -> Settings:
    """The settings of a file, or of $MAILSPOOL_CONFIG, or of /etc/mailspool/mailspool.toml if that exists.

    overrides: "name=value" with the value as in TOML; what is no TOML is a string as it stands. A key of a table is
    set by "table.key=value". Raises ConfigError with every fault found.
    """
    return _settle([*layers(path, overrides, environ), program(properties)])


def make(**properties: object) -> Settings:
    """The settings of the defaults and a program's own properties alone; nothing else is read. Raises ConfigError."""
    return _settle([program(properties)])


def layers(
    path: str | None = None, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> list[Layer]:
    """What `load` puts one over the other, the lowest first, unchecked. What cannot be read is a fault of its layer."""
    return read(path, overrides, environ)


def _settle(all_layers: Sequence[Layer]) -> Settings:
    """What the layers say together. Raises ConfigError."""
    try:
        for layer in all_layers:  # what a later one hides must be right too
            msgspec.convert(layer.values, Settings)
        settings = filled_in(msgspec.convert(merged(layer.values for layer in all_layers), Settings))
        right = not any(faults(settings)) and not any(layer.faults for layer in all_layers)
    except msgspec.ValidationError:
        right = False
    if right:
        return settings
    from mailspool.config.complaint import complaint  # only a fault needs the words

    raise complaint(all_layers)
