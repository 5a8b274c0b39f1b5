# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""All checks of a mount, in their order; each is done in a child of its own, by the daemon's user or by root."""

import pwd
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from mailspool.cli.doctor import machine
from mailspool.cli.doctor.finding import Finding, Found, Level, problem
from mailspool.cli.mount import crew, files, identity, listing, mounted, races
from mailspool.cli.mount.trial import SECONDS, Trial
from mailspool.config.schema import Settings
from mailspool.errors import SpoolError
from mailspool.store.mount.mountinfo import Mount

_AGAIN = "mend that, then run it again"

Findings = list[tuple[Level, str, str]]
"""As a child says them."""


class Check(NamedTuple):
    """area: as "uid". user: whose rights it needs; None: the caller's own."""

    area: str
    find: Callable[[], Iterable[Found]]
    user: pwd.struct_passwd | None


def still(settings: Settings, directory: str, mount: Mount) -> Iterator[Check]:
    """Those that touch nothing."""
    yield Check("mount", partial(mounted.kind, mount, directory, shared=settings.shared), None)
    yield Check("unseen", partial(mounted.unseen, mount), None)
    yield Check("room", partial(machine.room, replace(settings, dequeue_dir=directory)), None)


def by_doing(trial: Trial, user: pwd.struct_passwd | None) -> Iterator[Check]:
    """Those that need a trial's folder. user: the daemon's, None if the caller is to be it."""
    if len(trial.members) > 1:
        yield Check("hosts", partial(identity.hosts, trial), user)
    yield Check("uid", partial(identity.user, trial), user)
    if user:
        yield Check("uid", partial(identity.root, trial, user.pw_uid, user.pw_gid), None)
        yield Check("uid", partial(identity.given, trial), user)
    for area, find in (
        ("clock", identity.clock),
        ("fsync", files.durable),
        ("links", files.links),
        ("links", races.onto_itself),
        ("names", files.names),
        ("listing", listing.delay),
        ("rename", partial(races.race, races.RACES["rename"])),
        ("link", races.race_for_links),
        ("create", partial(races.race, races.RACES["create"])),
        ("append", files.appended),
    ):
        yield Check(area, partial(find, trial), user)


def done(check: Check) -> list[Finding]:
    """What a check finds. A local fault that keeps it from ending is a problem."""
    try:
        found: Findings = crew.call(partial(_found, check), Findings, SECONDS, check.user)
    except SpoolError as error:
        found = [problem(str(error), _AGAIN)]
    return of(check.area, found)


def _found(check: Check) -> Findings:
    """With what was found before the fault."""
    found = []
    try:
        for each in check.find():
            found.append(each)  # noqa: PERF402 - all that came before an error counts
    except SpoolError as error:
        found.append(problem(str(error), _AGAIN))
    return found


def of(area: str, found: Sequence[Found]) -> list[Finding]:
    """As findings of an area."""
    return [Finding(area, level, text, fix) for level, text, fix in found]
