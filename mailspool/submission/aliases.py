# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""/etc/aliases, as sendmail and Postfix write it (aliases(5)): whose mail goes to whom, and who is nobody here.

No mail is delivered on this host, so a name must lead to an address elsewhere; pipes and files are refused by name. The
file is read when a local address is asked for; a fault in one entry is told to those whose mail needs it, and stops no
other. Loops end; an included file must belong to root or to the spool's user and be nobody else's to write.
"""

# ruff: noqa: PTH123 - pathlib would cost `sendmail` milliseconds

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

from mailspool.errors import AddressError, ConfigError, NoSuchUser
from mailspool.message.mailbox import parse_for_address

DEFAULT = "default"
"""The entry for every bare name that has none of its own, as in msmtp's aliases."""

LOCALHOST = "localhost"
MAX_DEPTH = 50  # of aliases within aliases
MAX_OCTETS = 1 << 20  # of a file; a larger one is refused

_INCLUDE, _FAIL = ":include:", ":fail:"
_OWNER = "owner-"

_Found = Iterator[tuple[str, str]]
"""Addresses, each with the alias of whom it belongs to: `owner-staff`, "" for none."""


class Entry(NamedTuple):
    """What stands behind a name. place: file:line of its beginning."""

    value: str
    place: str


class Aliases:
    """The aliases of one file. path: "" for none; a file that is not there has no entries.

    domains: whose names are looked up, in lower case; "localhost" always is. Raises ConfigError if the file cannot be
    read.
    """

    def __init__(self, path: str, domains: Iterable[str]) -> None:
        self._path = path
        self._domains = {LOCALHOST, *domains}
        self._all = list(_entries(path)) if path else []
        self._entries = {name: entry for name, entry in reversed(self._all) if name}  # of two the first counts

    def expand(self, address: str, bare: bool) -> Mapping[str, str]:
        """Where mail for a checked address goes: the address itself if no alias is about it; and by which sender.

        For an alias `staff` beside which there is an `owner-staff` that is the latter's address, else "": its own.
        bare: it came without a domain. Raises NoSuchUser for a bare name without an alias, ConfigError for an entry
        that cannot be followed.
        """
        found: dict[str, str] = {}
        for target, owner in self._follow(address, bare, ()):
            found.setdefault(target, owner)
        domain = address.rpartition("@")[2]
        return {target: self._sender(owner, domain) for target, owner in found.items()}

    def _sender(self, owner: str, domain: str) -> str:
        """As sendmail has it: the one address behind the alias; of several, the alias itself."""
        if not owner:
            return ""
        first, *more = dict(self._follow(f"{owner}@{LOCALHOST}", True, ()))
        return f"{owner}@{domain}" if more and domain != LOCALHOST else first

    def faults(self) -> Iterator[str]:
        """What is wrong with the file, one line each, with its place: every entry is followed to its end."""
        for name, entry in self._all:
            if not name:
                yield f"{entry.place}: found {entry.value!r}, which is no 'name: address'"
            elif entry is not (first := self._entries[name]):
                yield f"{entry.place}: alias {name!r} counts for nothing: it has an entry already, {first.place}"
            elif not entry.value.lower().startswith(_FAIL):
                yield from dict.fromkeys(self._faults_of(name, entry))

    def _faults_of(self, name: str, entry: Entry) -> Iterator[str]:
        for value in _split(entry.value) or [""]:  # one by one, since a fault ends an expansion
            try:
                list(self._targets(entry._replace(value=value), name, (name,), ""))
            except ConfigError as error:
                yield from error.problems
            except NoSuchUser as error:
                yield f"{entry.place}: alias {name!r}: {error}"

    def _follow(self, address: str, bare: bool, chain: tuple[str, ...], owner: str = "") -> _Found:
        local, _, domain = address.rpartition("@")
        name = _unquoted(local).lower()
        bare = bare or domain == LOCALHOST
        entry = self._entries.get(name) if bare or domain in self._domains else None
        if name in chain and not bare:  # `root: root@example.org` means what it says
            entry = None
        if entry is None and bare and self._path:
            entry = self._entries.get(DEFAULT) or self._nobody(local, chain)
        if entry is None:
            yield address, owner
            return
        if name in chain or len(chain) > MAX_DEPTH:
            raise _fault(
                entry, name, f"it leads back to itself ({' → '.join((*chain, name))}): name an address elsewhere"
            )
        own = f"{_OWNER}{name}"
        known = own in self._entries and not name.startswith(_OWNER)
        yield from self._targets(entry, name, (*chain, name), own if known else owner)

    def _nobody(self, local: str, chain: Sequence[str]) -> Entry:
        through = f" (for {chain[0]!r})" if chain else ""
        raise NoSuchUser(
            f"there is nobody called {local!r} on this host{through}:"
            f" add '{local}: you@example.org' to {self._path}, or give the address with its domain"
        )

    def _targets(self, entry: Entry, name: str, chain: tuple[str, ...], owner: str) -> _Found:
        if entry.value.lower().startswith(_FAIL):
            raise NoSuchUser(entry.value[len(_FAIL) :].strip() or f"{name!r} takes no mail")
        targets = _split(entry.value)
        if not targets:
            raise _fault(entry, name, "nobody stands behind it: name an address")
        for target in targets:
            if target.lower().startswith(_INCLUDE):
                for line in _included(entry, name, target[len(_INCLUDE) :].strip()):
                    yield from self._target(line, name, chain, owner)
            else:
                yield from self._target(Entry(target, entry.place), name, chain, owner)

    def _target(self, entry: Entry, name: str, chain: tuple[str, ...], owner: str) -> _Found:
        target = _unquoted(entry.value)
        if what := _not_an_address(target):
            raise _fault(entry, name, f"{target!r} is {what}: mailspool delivers to other hosts only; name an address")
        try:
            mailboxes = parse_for_address(entry.value, LOCALHOST)
        except AddressError as error:
            raise _fault(entry, name, str(error)) from None
        for mailbox in mailboxes:
            yield from self._follow(mailbox.address, mailbox.completed, chain, owner)


