# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The private folder of one run of `mailspool check-mount`, `check-mount~<owner>`: made, found again, removed.

Only its owner writes into it, and removes it. What a killed run has left goes when nobody can be using it any more.
"""

import stat
from collections.abc import Collection, Iterator
from contextlib import suppress

from mailspool.errors import ClaimLost, SpoolError, Unreadable
from mailspool.store import fsops
from mailspool.store.claim import Owner, is_dead
from mailspool.store.mount.passed import PREFIX as RECORD

PREFIX = "check-mount~"
SUMMARY = f"{PREFIX}summary"
"""A file: what each host found when several checked at once, the last time."""

OLD = 86400.0
"""Seconds after which nobody uses a folder any more: a run ends long before (`cli.mount.command.MAX_WAIT`)."""


def path_of(place: str, owner: str) -> str:
    """The folder of an owner, below `place`."""
    return f"{place}/{PREFIX}{owner}"


def owners(place: str) -> list[str]:
    """Whose folders there are, as text, sorted; what is of no owner is left out."""
    found = (name.removeprefix(PREFIX) for name in fsops.read_names(place) if name.startswith(PREFIX))
    return sorted(text for text in found if parsed(text))


def parsed(text: str) -> Owner | None:
    """The owner that a text stands for, None if it stands for none."""
    try:
        return Owner.parse(text)
    except Unreadable:
        return None


def remove(path: str) -> None:
    """A file, or a folder with all that is in it. No link is followed. Raises SpoolError."""
    facts = fsops.facts(path)
    if facts is None:
        return
    if not stat.S_ISDIR(facts.st_mode):
        with suppress(ClaimLost):  # removed meanwhile
            fsops.unlink(path)
        return
    for name in fsops.read_names(path):
        remove(f"{path}/{name}")
    fsops.remove_directory(path)


def sweep(place: str, me: Owner, alive: Collection[str]) -> Iterator[str]:
    """Remove what killed runs have left: folders, and drafts of their passes. Yields the name of each.

    me: a run that has its folder. alive: owners that were heard of just now. Of this host's, it is those of owners
    that run no more; of other hosts', those that are `OLD` by the file server's clock.
    """
    mine = fsops.facts(path_of(place, str(me)))
    for name in sorted(fsops.read_names(place)):
        text = name.rpartition("~")[2]
        owner = parsed(text) if name.startswith((PREFIX, RECORD)) else None
        if owner is None or text in alive or owner == me:
            continue
        facts = fsops.facts(f"{place}/{name}")
        if is_dead(owner, me) or (facts and mine and mine.st_mtime - facts.st_mtime > OLD):
            remove(f"{place}/{name}")
            yield name


def make(place: str, owner: str) -> str:
    """Make the folder; its path. Raises SpoolError, also if it is there already."""
    path = path_of(place, owner)
    if not fsops.make_directory(path):
        raise SpoolError(f"cannot make {path}: it is there already")
    return path
