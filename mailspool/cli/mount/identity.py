# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who one is to the file server, and what time it is there: owners of files, root's rights, clocks, names of hosts."""

import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from mailspool.cli.doctor.finding import Found, ok, problem, warning
from mailspool.cli.doctor.machine import SKEW
from mailspool.cli.mount.trial import Trial, host_of
from mailspool.cli.text import span
from mailspool.errors import ClaimLost, SpoolError
from mailspool.store import fsops
from mailspool.store.claim import Owner, is_dead

_PRIVATE = 0o600


def user(trial: Trial) -> Iterator[Found]:
    """Files belong to who makes them, are private, and the others' are ours to read: one uid on all hosts."""
    path, uid = f"{trial.folder}/mine", os.geteuid()
    fsops.close(fsops.create(path))
    facts = fsops.facts(path)
    if facts is None:
        raise ClaimLost(f"{path} was made, and is gone")
    if facts.st_uid != uid:
        fix = "export it without all_squash; NFS 4: give both sides the same domain in /etc/idmapd.conf"
        yield problem(f"what uid {uid} makes belongs to uid {facts.st_uid}", fix)
    elif stat.S_IMODE(facts.st_mode) != _PRIVATE:
        fix = "use a file system with POSIX modes: here anybody may read the mail"
        yield problem(f"a private file has mode {stat.S_IMODE(facts.st_mode):04o}", fix)
    else:
        yield ok(f"what uid {uid} makes belongs to it, with mode 0600")
    trial.together("mine.ready")
    yield from _others(trial)


def _others(trial: Trial) -> Iterator[Found]:
    for member in trial.others:
        try:
            fsops.read(f"{trial.folder_of(member)}/mine")
        except SpoolError as error:
            fix = "give the daemon's user one uid on all hosts: usermod -u, groupmod -g"
            yield problem(f"what {host_of(member)} wrote cannot be read here: {error}", fix)


def root(trial: Trial, uid: int, gid: int) -> Iterator[Found]:
    """As root: whether the server lets it be root. uid, gid: the daemon's user, to whom a file is given."""
    path = f"{trial.folder}/of-root"
    fix = "export it with no_root_squash to these hosts; or use the commands as the daemon's user"
    squashed = "root's sendmail needs a running daemon, and root sees nothing of the spool"
    try:
        fsops.close(fsops.create(path))
        fsops.give(path, uid, gid)
        facts = fsops.facts(path)
    except SpoolError as error:
        yield warning(f"root is squashed by the server ({error}): {squashed}", fix)
        return
    if facts is None or facts.st_uid != uid:
        yield warning(f"what root gives to uid {uid} belongs to uid {facts and facts.st_uid}: {squashed}", fix)
    else:
        yield ok(f"root makes files here and gives them to uid {uid}")


def given(trial: Trial) -> Iterator[Found]:
    """As the daemon's user, after `root`: what root wrote can be read."""
    path = f"{trial.folder}/of-root"
    if fsops.is_there(path):
        fsops.read(path)
        yield ok("the daemon's user reads what root gave it")


# --- time


class Clock(msgspec.Struct):
    """The server's clock is ahead of this host's by low … high seconds."""

    low: float
    high: float


def clock(trial: Trial) -> Iterator[Found]:
    """The server's clock, as new files have it, against this host's; and so every other host's against this one's."""
    found = _measured(f"{trial.folder}/clock")
    trial.say("clocks", msgspec.json.encode(found))
    told = trial.hear("clocks")
    yield _compared("the file server's clock", found.low, found.high)
    for member in trial.others:
        other = msgspec.json.decode(told[member], type=Clock)
        yield _compared(f"the clock of {host_of(member)}", found.low - other.high, found.high - other.low)


def _measured(path: str) -> Clock:
    """From a file that is written between two looks at our own clock."""
    before = time.time()
    with fsops.new_file(path) as file:
        fsops.write(file, b"now")
    after = time.time()
    facts = fsops.facts(path)
    if facts is None:
        raise ClaimLost(f"{path} was made, and is gone")
    return Clock(facts.st_mtime - after, facts.st_mtime - before)


def _compared(whose: str, low: float, high: float) -> Found:
    """Only what is certain counts: the least difference that there can be."""
    off = low if low > 0 else min(high, 0.0)
    if abs(off) <= SKEW:
        return ok(f"{whose} is this host's, within {max(abs(low), abs(high)):.1f} s")
    how = f"{span(abs(off))} {'ahead' if off > 0 else 'behind'}"
    fix = "have both clocks kept: timedatectl set-ntp true; leases do not mind, but periods and Date fields do"
    return warning(f"{whose} is {how}", fix)


# --- hosts


def hosts(trial: Trial) -> Iterator[Found]:
    """Each host, or container, has a name of its own: by it owners know which claims are theirs to recover."""
    owners = [Owner.parse(member) for member in trial.members]
    by_name: dict[str, list[Owner]] = defaultdict(list)
    for owner in owners:
        by_name[owner.host].append(owner)
    doubled = [name for name, those in by_name.items() if _take_each_other_for_dead(those)]
    mistaken = [owner.host for owner in owners if is_dead(owner, trial.me)]  # and it takes part: it lives
    for name in sorted({*doubled, *mistaken}):
        fix = "give each host, or container, a host name of its own: hostnamectl set-hostname, docker run --hostname"
        yield problem(f"two hosts have the name {name}: each would take the other's claims away", fix)
    if not doubled and not mistaken:
        yield ok(f"these take part: {', '.join(map(host_of, trial.members))}")


def _take_each_other_for_dead(owners: Sequence[Owner]) -> bool:
    return any(one.boot != other.boot for one, other in pairwise(owners))