def _not_an_address(target: str) -> str:
    """What it is instead, "" if it may be one."""
    return {"|": "a pipe", "/": "a file", "\\": "a mailbox of this host", ":": "no directive that is known"}.get(
        target[:1], ""
    )


def _fault(entry: Entry, name: str, words: str) -> ConfigError:
    return ConfigError([f"{entry.place}: alias {name!r}: {words}"])


# --- reading


def _entries(path: str) -> Iterator[tuple[str, Entry]]:
    """Name, in lower case, and entry, as they stand in the file."""
    return map(_entry, _logical_lines(path))


def _entry(line: Entry) -> tuple[str, Entry]:
    """A line without a name and a colon is nobody's, found by nobody, and its own value."""
    text = line.value
    quoted = _quoted_end(text)
    colon = text.find(":", quoted)
    name = text[1 : quoted - 1].replace('\\"', '"') if quoted else text[: max(colon, 0)].strip()
    return (name.lower(), Entry(text[colon + 1 :].strip(), line.place)) if name and colon >= 0 else ("", line)


def _quoted_end(text: str) -> int:
    """Behind the quoted string that `text` begins with; 0 if it begins with none."""
    if not text.startswith('"'):
        return 0
    place = 1
    while place < len(text) and text[place] != '"':
        place += 2 if text[place] == "\\" else 1
    return min(place + 1, len(text))


def _logical_lines(path: str) -> Iterator[Entry]:
    """Lines with their continuations; comments and empty lines are left out, between continuations too."""
    number, text = 0, ""
    for at, line in enumerate(_read(path), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and text:
            text += " " + line.strip()
            continue
        if text:
            yield Entry(text, f"{path}:{number}")
        number, text = at, line.strip()
    if text:
        yield Entry(text, f"{path}:{number}")


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return _lines(file)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError([f"aliases_file: {path} cannot be read: {error.strerror}"]) from None


def _included(entry: Entry, name: str, path: str) -> Iterator[Entry]:
    """The addresses in an included file, any number on a line."""
    path = _unquoted(path)
    if not path.startswith("/"):
        raise _fault(entry, name, f"the included file {path!r} must be named by its absolute path")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=_open_without_waiting) as file:
            if what := _unsafe(os.fstat(file.fileno())):
                raise _fault(entry, name, f"the included file {path} {what}")
            lines = _lines(file)
    except OSError as error:
        raise _fault(entry, name, f"the included file {path} cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield from (Entry(target, f"{path}:{number}") for target in _split(line))


def _lines(file: IO[str]) -> list[str]:
    """All of them: who stands behind the end must not go without. Raises OSError."""
    if len(text := file.read(MAX_OCTETS + 1)) > MAX_OCTETS:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return text.split("\n")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO has no end


def _unsafe(facts: os.stat_result) -> str:
    if not stat.S_ISREG(facts.st_mode):
        return "is no regular file"
    if facts.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        return "may be written by others: chmod go-w"
    owners: Collection[int] = {0, os.geteuid()}
    return (
        "" if facts.st_uid in owners else f"belongs to uid {facts.st_uid}, which is neither root nor the spool's user"
    )


def _split(text: str) -> list[str]:
    """What stands between commas outside quotes and brackets; empty ones are left out."""
    found, start, depth, quoted, place = [], 0, 0, False, 0
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 1
        elif letter == '"':
            quoted = not quoted
        elif not quoted and letter in "(<":
            depth += 1
        elif not quoted and letter in ")>":
            depth -= 1
        elif letter == "," and not quoted and depth <= 0:
            found.append(text[start:place])
            start = place + 1
        place += 1
    found.append(text[start:])
    return [each.strip() for each in found if each.strip()]


def _unquoted(text: str) -> str:
    whole = len(text) > 1 and _quoted_end(text) == len(text)
    return text[1:-1].replace('\\"', '"') if whole else text
