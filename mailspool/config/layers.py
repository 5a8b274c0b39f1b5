# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The sources of a configuration above the defaults: file, `conf.d` beside it, environment, command line, program.

Each is read into a `Layer`, whatever is wrong with it: nothing here judges a value. It lists `conf.d` and reads files,
and does nothing else.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from mailspool.config.check import DIRECTORIES, FILES
from mailspool.config.schema import unit
from mailspool.errors import ConfigError, ConfigForbidden, ConfigUnreadable

CONFIG_FILE = "/etc/mailspool/mailspool.toml"
DROP_INS = "conf.d"

PREFIX = "MAILSPOOL_"
NO_OPTIONS = ("REQUIRE_", "BENCH_", "SERVICE_", "PORT_")
"""What begins so behind PREFIX is none of ours: our tests', and what Kubernetes sets for a service called mailspool."""

ENVIRONMENT, COMMAND_LINE, PROGRAM = "environment", "command line", "argument"

_Values = Mapping[str, object]


class Layer(msgspec.Struct, frozen=True):
    """What one source sets. source: the path of a file, or one of the names above. text: a file's.

    values: numbers where the source has durations and sizes in words. faults: why not all of it could be read.
    """

    source: str
    values: _Values
    text: str = ""
    faults: tuple[ConfigError, ...] = ()


def read(path: str | None, overrides: Sequence[str], environ: Mapping[str, str]) -> list[Layer]:
    """All layers above the defaults, the lowest first, unchecked. What cannot be read is a fault of its layer."""
    files = _files(path or environ.get(f"{PREFIX}CONFIG", ""))
    return [*files, _layer(ENVIRONMENT, _environment(environ)), _layer(COMMAND_LINE, merged(map(_override, overrides)))]


def merged(values: Iterable[_Values]) -> dict[str, object]:
    """Later ones over earlier ones; tables key by key."""
    result: dict[str, object] = {}
    for each in values:
        for name, value in each.items():
            below = result.get(name)
            result[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _layer(source: str, values: _Values, text: str = "", faults: tuple[ConfigError, ...] = ()) -> Layer:
    return Layer(source, {name: _in_numbers(name, value) for name, value in values.items()}, text, faults)


def _in_numbers(name: str, value: object) -> object:
    """A duration or a size as a number; whatever cannot be one stays what it is, to be complained about."""
    if isinstance(value, list | tuple):
        return [_in_numbers(name, each) for each in value]
    counted = unit(name) if isinstance(value, str) else ""
    if not counted:
        return value
    from mailspool.config.units import PARSERS  # who writes plain numbers does not pay for it

    try:
        return PARSERS[counted](str(value))
    except ValueError:
        return value


# --- files


def _files(named: str) -> list[Layer]:
    path = named or CONFIG_FILE
    main = _file(path)
    absent = not named and any(isinstance(fault, _Missing) for fault in main.faults)
    return [*([] if absent else [main]), *_drop_ins(path)]


def _file(path: str) -> Layer:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 pathlib would cost `sendmail` milliseconds
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        return Layer(path, {}, faults=(_unreadable(path, error),))
    import tomllib  # who has no file does not pay for it

    try:
        return _layer(path, tomllib.loads(text), text)
    except tomllib.TOMLDecodeError:
        from mailspool.config.explain import no_toml  # only a fault needs the words

        values, fault = no_toml(path, text)
        return _layer(path, values, text, (fault,))


class _Missing(ConfigError):
    """There is no such file."""


def _unreadable(path: str, error: OSError | UnicodeDecodeError) -> ConfigError:
    match error:
        case FileNotFoundError():
            return _Missing([f"{path}: there is no such file"])
        case PermissionError():
            return ConfigForbidden([f"{path}: cannot be read as uid {os.geteuid()}: {error.strerror}"])
        case IsADirectoryError() | NotADirectoryError():
            return ConfigError([f"{path}: cannot be read: {error.strerror}: name a file"])
        case UnicodeDecodeError():
            return ConfigError([f"{path}: cannot be read: {error}"])
    return ConfigUnreadable([f"{path}: cannot be read: {error.strerror}"])


def _drop_ins(path: str) -> list[Layer]:
    """The files NAME.toml of `conf.d` beside the file of that path, whether that is there or not, in their order."""
    folder = f"{os.path.dirname(path) or '.'}/{DROP_INS}"  # noqa: PTH120 as above
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml") and name[0] != ".")  # noqa: PTH208 as above
        fault = _untrusted(folder, path) if names else None
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        fault = _unreadable(folder, error)
    return [Layer(folder, {}, faults=(fault,))] if fault else [_file(f"{folder}/{name}") for name in names]


def _untrusted(folder: str, path: str) -> ConfigError | None:
    """Who names a file in /tmp must not get what somebody else put beside it."""
    facts, owners = os.stat(folder), {0, os.geteuid()}  # noqa: PTH116 as above
    with suppress(FileNotFoundError):
        owners.add(os.stat(path).st_uid)  # noqa: PTH116 as above
    if facts.st_uid in owners and not facts.st_mode & 0o002:
        return None
    return ConfigError(
        [f"{folder}: not read: it must belong to root or to the owner of {path}, and nobody else may write to it"]
    )


# --- the other sources


def _environment(environ: Mapping[str, str]) -> dict[str, object]:
    values = {}
    for variable in environ:
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX)
            if name != "CONFIG" and not f"{name}_".startswith(NO_OPTIONS):
                values[name.lower()] = _value(environ[variable])
    return values


def _override(override: str) -> dict[str, object]:
    name, equals, text = override.partition("=")
    value = _value(text.strip()) if equals else None
    name, dot, key = name.strip().partition(".")
    return {name: {key.strip("\"'"): value} if dot else value}


def _value(text: str) -> object:
    import tomllib  # who overrides nothing does not pay for it

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def program(properties: _Values) -> Layer:
    """What a program sets itself. It may name its paths relative to where it is; a daemon leaves that place."""
    return _layer(PROGRAM, {name: _absolute(name, value) for name, value in properties.items()})


def _absolute(name: str, value: object) -> object:
    if name in DIRECTORIES + FILES and isinstance(value, str) and value:
        return os.path.abspath(value)  # noqa: PTH100 as above
    return value
