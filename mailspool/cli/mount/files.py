# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What single files and their names can: be durable, have links, long and odd names, and be appended to."""

import time
from collections.abc import Iterator
from functools import partial
from statistics import median

from mailspool.cli.doctor.finding import Found, ok, problem, warning
from mailspool.cli.mount import crew
from mailspool.cli.mount.races import RACERS
from mailspool.cli.mount.trial import PATIENCE, Trial
from mailspool.errors import SpoolError
from mailspool.store import fsops

DURABLE = 20
SLOW = 0.2  # seconds for a durable file: each message that is accepted waits for one
LINKS = 200
NAME_MAX = 255
LINES = 50
_CONTENT = b"0123456789abcdef" * 256  # 4 KiB


def durable(trial: Trial) -> Iterator[Found]:
    """What accept does for each message: write, fsync, close, fsync the directory; then it is all there."""
    times = []
    for number in range(DURABLE):
        path, began = f"{trial.folder}/durable{number}", time.monotonic()
        with fsops.new_file(path) as file:
            fsops.write(file, _CONTENT)
        fsops.sync_directory(trial.folder)
        times.append(time.monotonic() - began)
        if fsops.read(path) != _CONTENT:
            yield problem(f"{path} was written, synced and closed without an error, and has another content", _BROKEN)
            return
    usual, worst = median(times), max(times)
    text = f"write, fsync, close and fsync of the directory: {_ms(usual)} a file, {_ms(worst)} at worst"
    if usual > SLOW:
        fix = "give the server's disks a write cache with a battery, or an SSD; more senders at once help too"
        yield warning(f"{text}: each accepted message waits so long", fix)
    else:
        yield ok(text)


_BROKEN = "do not put a spool there: look at the server's log and its disks"


def links(trial: Trial) -> Iterator[Found]:
    """Hard links: one for each recipient; each as good as the first, wherever it is moved to."""
    first = f"{trial.folder}/linked"
    with fsops.new_file(first) as file:
        fsops.write(file, _CONTENT)
    made = 0
    try:
        for made in range(1, LINKS + 1):
            fsops.link(first, f"{first}.{made}")
    except fsops.CannotLink as error:
        yield _few_links(made - 1, error)
        return
    fsops.rename(f"{first}.1", f"{first}.moved")
    fsops.unlink(first)
    if fsops.is_there(first) or any(fsops.read(f"{first}.{name}") != _CONTENT for name in ("moved", LINKS)):
        yield problem("a link is not as good as the file's first name once that is renamed or removed", _BROKEN)
    else:
        yield ok(f"a file has {LINKS} links, which outlive its first name and a rename")


def _few_links(made: int, error: SpoolError) -> Found:
    if made:
        return warning(
            f"a file has at most {made + 1} names: {error}", "none is needed: for more recipients it is copied"
        )
    fix = "use a file system with hard links; it works without: each recipient has a copy of the message"
    return warning(f"there are no hard links: {error}", fix)


def names(trial: Trial) -> Iterator[Found]:
    """Names as nodes and claims have them: long, with every character they may hold, upper and lower case apart."""
    odd = "1763841986-00T3X1K2F8Q0ZL5M1N7B.0-[IPv6:2001:db8::1]~w12.1~"
    long = odd.ljust(NAME_MAX, "x")
    for name in (odd, long):
        draft, path = f"{trial.folder}/name", f"{trial.folder}/{name}"
        fsops.close(fsops.create(draft))
        try:
            fsops.rename(draft, path)
        except SpoolError as error:
            yield problem(
                f"a name of {len(name)} octets cannot be: {error}", "use a file system that takes POSIX names"
            )
            return
        if name not in fsops.read_names(trial.folder) or not fsops.is_there(path):
            yield problem(f"{name!r} is seen otherwise than it was made", "use a file system that takes POSIX names")
            return
    fsops.close(fsops.create(f"{trial.folder}/case-a"))
    if fsops.is_there(f"{trial.folder}/case-A"):
        yield warning("upper and lower case are the same here", "mount it so that they are not: option nocase off")
    else:
        yield ok(f"names of {NAME_MAX} octets, with every character that nodes have, upper and lower case apart")


def appended(trial: Trial) -> Iterator[Found]:
    """O_APPEND by several processes at once, which the spool avoids: each of its files has one writer."""
    path = f"{trial.arena}/appended"
    if trial.leads:
        fsops.close(fsops.create(path))
    trial.together("append.ready")
    writers = [partial(_append, path, f"{trial.me}.{number}") for number in range(RACERS)]
    crew.race(writers, None, PATIENCE)
    trial.together("append.done")
    whole = len({line for line in fsops.read(path).decode(errors="replace").split("\n") if line.endswith(".")})
    wanted = LINES * RACERS * len(trial.members)
    if whole == wanted:
        yield ok(f"{wanted} lines appended to one file by several processes are all there")
    elif len(trial.members) > 1:
        yield ok(
            f"{wanted - whole} of {wanted} lines appended to one file by several hosts are lost, as on NFS: {_APART}"
        )
    else:
        yield warning(f"{wanted - whole} of {wanted} lines appended to one file are lost", f"{_APART}")


_APART = "no file of the spool has two writers; keep log_file on a disk of each host"


def _append(path: str, who: str) -> None:
    for number in range(LINES):
        fsops.append(path, f"{who} {number}.\n".encode())


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
