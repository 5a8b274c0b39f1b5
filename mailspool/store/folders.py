# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A tier's directory, with folders in which nodes stand by time: who looks for what is due reads no other folder.

What stands directly in it everybody sees: nodes that have no folder, those whose folder could not be made, and what
somebody has put there by hand. Folders are made by whoever moves a node there, and taken away by a look.
"""

# ruff: noqa: PTH120 - paths are strings: pathlib is slow to load, and slow for each node

import os
from contextlib import suppress
from typing import NamedTuple

from mailspool.errors import ClaimLost, SpoolError
from mailspool.store import fsops
from mailspool.store.nodename import is_folder, of_folder
from mailspool.store.waiting import Waiting

_SETTLED = 2 * 10**9
"""Nanoseconds after which another change to a folder bears another time, whatever the file system."""


class Depth(NamedTuple):
    """How many names there are in a folder. changed: when it was last changed before they were counted, nanoseconds.

    0: it may have changed since without a trace.
    """

    changed: int
    names: int


Depths = dict[str, Depth]
"""By the folder's name."""


def names(directory: str) -> list[str]:
    """All names in a tier, those in folders too. Raises SpoolError."""
    direct, inner = _divide(directory)
    return direct + [name for folder in inner for name in _names_in(directory, folder)]


def look(directory: str, waiting: Waiting, depths: Depths, now: float) -> tuple[list[str], int]:
    """The names in a tier but of those who wait, and how many stand there in all. Raises SpoolError.

    depths: what an earlier look counted; brought up to date here. now: Unix seconds. Of a folder of nodes that wait
    it is only asked whether it has changed since. One whose time is over is taken away if it is empty.
    """
    direct, inner = _divide(directory)
    found, depth = list(waiting.outside(direct)), len(direct)
    counted: Depths = {}
    for folder in inner:
        if waiting.covers(folder):
            counted[folder] = _count(f"{directory}/{folder}", depths.get(folder), now)
            depth += counted[folder].names
            continue
        inside = _names_in(directory, folder)
        depth += len(inside)
        found += waiting.outside(inside)
        if not inside and waiting.is_past(folder):
            with suppress(SpoolError):  # the next look comes by
                fsops.remove_directory(f"{directory}/{folder}")
    depths.clear()
    depths |= counted
    return found, depth


def enter(source: str, place: str, direct: str) -> None:
    """Rename to a place in a folder, which is made if it is not there; directly into the tier, if that cannot be.

    A lookout may take the folder away at any moment, a full disk has no room for one, and what is called so may be no
    directory: the node must not stay behind for that. Raises as `fsops.rename_to_new`.
    """
    folder = os.path.dirname(place)
    if fsops.is_directory(folder):  # else a link would lead out of the spool
        try:
            fsops.rename_to_new(source, place)
        except ClaimLost:
            if not fsops.is_there(source):
                raise
        else:
            return
    try:
        if fsops.make_directory(folder):
            fsops.sync_directory(os.path.dirname(folder))
        fsops.rename_to_new(source, place)
    except fsops.Exists:
        raise
    except SpoolError:
        fsops.rename_to_new(source, direct)


def within(directory: str) -> list[str]:
    """The folders of a tier. Raises SpoolError."""
    return _divide(directory)[1]


def strays(directory: str, folder: str) -> set[str]:
    """What stands in a folder and does not belong there: nobody looks for it. Raises SpoolError."""
    found = fsops.read_folder(f"{directory}/{folder}")
    return {*found}.difference(of_folder(folder, found))


def _divide(directory: str) -> tuple[list[str], list[str]]:
    """What stands directly in a tier, and the folders there."""
    found = fsops.read_names(directory)
    inner = list(filter(is_folder, found))
    return [name for name in found if not is_folder(name)] if inner else found, inner


def _names_in(directory: str, folder: str) -> list[str]:
    return of_folder(folder, fsops.read_folder(f"{directory}/{folder}"))


def _count(folder: str, known: Depth | None, now: float) -> Depth:
    """As it is known, if the folder has not changed. It is only to be shown: let NFS tell late of a change."""
    facts = fsops.facts(folder)
    changed = facts.st_mtime_ns if facts else 0
    if known and changed and known.changed == changed:
        return known
    names = len(fsops.read_folder(folder))
    return Depth(changed if now * 1e9 - changed > _SETTLED else 0, names)
