# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which nodes a command line means. Looking makes nothing: where there is no spool, it says so."""

import os
import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from mailspool.errors import SpoolError
from mailspool.spool import Spool
from mailspool.store import nodename
from mailspool.store.base import Location, State, Store
from mailspool.store.filesystem import FileStore

ALL = "ALL"


class Selection(NamedTuple):
    """The nodes that were meant, and the words that meant none."""

    locations: tuple[Location, ...]
    unknown: tuple[str, ...]


def existing(spool: Spool) -> Store:
    """The store of a spool that is there, and that we may read. Raises SpoolError."""
    store = spool.store
    if isinstance(store, FileStore):
        store.check()
    if not os.path.lexists(spool.settings.dequeue_dir):
        raise SpoolError(
            f"there is no spool at {spool.settings.dequeue_dir}: start mailspoold, which makes it,"
            " or name the configuration of another with -c FILE"
        )
    return store


def select(store: Store, words: Sequence[str], states_of_all: Collection[State]) -> Selection:
    """The nodes whose ID, ID.N or whole name is among `words`; for ALL, those in certain states."""
    everything = list(once(store.locations()))
    if ALL in words:
        return Selection(tuple(at for at in everything if at.state in states_of_all), ())
    wanted = set(words)
    meant = {at: wanted.intersection(_names_of(at)) for at in everything}
    named = set().union(*meant.values())
    return Selection(
        tuple(at for at, found in meant.items() if found), tuple(word for word in words if word not in named)
    )


def once(locations: Iterable[Location]) -> list[Location]:
    """Each node where it was seen last, by arrival: one that moves meanwhile may have been seen twice."""
    latest = {_identity(at): at for at in locations}
    return [latest[identity] for identity in sorted(latest)]


def message_id(location: Location) -> str:
    """The ID in a name, or what stands for it where there is none."""
    return nodename.node_id_of(location.name).rpartition(".")[0] or location.name


def put_back(spool: Spool, location: Location) -> str:
    """The shell command by which an operator returns what is held or in quarantine to its tier."""
    root = spool.settings.dequeue_dir
    target = shlex.quote(f"{root}/{location.tier}/")
    if location.state is State.HELD:
        return f"mv -n {shlex.quote(f'{root}/held/{location.tier}/{location.name}')} {target}"
    path = f"{root}/quarantine/{location.name}"
    return f"mv -n {shlex.quote(path)} {target} && rm {shlex.quote(path + nodename.REASON)}"


def _identity(at: Location) -> tuple[str, int, str]:
    """Sorts by arrival, then by recipient. In quarantine names may be anything, even alike."""
    node_id = nodename.node_id_of(at.name)
    if at.state is State.QUARANTINED or not node_id:
        return message_id(at), len(at.name), at.name
    return message_id(at), len(node_id), node_id


def _names_of(at: Location) -> set[str]:
    return {message_id(at), nodename.node_id_of(at.name), at.name} - {""}
