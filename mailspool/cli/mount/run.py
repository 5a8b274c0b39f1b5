# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One run of `mailspool check-mount`: where, as whom, with whom, all checks, and what is kept of it.

Everything is tried in a private folder that is removed again, in children: this process never touches the mount
itself, so that whatever hangs there, it can still say so.
"""

import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial

import msgspec

from mailspool.cli.doctor.finding import Finding, Found, Level, ok, problem, unknown
from mailspool.cli.doctor.shown import problems
from mailspool.cli.mount import checks, crew, trial
from mailspool.cli.mount.trial import PATIENCE, SECONDS, Trial, host_of
from mailspool.cli.options import say
from mailspool.cli.terminal import watched
from mailspool.cli.text import count, span
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError, SpoolError
from mailspool.store import fsops
from mailspool.store.claim import Owner, this_owner
from mailspool.store.mount import folder, mountinfo, passed
from mailspool.store.mount.mountinfo import Mount
from mailspool.supervisor import privileges
from mailspool.version import VERSION


class Place(msgspec.Struct, frozen=True):
    """What is tried. directory: what was asked for, or its parent if it is not there. uid: whose it is.

    is_spool: it is the spool, which keeps the result.
    """

    directory: str
    mount: Mount
    uid: int
    is_spool: bool
    missing: str = ""

    @property
    def folders(self) -> str:
        """Where the runs have their folders."""
        return f"{self.directory}/hosts" if self.is_spool else self.directory


def locate(directory: str, spool: str) -> Place:
    """What to try. Raises SpoolError if there is not even a parent."""
    at = directory if os.path.lexists(directory) else os.path.dirname(directory)  # noqa: PTH120 - two words
    facts = fsops.facts(at)
    if facts is None:
        raise SpoolError(f"there is no {directory} and no {at} to try: mkdir -p {at}")
    missing = "" if at == directory else directory
    return Place(at, mountinfo.mount_of(at), facts.st_uid, at == spool, missing)


def examine(settings: Settings, place: Place, peers: int, wait: float) -> list[Finding]:
    """All findings. peers: how many runs take part. wait: seconds for them to come, after which SpoolError is raised.

    The private folder is removed, however this ends.
    """
    user, findings = _user(settings)
    findings += checks.of("mount", list(_about(place)))
    for check in checks.still(settings, place.directory, place.mount):
        findings += checks.done(check)
    me = this_owner()
    maker = user if user and user.pw_uid == place.uid else None  # else it is for root to make something for him
    try:
        _begin(place, me, user, maker)
        findings += _tried(place, me, peers, wait, user, maker)
    except _NotBegun as error:
        findings += checks.of(
            "folder", [problem(str(error), f"make {place.directory} the daemon's user's, and writable")]
        )
    finally:
        with suppress(SpoolError):  # the next run removes it
            crew.call(partial(folder.remove, folder.path_of(place.folders, str(me))), None, PATIENCE, maker)
    if place.is_spool:
        findings += _kept(place, me, peers, findings, maker)
    return findings


class _NotBegun(SpoolError):
    """There is no folder to try anything in."""


def _user(settings: Settings) -> tuple[pwd.struct_passwd | None, list[Finding]]:
    """Whom root becomes for the checks, None for nobody."""
    try:
        return privileges.resolve_user(settings.user), []
    except ConfigError as error:
        fix = "make that user, with one uid on all hosts, then run it again"
        return None, checks.of("uid", [unknown(f"what {settings.user} may do here: {error}; tried as root", fix)])


def _about(place: Place) -> Iterator[Found]:
    if place.missing:
        fix = f"make {place.missing}, as the daemon's user's, and run it again: only the spool itself keeps a result"
        yield unknown(f"how {place.missing} is mounted, which is not there: its parent was tried", fix)


def _begin(place: Place, me: Owner, user: pwd.struct_passwd | None, maker: pwd.struct_passwd | None) -> None:
    def make() -> None:
        if place.is_spool:
            fsops.make_directory(place.folders)
        path = folder.make(place.folders, str(me))
        if user and not maker:
            fsops.give(path, user.pw_uid, user.pw_gid)

    try:
        crew.call(make, None, PATIENCE, maker)
        crew.call(partial(trial.greet, place.folders, me), None, PATIENCE, user)
    except SpoolError as error:
        raise _NotBegun(str(error)) from error


def _tried(
    place: Place, me: Owner, peers: int, wait: float, user: pwd.struct_passwd | None, maker: pwd.struct_passwd | None
) -> list[Finding]:
    part = trial.alone(place.folders, me)
    if peers > 1:
        say(f"waiting at most {span(wait)} for {count(peers - 1, 'other run')} of check-mount --peers {peers}")
        members: tuple[str, ...] = crew.call(
            partial(_meet, place.folders, me, peers, wait), tuple[str, ...], wait + SECONDS, user
        )
        part = Trial(place.folders, me, members)
    swept: list[str] = crew.call(lambda: list(folder.sweep(place.folders, me, part.members)), list[str], SECONDS, maker)
    findings = checks.of("leftovers", [ok(f"removed {name}, which a killed run has left") for name in swept])
    for check in watched(list(checks.by_doing(part, user)), "trying"):
        findings += checks.done(check)
    if peers > 1:
        findings += checks.of("peers", _exchanged(place, part, findings, user))
    return findings


def _meet(place: str, me: Owner, peers: int, wait: float) -> tuple[str, ...]:
    return trial.meet(place, me, peers, wait).members


def _exchanged(place: Place, part: Trial, findings: list[Finding], user: pwd.struct_passwd | None) -> list[Found]:
    """What each of the others found; the leader of a spool's trial keeps all of it in one file."""

    def exchange() -> dict[str, list[Finding]]:
        part.say("findings", msgspec.json.encode(findings))
        told = part.hear("findings", SECONDS)
        found = {member: msgspec.json.decode(data, type=list[Finding]) for member, data in told.items()}
        if part.leads and place.is_spool:
            _summarise(part, found)
        part.together(trial.END)
        return found

    try:
        found: dict[str, list[Finding]] = crew.call(exchange, dict[str, list[Finding]], SECONDS + PATIENCE, user)
    except SpoolError as error:
        return [problem(str(error), "look what it says there, then run it again on all of them")]
    return [_of_other(member, found[member]) for member in part.others]


def _of_other(member: str, findings: list[Finding]) -> Found:
    if number := problems(findings):
        return Level.WARNING, f"{host_of(member)} found {count(number, 'problem')}", "look what it says there"
    return ok(f"{host_of(member)} found no problem")


def _summarise(part: Trial, found: Mapping[str, list[Finding]]) -> None:
    path = f"{part.place}/{folder.SUMMARY}"
    summary = msgspec.json.encode({"time": int(time.time()), "hosts": found}) + b"\n"
    fsops.replace(path, summary, f"{path}~{part.me}")


def _kept(
    place: Place, me: Owner, peers: int, findings: list[Finding], maker: pwd.struct_passwd | None
) -> list[Finding]:
    """Keep the result for this host's daemon."""
    mount = place.mount
    found = problems(findings)
    result = passed.Pass(int(time.time()), VERSION, mount.source, mount.kind, mount.lasting, peers, found)
    try:
        crew.call(partial(passed.record, place.directory, me.host, str(me), result), None, PATIENCE, maker)
    except SpoolError as error:
        return checks.of("result", [problem(f"it could not be kept: {error}", "mend that, then run it again")])
    path = passed.path_of(place.directory, me.host)
    return checks.of("result", [ok(f"kept in {path}: {'not passed' if found else 'passed'}")])
