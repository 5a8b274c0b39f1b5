# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The options in words, for complaints and for the documentation; nothing here is loaded while all is well."""

import ast
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import NODEFAULT, ValidationError, convert, structs
from msgspec.inspect import (
    DictType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from mailspool.config.schema import Settings


class Option(NamedTuple):
    """One option as declared. allowed: what may be written, as "a whole number from 1 to 1000"."""

    name: str
    type: Any
    default: Any
    allowed: str
    help: str
    restart: bool


def options() -> tuple[Option, ...]:
    """All options in the order of their declaration."""
    return tuple(_option(field) for field in structs.fields(Settings))


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """The options that differ although a HUP cannot change them."""
    return [o.name for o in options() if o.restart and getattr(old, o.name) != getattr(new, o.name)]


def wrong_values(values: Mapping[str, object]) -> dict[str, str]:
    """For each name that is no option, and each value of a wrong type: what is the matter."""
    known = {option.name: option for option in options()}
    told = {
        name: _fault(known[name], value) if name in known else _unknown(name, known) for name, value in values.items()
    }
    return {name: fault for name, fault in told.items() if fault}


def _fault(option: Option, value: object) -> str:
    try:
        convert(value, option.type)
    except ValidationError:
        return f"found {_shown(value)}; allowed: {option.allowed}"
    return ""


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _unknown(name: str, known: Mapping[str, Option]) -> str:
    nearest = get_close_matches(name, known, 1)
    return "there is no such option" + (f"; {nearest[0]} is the nearest" if nearest else "")


def _option(field: structs.FieldInfo) -> Option:
    info = type_info(field.type)
    default = field.default_factory() if field.default is NODEFAULT else field.default
    restart = isinstance(info, Metadata) and bool((info.extra or {}).get("restart"))
    return Option(field.name, field.type, default, in_words(info), _helps()[field.name], restart)


@cache
def _helps() -> dict[str, str]:
    """The string below each option, out of the source: Python itself forgets it."""
    (settings,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    return {
        declared.target.id: " ".join(below.value.value.split())
        for declared, below in pairwise(settings.body)
        if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def in_words(info: Type, unit: str = "") -> str:
    """What a value of this type may be."""
    match info:
        case Metadata():
            words = in_words(info.type, (info.extra or {}).get("unit", unit))
        case IntType():
            words = f"a whole number{unit}{_limits(info)}"
        case FloatType():
            words = f"a number{unit}{_limits(info)}"
        case LiteralType():
            words = "one of " + ", ".join(f'"{value}"' for value in info.values)
        case VarTupleType():
            words = f"a list, each of it {in_words(info.item_type)}"
        case DictType():
            words = f"a table, each value {in_words(info.value_type)}"
        case UnionType():
            words = ", or ".join(in_words(each) for each in info.types)
        case _:
            words = "a string"
    return words


def _limits(info: IntType | FloatType) -> str:
    if info.gt is not None:
        return f" over {info.gt:g}"
    if info.le is not None:
        return f" from {info.ge:g} to {info.le:g}"
    return f" from {info.ge:g} on"
