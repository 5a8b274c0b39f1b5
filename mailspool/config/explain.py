# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The options in words, for complaints and for the documentation; nothing here is loaded while all is well."""

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, get_args, get_type_hints

from msgspec import NODEFAULT, Struct, ValidationError, convert, structs, to_builtins
from msgspec.inspect import (
    BoolType,
    DictType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from mailspool.config import statements
from mailspool.config.schema import Settings, unit
from mailspool.config.units import written
from mailspool.errors import ConfigError, UsageError


class Option(NamedTuple):
    """One option as declared. allowed: what may be written, as "a whole number from 1 to 1000"."""

    name: str
    type: Any
    default: Any
    allowed: str
    help: str
    restart: bool
    unit: str = ""


def options() -> tuple[Option, ...]:
    """All options in the order of their declaration."""
    return tuple(_option(field) for field in structs.fields(Settings))


class Change(NamedTuple):
    """An option whose value a reload would change. counts: False where it takes a restart."""

    name: str
    old: Any
    new: Any
    counts: bool

    def __str__(self) -> str:
        counted = unit(self.name)
        return f"{self.name}: {toml(self.old, counted)} -> {toml(self.new, counted)}"


def changes(old: Settings, new: Settings) -> list[Change]:
    """The options that differ, in the order of their declaration."""
    pairs = ((option, getattr(old, option.name), getattr(new, option.name)) for option in options())
    return [Change(option.name, one, other, not option.restart) for option, one, other in pairs if one != other]


def option_named(name: str) -> Option:
    """The option of that name, or of a key "table.key". Raises UsageError that names the nearest."""
    known = {option.name: option for option in options()}
    name = name.removeprefix("MAILSPOOL_").lower() if name.isupper() else name
    if found := known.get(name.partition(".")[0]):
        return found
    raise UsageError(f"{name}: {_unknown(name, {one: one for one in known})}")


def wrong_values(values: Mapping[str, object], titles: Mapping[str, str]) -> dict[str, str]:
    """For each name that is no option, and each value (of a table: each key) of a wrong type: what is the matter.

    titles: what each option is called where the values come from.
    """
    known = {option.name: option for option in options()}
    told: dict[str, str] = {}
    for name, value in values.items():
        if name not in known:
            told[name] = _unknown(name, titles)
        elif isinstance(known[name].default, dict) and isinstance(value, dict):
            told |= {f"{name}.{key}": _key_fault(known[name], key, inner, known) for key, inner in value.items()}
        else:
            told[name] = _fault(known[name], value)
    return {name: fault for name, fault in told.items() if fault}


def no_toml(path: str, text: str) -> tuple[dict[str, object], ConfigError]:
    """What can be read of a file that is no TOML, and what cannot."""
    read = statements.read(text)
    return read.values, ConfigError([f"{path}:{fault.line}: {_told(fault)}" for fault in read.faults])


def _told(fault: statements.Fault) -> str:
    if not fault.name or not fault.found:
        return ": ".join(word for word in (fault.name, fault.what, fault.found) if word)
    what = f"{fault.name}: found {fault.found}, which is no TOML ({fault.what}; text stands in quotes)"
    return f"{what}; {_allowed(fault.name)}"


def _allowed(name: str) -> str:
    """What may stand there: for a complaint about what could not be read."""
    known = {option.name: option for option in options()}
    return f"allowed: {known[name].allowed}" if name in known else _unknown(name, {one: one for one in known})


def _fault(option: Option, value: object) -> str:
    try:
        convert(value, option.type)
    except ValidationError:
        missing = f"a value is missing: {option.name}=VALUE"
        found = missing if value is None else f"found {_shown(value, option.unit)}"
        return f"{found}; allowed: {option.allowed}"
    return ""


def _key_fault(table: Option, key: str, value: object, known: Mapping[str, Option]) -> str:
    try:
        convert({key: value}, table.type)
    except ValidationError:
        allowed = table.allowed.removeprefix(_TABLE)
    else:
        return ""
    if key in known:
        return f"is an option of its own: put it above the line [{table.name}]"
    if not isinstance(value, dict):
        return f"found {_shown(value)}; allowed: {allowed}"
    each = get_args(table.type)[1]
    if isinstance(each, type) and issubclass(each, Struct):
        return "; ".join(_field_faults(each, value, table.name))
    return f"found a table; allowed: {allowed}. {_quoted(table.name)}"


def _field_faults(kind: type[Struct], table: Mapping[str, object], name: str) -> Iterator[str]:
    """What is wrong with a table in a table."""
    types = get_type_hints(kind, include_extras=True)
    for field, value in table.items():
        if field not in types:
            unquoted = f". {_quoted(name)}" if isinstance(value, dict) else ""
            yield f"{field}: {_unknown(field, {one: one for one in types})}{unquoted}"
            continue
        try:
            convert(value, types[field])
        except ValidationError:
            yield f"{field}: found {_shown(value)}; allowed: {in_words(type_info(types[field]))}"


def _quoted(table: str) -> str:
    return f'A name with dots stands in quotes: {table}."example.org"'


def _shown(value: object, counted: str = "") -> str:
    text = toml(value, counted)
    return text if len(text) <= 80 else text[:79] + "…"


def _unknown(name: str, titles: Mapping[str, str]) -> str:
    near = get_close_matches(name, titles, 1)
    return "there is no such option" + (f"; {titles[near[0]]} is the nearest" if near else "")


def _option(field: structs.FieldInfo) -> Option:
    info = type_info(field.type)
    default = field.default_factory() if field.default is NODEFAULT else field.default
    restart = isinstance(info, Metadata) and bool((info.extra or {}).get("restart"))
    return Option(field.name, field.type, default, in_words(info), _helps()[field.name], restart, unit(field.name))


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


def in_words(info: Type, counted: str = "") -> str:
    """What a value of this type may be."""
    match info:
        case Metadata():
            words = in_words(info.type, (info.extra or {}).get("unit", counted))
        case IntType() | FloatType():
            words = f"{_NUMBERS.get(counted) or _NUMBERS[type(info).__name__]}{_limits(info)}"
        case BoolType():
            words = "true or false"
        case LiteralType():
            words = "one of " + ", ".join(f'"{value}"' for value in info.values)
        case VarTupleType():
            words = f"a list, each of it {in_words(info.item_type)}"
        case DictType():
            words = f"{_TABLE}{in_words(info.value_type)}"
        case StructType():
            words = "a table of " + ", ".join(field.encode_name for field in info.fields)
            words += f", each {in_words(info.fields[0].type)}"
        case UnionType():
            words = ", or ".join(in_words(each) for each in info.types)
        case _:
            words = "a string"
    return words


_TABLE = "a table, each value "
_NUMBERS = {
    "seconds": 'a duration such as "1h30m", or a number of seconds,',
    "octets": 'a size such as "10 MB" or "10 MiB", or a number of octets,',
    "IntType": "a whole number",
    "FloatType": "a number",
}


def _limits(info: IntType | FloatType) -> str:
    if info.gt is not None:
        return f" over {info.gt:g}" + (f", up to {info.le:g}" if info.le is not None else "")
    if info.le is not None:
        return f" from {info.ge:g} to {info.le:g}"
    return f" from {info.ge:g} on"


def toml(value: object, counted: str = "") -> str:
    """A value as it is written in TOML: durations and sizes as people write them."""
    match value:
        case None:
            return "nothing"
        case list() | tuple():
            return "[" + ", ".join(toml(each, counted) for each in value) + "]"
        case dict() | Struct():
            return "{" + ", ".join(f"{_key(key)} = {toml(each, counted)}" for key, each in _items(value)) + "}"
        case bool():
            return str(value).lower()
        case int() | float():
            return f'"{words}"' if (words := written(value, counted)) else f"{value:.15g}"
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name)


def _items(table: dict[str, Any] | Struct) -> Iterable[tuple[str, Any]]:
    """Without what is at its default."""
    found: dict[str, Any] = to_builtins(table)
    return found.items()
