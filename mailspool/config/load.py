# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Reads the configuration, and finds all that is wrong with it at once: where it stands, what it is, what is allowed.

Later ones win: the defaults, the file, overrides "name=value", a program's own properties. Nothing is used of
a configuration that has a fault, and nothing is guessed.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from mailspool.config.check import DIRECTORIES, FILES, faults
from mailspool.config.machine import machine_names
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError

CONFIG_FILE = "/etc/mailspool/mailspool.toml"


class Given(NamedTuple):
    """A value, what it came in, and the whole text of that, to find its line."""

    value: object
    source: str
    text: str = ""

    def place(self, name: str) -> str:
        """`tomllib` keeps no lines: look for the first that sets the name (of routes.PATTERN the pattern)."""
        return self.place_of(name.partition(".")[2] or name)

    def place_of(self, word: str) -> str:
        """Where a key or a part of one stands."""
        key = re.escape(word)
        found = re.search(rf"""^[^#\n]*?(?<![\w.-])["']?{key}["']?\s*[=.\]]""", self.text, re.MULTILINE)
        return f"{self.source}:{_line_number(self.text, found.start())}" if found else self.source


def load(
    path: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    **properties: object,
) -> Settings:
    """The settings of a file, or of $MAILSPOOL_CONFIG, or of /etc/mailspool/mailspool.toml if that exists.

    overrides: "name=value" with the value as in TOML; what is no TOML is a string as it stands.
    Raises ConfigError with every fault found.
    """
    named = _named(path, environ)
    given = _from_file(named) if named else _from_file_if_any(CONFIG_FILE)
    return _settings(given | dict(map(_from_override, overrides)) | _from_program(properties))


def config_file(path: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The file that `load` reads, "" if there is none."""
    return _named(path, environ) or (CONFIG_FILE if os.path.exists(CONFIG_FILE) else "")  # noqa: PTH110 pathlib would cost `sendmail` milliseconds


def _named(path: str | None, environ: Mapping[str, str]) -> str:
    return path or environ.get("MAILSPOOL_CONFIG", "")


def make(**properties: object) -> Settings:
    """The settings of the defaults and a program's own properties alone; no file is looked for. Raises ConfigError."""
    return _settings(_from_program(properties))


def _from_file_if_any(path: str) -> dict[str, Given]:
    try:
        return _from_file(path)
    except _Missing:
        return {}


class _Missing(ConfigError):
    """There is no such file."""


def _from_file(path: str) -> dict[str, Given]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 pathlib would cost `sendmail` milliseconds
            text = file.read()
    except FileNotFoundError:
        raise _Missing([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    return {name: Given(value, path, text) for name, value in parse_toml(path, text).items()}


def parse_toml(path: str, text: str) -> dict[str, object]:
    """The text of a file. Raises ConfigError with its line."""
    import tomllib  # who has no file does not pay for it

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        line = re.search(r"line (\d+)", where)
        raise ConfigError([f"{path}:{line[1] if line else _line_number(text, len(text))}: {what}"]) from None


def _line_number(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _from_override(override: str) -> tuple[str, Given]:
    name, equals, text = override.partition("=")
    return name.strip(), Given(_value(text.strip()) if equals else None, "command line")


def _value(text: str) -> object:
    import tomllib  # who overrides nothing does not pay for it

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _from_program(properties: Mapping[str, object]) -> dict[str, Given]:
    """A program may name its paths relative to where it is; a daemon leaves that place."""
    return {name: Given(_absolute(name, value), "argument") for name, value in properties.items()}


def _absolute(name: str, value: object) -> object:
    if name in DIRECTORIES + FILES and isinstance(value, str) and value:
        return os.path.abspath(value)  # noqa: PTH100 pathlib would cost `sendmail` milliseconds
    return value


def _settings(given: Mapping[str, Given]) -> Settings:
    values = {name: one.value for name, one in given.items()}
    wrong: dict[str, str] = {}
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError:
        from mailspool.config.explain import wrong_values  # only a complaint needs the words

        wrong = wrong_values(values)
        settings = msgspec.convert({name: value for name, value in values.items() if name not in wrong}, Settings)
    settings = _filled_in(settings)
    wrong = dict(faults(settings)) | wrong
    if wrong:
        raise ConfigError([f"{_place(given, name)}: {name}: {fault}" for name, fault in wrong.items()])
    return settings


def _place(given: Mapping[str, Given], name: str) -> str:
    """Where a name was set; what nobody set came out of this machine's own names."""
    one = given.get(name.partition(".")[0])
    return one.place(name) if one else "default"


def _filled_in(settings: Settings) -> Settings:
    """With a value for each "" that stands for a default which only the machine or other options can tell."""
    hostname, mail_name = machine_names()
    hostname = settings.hostname or hostname
    mail_name = settings.mail_name or mail_name or hostname
    return replace(
        settings,
        hostname=hostname,
        mail_name=mail_name,
        postmaster_address=settings.postmaster_address or f"postmaster@{mail_name}",
        usage_log=settings.usage_log or f"{settings.dequeue_dir}/usage",
    )
