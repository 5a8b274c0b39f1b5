# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One run's part in a trial: its private folder, who else takes part, and how they wait for each other by files.

Each run writes into its own folder only, and what it says there is whole when its name is there. What others say is
looked for in directories, never asked of `stat`.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from mailspool.errors import ClaimLost, SpoolError
from mailspool.store import fsops
from mailspool.store.claim import Owner
from mailspool.store.mount import folder

PATIENCE = 60.0
"""Seconds to wait for another run that takes part. A check in which runs wait may take longer: see `SECONDS`."""

SECONDS = 3 * PATIENCE
"""Seconds for one check, after which the file server is held for dead."""

POLL = 0.02  # seconds between two looks

END = "end"
"""The last step: who has come so far needs the others no more."""

_HELLO = "hello"
_SAW = "saw~"


class Trial(NamedTuple):
    """place: where the runs have their folders. me: this run. members: all runs that take part, as text, sorted."""

    place: str
    me: Owner
    members: tuple[str, ...]

    def folder_of(self, member: str) -> str:
        """Where a member tells what it has to tell."""
        return folder.path_of(self.place, member)

    @property
    def folder(self) -> str:
        """Of this run itself."""
        return self.folder_of(str(self.me))

    @property
    def others(self) -> tuple[str, ...]:
        """All members but this run."""
        return tuple(member for member in self.members if member != str(self.me))

    @property
    def leader(self) -> str:
        """The run whose folder holds what all of them use."""
        return self.members[0]

    @property
    def leads(self) -> bool:
        """Whether that is this one."""
        return self.leader == str(self.me)

    @property
    def arena(self) -> str:
        """The leader's folder."""
        return self.folder_of(self.leader)

    def say(self, step: str, data: bytes = b"") -> None:
        """Let the others know that this run has come so far, and what it has to tell. Raises SpoolError."""
        path = f"{self.folder}/{step}"
        fsops.replace(path, data, f"{path}~draft")

    def hear(self, step: str, seconds: float = PATIENCE) -> Mapping[str, bytes]:
        """What each member told, once all have come so far. Raises SpoolError, naming who has not, or who has left."""
        said: dict[str, bytes] = {}
        until = time.monotonic() + seconds
        while missing := [member for member in self.members if member not in said]:
            for member in missing:
                said |= _told(self.folder_of(member), member, step)
            if len(said) < len(self.members):
                _wait(until, f"no word of {', '.join(map(host_of, missing))} about {step!r} within {seconds:g} s")
        return said

    def together(self, step: str) -> None:
        """Wait until all have come so far."""
        self.say(step)
        self.hear(step)


def alone(place: str, me: Owner) -> Trial:
    """A trial of one run."""
    return Trial(place, me, (str(me),))


def greet(place: str, me: Owner) -> None:
    """Let others find this run, whose folder is there. Raises SpoolError."""
    alone(place, me).say(_HELLO)


def _told(path: str, member: str, step: str) -> Mapping[str, bytes]:
    names = fsops.read_names(path)
    if not names and step == END:  # it has heard of all of us, and gone
        return {member: b""}
    if not names:
        raise SpoolError(f"{host_of(member)} has left before {step!r}")
    with suppress(ClaimLost):  # NFS: seen by name, not yet by open
        if step in names:
            return {member: fsops.read(f"{path}/{step}")}
    return {}


def _wait(until: float, what: str) -> None:
    if time.monotonic() > until:
        raise SpoolError(what)
    time.sleep(POLL)


def host_of(member: str) -> str:
    """A run as people know it: host and pid."""
    owner = Owner.parse(member)
    return f"{owner.host} (pid {owner.pid})"


# --- finding each other


def meet(place: str, me: Owner, number: int, seconds: float) -> Trial:
    """Find the other runs: of `number` in all, each has seen each. Raises SpoolError if they do not come in time.

    A folder that a killed run has left answers nobody, so it is none of them.
    """
    mine = alone(place, me)
    greeted: set[str] = {str(me)}
    until = time.monotonic() + seconds
    while len(present := _present(mine, greeted)) < number:
        come = f"only {len(present)} of {number} came within {seconds:g} s"
        _wait(until, f"{come}: say 'mailspool check-mount --peers {number}' on all of them at once, or a longer --wait")
    if len(present) > number:
        raise SpoolError(f"{len(present)} runs are here, and --peers {number} was said: {', '.join(present)}")
    trial = Trial(place, me, tuple(sorted(present)))
    trial.say("members", msgspec.json.encode(trial.members))
    if len(set(trial.hear("members").values())) > 1:
        raise SpoolError(f"runs of several trials are here at once: run it again, --peers {number} on {number} hosts")
    return trial


def _present(mine: Trial, greeted: set[str]) -> list[str]:
    """Greet who is new; who has greeted us, and been greeted, is here: who came between the two looks still waits."""
    me = str(mine.me)
    others = [other for other in folder.owners(mine.place) if other != me]
    for other in others:
        if other not in greeted and _HELLO in _names(mine.place, other):
            mine.say(f"{_SAW}{other}")
            greeted.add(other)
    known = [other for other in others if other in greeted]
    return [me, *(other for other in known if f"{_SAW}{me}" in _names(mine.place, other))]


def _names(place: str, other: str) -> list[str]:
    path = folder.path_of(place, other)
    facts = fsops.facts(path)
    if facts and facts.st_uid != os.geteuid():
        raise SpoolError(
            f"{host_of(other)} works as uid {facts.st_uid}, this host as uid {os.geteuid()}: give the daemon's user"
            f" one uid on all hosts, or, if it runs no more: rm -r {path}"
        )
    return fsops.read_names(path)
