# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How long a name made by one host takes to be seen by another: in the directory, and then, as the spool does, by open.

Clocks do not matter: a host makes a name, the others answer with names of their own, and it stops its own watch. An
NFS client may remember for acdirmax (60 s) that a name was not there: the spool never asks for one it has not read.
"""

import time
from collections.abc import Callable, Iterator

from mailspool.cli.doctor.finding import Found, ok, problem, warning
from mailspool.cli.mount.trial import PATIENCE, POLL, Trial
from mailspool.errors import SpoolError
from mailspool.store import fsops

ROUNDS = 3
LATE = 2.0
"""Seconds there and back; more makes hosts wait for each other's mail."""

TOO_LATE = 20.0
"""Seconds; a third of the time after which an owner without a sign of life is held for dead."""


def _listed(directory: str, name: str) -> bool:
    return name in fsops.read_names(directory)


def _opened(directory: str, name: str) -> bool:
    return fsops.is_there(f"{directory}/{name}")


def delay(trial: Trial) -> Iterator[Found]:
    """Each host asks in its turn, all others answer; it judges how long that took, and what it saw of the others'."""
    if not trial.others:
        yield ok("not tried with one host alone: --peers does it")
        return
    opened = 0.0
    for asker in trial.members:
        names = [f"{asker}.{number}" for number in range(ROUNDS)]
        for name in names:
            _opened(trial.folder_of(asker), name)  # not there yet: the kernel may remember that
        trial.together(f"listing.{asker}")
        if asker == str(trial.me):
            yield _judged("seen in its directory, there and back,", max(_ask(trial, name) for name in names))
        else:
            opened = max(opened, *(_answer(trial, asker, name) for name in names))
    yield _judged("opened, once it is seen,", opened)


def _judged(what: str, seconds: float) -> Found:
    text = f"what another host makes is {what} within {seconds:.2f} s"
    fix = "mount it with lookupcache=positive and acdirmin=1,acdirmax=5, without a long actimeo"
    if seconds > TOO_LATE:
        return problem(text, fix)
    return warning(text, fix) if seconds > LATE else ok(text)


def _ask(trial: Trial, name: str) -> float:
    began = time.monotonic()
    fsops.close(fsops.create(f"{trial.folder}/{name}"))
    for other in trial.others:
        _watch(_listed, trial.folder_of(other), f"answer~{name}")
    return time.monotonic() - began


def _answer(trial: Trial, asker: str, name: str) -> float:
    """Seconds until what is in the directory can be opened."""
    _watch(_listed, trial.folder_of(asker), name)
    fsops.close(fsops.create(f"{trial.folder}/answer~{name}"))
    return _watch(_opened, trial.folder_of(asker), name)


def _watch(sees: Callable[[str, str], bool], directory: str, name: str) -> float:
    began = time.monotonic()
    while not sees(directory, name):
        if time.monotonic() - began > PATIENCE:
            raise SpoolError(f"{directory}/{name} is not seen within {PATIENCE:g} s of being made")
        time.sleep(POLL)
    return time.monotonic() - began
