# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Reads the file with the passwords, and only if nobody else can: its owner and mode are part of its syntax.

A TOML table for each host, or host:port. A fault is told with file and line, never with a value out of the file.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from mailspool.config import statements
from mailspool.config.schema import CREDENTIALS_FILE
from mailspool.errors import ConfigError, OptionError
from mailspool.model.address import control_character
from mailspool.model.credentials import Credentials, Keyring
from mailspool.model.target import parse_server

_HOST = '["smtp.example.net"]'  # a dotted name without its quotes is a table in a table
_WORLD, _GROUP_WRITES, _GROUP_READS = 0o007, 0o030, 0o040


class Reader(NamedTuple):
    """Who is to read the file: the daemon, by the numbers of its user and of that user's own group."""

    uid: int
    gid: int


def daemon_reader(user: str) -> Reader:
    """Us; or, as long as we are root, whom root becomes to deliver."""
    if os.geteuid() == 0:
        with suppress(KeyError):
            entry = pwd.getpwnam(user)
            return Reader(entry.pw_uid, entry.pw_gid)
    return Reader(os.geteuid(), os.getegid())


def read_credentials(path: str, reader: Reader | None) -> Keyring:
    """All that the file holds; nothing if there is none, as may be only with the default one, and with "".

    reader: None where it is not known who that will be; then what is right for somebody is right. Raises OptionError
    if it cannot be read, or others can read or change it; ConfigError with every fault in it.
    """
    if not path:
        return Keyring()
    try:
        with Path(path).open("rb") as file:
            if refusal := _refuse(os.fstat(file.fileno()), reader):
                raise _unfit_file(f"{path}: {refusal}: {_remedy(path, reader)}")
            text = file.read().decode()
    except FileNotFoundError:
        if path == CREDENTIALS_FILE:
            return Keyring()
        raise _unfit_file(f"there is no file {path}{_nearest(Path(path))}: make one, or set credentials_file") from None
    except PermissionError:
        from mailspool.supervisor.places import barred_way  # only a fault needs it

        user, remedy = _user(os.geteuid()), barred_way(path, None) or _remedy(path, reader)
        another = f'set credentials_file to a file that {user} can read, or to "" for none'
        raise _unfit_file(f"{path}: {user} cannot read it: {another}; if it is meant for {user}: {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
        raise _unfit_file(f"{path}: cannot be read: {what}") from None
    return _keyring(path, statements.read(text))


_unfit_file = partial(OptionError, "credentials_file")


def _nearest(path: Path) -> str:
    from difflib import get_close_matches  # only a fault needs it

    with suppress(OSError):
        if near := get_close_matches(path.name, (entry.name for entry in path.parent.iterdir()), 1):
            return f" ({path.with_name(near[0])} is the nearest)"
    return ""


def _refuse(file: os.stat_result, reader: Reader | None) -> str:
    """Why this file may not hold passwords for the reader; "" if it may."""
    mode = stat.S_IMODE(file.st_mode)
    open_to_others = f"others can read or change it (mode {mode:04o}, group {_group(file.st_gid)})"
    if not stat.S_ISREG(file.st_mode):
        return "it is no file"
    if mode & (_WORLD | _GROUP_WRITES):
        return open_to_others
    return _refuse_to(reader, file, open_to_others) if reader else ""


def _refuse_to(reader: Reader, file: os.stat_result, open_to_others: str) -> str:
    """As far as it is a question of who reads it."""
    owns, group_reads = file.st_uid == reader.uid, file.st_mode & _GROUP_READS
    if not owns and file.st_uid != 0:
        return f"it belongs to {_user(file.st_uid)}, who could read and change it"
    if group_reads and file.st_gid != reader.gid:
        return open_to_others
    if reader.uid and not owns and not group_reads:
        return f"the daemon ({_user(reader.uid)}) cannot read it"
    return ""


def _remedy(path: str, reader: Reader | None) -> str:
    return f"{f'chown root:{_group(reader.gid)} {path} && ' if reader else ''}chmod 0640 {path}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _keyring(path: str, read: statements.Statements) -> Keyring:
    entries: dict[tuple[str, int], Credentials] = {}
    faults = [f"{path}:{fault.line}: {fault.what}" for fault in read.faults]
    for name, table in read.values.items():
        try:
            entries[parse_server(name)] = _credentials(table)
        except (ValueError, msgspec.ValidationError) as error:  # whose text names the key, and types only
            faults.append(f"{path}:{read.lines[name]}: {name}: {error}")
    if faults:
        raise ConfigError(faults)
    return Keyring(entries)


def _credentials(table: object) -> Credentials:
    """Raises ValueError, with the names of what is wrong and no value."""
    if misshapen := _misshapen(table):
        raise ValueError(misshapen)
    credentials = msgspec.convert(table, Credentials)
    if unfit := " and ".join(_unfit(credentials)):
        raise ValueError(f"{unfit} must not be empty, nor hold a control character")
    return credentials


def _misshapen(table: object) -> str:
    """What the parser of the values would not say in words of ours; "" if it is a table with keys that there are."""
    if not isinstance(table, dict):
        return f"it is no table: begin with a line such as {_HOST}"
    if any(isinstance(value, dict) for value in table.values()):
        return f"quotes are missing around the host's name: {_HOST}"
    names = Credentials.__struct_fields__
    unknown = next((name for name in table if name not in names), "")
    return f"there is no {unknown}; allowed: {', '.join(names)}" if unknown else ""


def _unfit(credentials: Credentials) -> Iterator[str]:
    for name in ("user", "password"):
        value = getattr(credentials, name)
        if not value or control_character(value):
            yield name
