# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Races: many processes, on all hosts that take part, after the same names; exactly one must get each.

`rename` is what a claim is, `link` and `create` (O_EXCL) are what accept and quarantine rely on. A step that is denied
though it was done is settled as the spool does it, by a look at a name that nobody else can make, and counted.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import NamedTuple

import msgspec

from mailspool.cli.doctor.finding import Found, ok, problem, warning
from mailspool.cli.mount import crew
from mailspool.cli.mount.trial import PATIENCE, Trial
from mailspool.cli.text import count
from mailspool.errors import ClaimLost
from mailspool.store import fsops

RACERS = 4
FILES = 100
"""Names to be had, for each host that takes part; of many hosts those of `ENOUGH`."""

ENOUGH = 4

_NFS_BROKEN = "do not put a spool there: the file server, or what is before it, breaks rules that every host relies on"


class Tally(msgspec.Struct):
    """One racer's. won: what it got. denied: how often it was told no, and had it. undone: told yes, and had it not."""

    won: list[str]
    denied: int
    undone: list[str]
    seconds: float


class Race(NamedTuple):
    """prepare: makes what a name stands for. take: tries to get it; what was said, and whether it has it by then.

    holds: whether it has it in the end.
    """

    what: str
    prepare: Callable[[str], None]
    take: Callable[[str, str], tuple[bool, bool]]
    holds: Callable[[str, str], bool]


def race(kind: Race, trial: Trial) -> Iterator[Found]:
    """One race. Each host makes its own judgement of what all of them tell."""
    names = [f"{kind.what}{number}" for number in range(FILES * min(ENOUGH, len(trial.members)))]
    if trial.leads:
        for name in names:
            kind.prepare(f"{trial.arena}/{name}")
    trial.together(f"{kind.what}.ready")
    racers = [partial(_run, kind, trial, names, f"{trial.folder}/{kind.what}~{number}") for number in range(RACERS)]
    tallies: list[Tally] = crew.race(racers, Tally, PATIENCE)
    trial.say(f"{kind.what}.tallies", msgspec.json.encode(tallies))
    told = trial.hear(f"{kind.what}.tallies").values()
    yield from judged(names, [msgspec.json.decode(each, type=list[Tally]) for each in told])


def _run(kind: Race, trial: Trial, names: Sequence[str], own: str) -> Tally:
    """own: a file of this racer's, with its own name in it, and how each name begins that only this racer makes."""
    tally = Tally([], 0, [], 0.0)
    _write(own, own)
    began = time.monotonic()
    taken = []
    for name in names:
        said, has = kind.take(f"{trial.arena}/{name}", own)
        if said or has:
            taken.append(name)
            tally.denied += not said
    tally.seconds = time.monotonic() - began
    for name in taken:
        into = tally.won if kind.holds(f"{trial.arena}/{name}", own) else tally.undone
        into.append(name)
    return tally


def judged(names: Sequence[str], hosts: Sequence[Sequence[Tally]]) -> Iterator[Found]:
    """What the tallies of all hosts' racers say. Whoever was told yes and has nothing did not win."""
    tallies = list(chain.from_iterable(hosts))
    winners = Counter(chain.from_iterable(tally.won for tally in tallies))
    twice = [name for name in names if winners[name] > 1]
    lost = [name for name in names if not winners[name]]
    undone = sum(len(tally.undone) for tally in tallies)
    denied = sum(tally.denied for tally in tallies)
    if twice:
        yield problem(f"{len(twice)} of {len(names)} were had by more than one: mail would be sent twice", _NFS_BROKEN)
    if lost:
        yield problem(f"{len(lost)} of {len(names)} were had by nobody: mail would be lost", _NFS_BROKEN)
    if undone:
        yield problem(f"{undone} times it was said to be done, and was not", _NFS_BROKEN)
    if not (twice or lost or undone):
        rate = len(names) / max(0.001, *(tally.seconds for tally in tallies))
        who = f"{len(tallies)} processes on {count(len(hosts), 'host')}"
        yield ok(f"{len(names)} had by exactly one of {who} each, {rate:.0f} a second")
    if denied:
        why = "a request was repeated: the spool looks and goes on; if there are many, replies get lost"
        yield warning(f"{denied} times it was denied though done: {why}", "look at the network: nfsstat -rc")


# --- what is raced for


def _make(path: str) -> None:
    fsops.close(fsops.create(path))


def _leave(path: str) -> None:
    """The name is to be made by who wins it."""


def _rename(source: str, own: str) -> tuple[bool, bool]:
    said = True
    try:
        fsops.rename(source, _unique(source, own))
    except ClaimLost:
        said = False
    return said, fsops.is_there(_unique(source, own))


def _has_renamed(source: str, own: str) -> bool:
    return fsops.is_there(_unique(source, own)) and not fsops.is_there(source)


def _unique(source: str, own: str) -> str:
    return f"{own}~{source.rpartition('/')[2]}"


def _link(target: str, own: str) -> tuple[bool, bool]:
    try:
        fsops.link(own, target)
    except fsops.Exists:
        return False, False
    return True, True


def _create(target: str, own: str) -> tuple[bool, bool]:
    try:
        _write(target, own)
    except fsops.Exists:
        return False, False
    return True, True


def _write(path: str, content: str) -> None:
    file = fsops.create(path)
    try:
        fsops.write(file, content.encode())
    finally:
        fsops.close(file)


def _holds(target: str, own: str) -> bool:
    """Who has it is written in it."""
    with suppress(ClaimLost):
        return fsops.read(target) == own.encode()
    return False


RACES: Mapping[str, Race] = {
    "rename": Race("rename", _make, _rename, _has_renamed),
    "link": Race("link", _leave, _link, _holds),
    "create": Race("create", _leave, _create, _holds),
}


def can_link(trial: Trial) -> bool:
    """Whether there are hard links at all, without which there is nothing to race for."""
    path = f"{trial.folder}/can-link"
    _make(path)
    try:
        fsops.link(path, f"{path}~2")
    except fsops.CannotLink:
        return False
    return True


def race_for_links(trial: Trial) -> Iterator[Found]:
    """As `race`, where there are links."""
    if can_link(trial):
        yield from race(RACES["link"], trial)


def onto_itself(trial: Trial) -> Iterator[Found]:
    """Rename onto another link of the same file: it does nothing, says yes, and leaves both (POSIX rename)."""
    first, second = f"{trial.folder}/itself", f"{trial.folder}/itself~2"
    _write(first, "content")
    fsops.link(first, second)
    fsops.rename(first, second)
    left = [path for path in (first, second) if fsops.is_there(path)]
    if second not in left or fsops.read(second) != b"content":
        yield problem("a file renamed onto another link of itself is gone", _NFS_BROKEN)
    else:
        done = "does nothing and says yes" if first in left else "takes the old name away"
        yield ok(f"a file renamed onto another link of itself: it {done}; the spool's target names are always new")
