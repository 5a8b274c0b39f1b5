# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the type of an option cannot say: which values make sense, alone and together."""

from collections.abc import Callable, Iterator
from math import isinf
from typing import TypeVar

from mailspool.config.schema import Settings
from mailspool.errors import AddressError
from mailspool.model.address import control_character, parse_address, parse_domain

Fault = tuple[str, str]
"""An option's name (a route's is routes.PATTERN), and what is wrong with it."""

Views = tuple[Fault, ...]
"""One fault, as it is seen from each of the options that have a part in it."""

Text = TypeVar("Text")

DIRECTORIES = ("dequeue_dir", "run_dir", "usage_log")
FILES = ("credentials_file", "log_file")
MAX_RUN_DIR_OCTETS = 80  # the control socket's whole path must fit into the 108 octets of sun_path (unix(7))


def faults(settings: Settings) -> Iterator[Fault]:
    """All that is wrong with settings whose types are right and whose defaults are filled in."""
    yield from alone(settings)
    for views in together(settings):
        yield views[0]


def alone(settings: Settings) -> Iterator[Fault]:
    """What is wrong with a value whatever the others are."""
    yield from _paths(settings)
    yield from _parsed("hostname", settings.hostname, parse_domain)
    if not settings.user or control_character(settings.user):
        yield "user", f"found {settings.user!r}; allowed: the name of a user of this system"
    if settings.mail_name != settings.hostname:  # else it is told above
        yield from _parsed("mail_name", settings.mail_name, parse_domain)
    if not settings.postmaster_address.endswith(f"@{settings.mail_name}"):
        yield from _parsed("postmaster_address", settings.postmaster_address, parse_address)
    if settings.smarthost or settings.routes or settings.nameservers:
        yield from _targets(settings)
    if settings.limits:
        yield from _limits(settings)
    if not settings.dequeue_periods:
        yield "dequeue_periods", "found an empty list; allowed: one duration or more, one for each tier"
    if any(map(isinf, settings.dequeue_periods)):
        yield "dequeue_periods", "found inf; allowed: finite numbers"
    for name in settings.__struct_fields__:
        if getattr(settings, name) == float("inf"):
            yield name, "found inf; allowed: a finite number"


def together(settings: Settings) -> Iterator[Views]:
    """Which values do not fit each other."""
    lists = {"dequeue_priority": settings.dequeue_priority, "dequeue_periods": settings.dequeue_periods}
    if len(set(map(len, lists.values()))) > 1:
        yield tuple(
            (name, f"found {len(lists[name])} numbers; allowed: as many as in {other}, which has {len(lists[other])}")
            for name, other in (tuple(lists), tuple(lists)[::-1])
        )


def _targets(settings: Settings) -> Iterator[Fault]:
    from mailspool.model.target import parse_nameserver, parse_pattern, parse_targets  # who has none pays for none

    if settings.smarthost:
        yield from _parsed("smarthost", settings.smarthost, parse_targets)
    for pattern, targets in settings.routes.items():
        if pattern in settings.__struct_fields__:
            yield f"routes.{pattern}", "is an option of its own: put it above the line [routes]"
        yield from _parsed(f"routes.{pattern}", pattern, parse_pattern)
        if not targets:
            yield f"routes.{pattern}", "names no target"
        yield from _parsed(f"routes.{pattern}", targets, parse_targets)
    for server in settings.nameservers:
        yield from _parsed("nameservers", server, parse_nameserver)


def _limits(settings: Settings) -> Iterator[Fault]:
    from mailspool.model.rules import parse_rule  # as above

    meant: dict[str, str] = {}
    for pattern in settings.limits:
        name = f"limits.{pattern}"
        if pattern in settings.__struct_fields__:
            yield name, "is an option of its own: put it above the line [limits]"
        try:
            twin = meant.setdefault(parse_rule(pattern), pattern)
        except ValueError as error:
            yield name, str(error)
        else:
            if twin != pattern:
                yield name, f"is the same as limits.{twin}"


def _paths(settings: Settings) -> Iterator[Fault]:
    for name in (*DIRECTORIES, *FILES):
        path = getattr(settings, name)
        if name in FILES and not path:
            continue
        if not path.startswith("/") or control_character(path):
            yield name, f"found {path!r}; allowed: an absolute path without control characters"
    if settings.aliases_file and not settings.aliases_file.startswith("/"):
        yield "aliases_file", f'found {settings.aliases_file!r}; allowed: an absolute path, or "" for no aliases'
    if len(settings.run_dir.encode()) > MAX_RUN_DIR_OCTETS:
        yield "run_dir", f"found {settings.run_dir!r}; allowed: at most {MAX_RUN_DIR_OCTETS} octets"


def _parsed(name: str, text: Text, parse: Callable[[Text], object]) -> Iterator[Fault]:
    try:
        parse(text)
    except (AddressError, ValueError) as error:
        yield name, str(error)
