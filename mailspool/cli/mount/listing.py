# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How long a name made by one host takes to be seen by another: by reading the directory, and by opening it.

Clocks do not matter: a host makes a name, the others answer with names of their own, and it stops its own watch.
"""

import time
from collections.abc import Callable, Iterator, Mapping

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


_WAYS: Mapping[str, Callable[[str, str], bool]] = {"readdir": _listed, "open": _opened}


def delay(trial: Trial) -> Iterator[Found]:
    """Each host asks in its turn, all others answer; it judges its own."""
    if len(trial.members) == 1:
        yield ok("not tried with one host alone: --peers does it")
        return
    for way, sees in _WAYS.items():
        for asker in trial.members:
            trial.together(f"{way}.{asker}")
            if asker == str(trial.me):
                yield _judged(way, max(_ask(trial, f"{way}{number}", sees) for number in range(ROUNDS)))
            else:
                for number in range(ROUNDS):
                    _answer(trial, asker, f"{way}{number}", sees)


def _judged(way: str, seconds: float) -> Found:
    text = f"what another host makes is seen by {way} in {seconds:.2f} s, there and back"
    fix = "mount it with acdirmin=1,acdirmax=5 (or lookupcache=positive), without a long actimeo"
    if seconds > TOO_LATE:
        return problem(text, fix)
    return warning(text, fix) if seconds > LATE else ok(text)


def _ask(trial: Trial, name: str, sees: Callable[[str, str], bool]) -> float:
    for other in trial.others:
        sees(trial.folder_of(other), f"{name}.{trial.me}")  # not there: the kernel may remember that
    began = time.monotonic()
    fsops.close(fsops.create(f"{trial.folder}/{name}"))
    for other in trial.others:
        _watch(trial.folder_of(other), f"{name}.{trial.me}", sees)
    return time.monotonic() - began


def _answer(trial: Trial, asker: str, name: str, sees: Callable[[str, str], bool]) -> None:
    _watch(trial.folder_of(asker), name, sees)
    fsops.close(fsops.create(f"{trial.folder}/{name}.{asker}"))


def _watch(directory: str, name: str, sees: Callable[[str, str], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not sees(directory, name):
        if time.monotonic() > until:
            raise SpoolError(f"{directory}/{name} is not seen within {PATIENCE:g} s of being made")
        time.sleep(POLL)
