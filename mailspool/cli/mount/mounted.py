# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the kernel says of a mount, judged: kind of file system and options; and what no client can see at all."""

from collections.abc import Iterator

from mailspool.cli.doctor.finding import Found, ok, problem, unknown, warning
from mailspool.store.mount.mountinfo import NFS, Mount

_BAD = {
    "soft": ("an answer that comes late becomes an error, and a write may be lost", "mount it hard"),
    "softerr": ("an answer that comes late becomes an error, and a write may be lost", "mount it hard"),
    "nocto": ("what another host wrote is not seen when a file is opened", "mount it without nocto"),
    "vers=2": ("NFS 2 has no safe writes and no large files", "mount it with vers=4.2, or vers=3"),
    "proto=udp": ("UDP can mix up the parts of two answers", "mount it with proto=tcp"),
    "nobarrier": ("the disk may not have what it was told to sync", "mount it without nobarrier"),
    "barrier=0": ("the disk may not have what it was told to sync", "mount it without barrier=0"),
    "volatile": ("this overlay never syncs", "mount it without volatile"),
}
_DOUBTFUL = {
    "noac": ("every look goes to the server, which makes scans slow; nothing needs that", "mount it without noac"),
    "softreval": ("while the server is away, old answers are taken for new ones", "mount it without softreval"),
}
_FORGETFUL = frozenset({"tmpfs", "ramfs"})
_TICKETS = "the daemon's user needs a Kerberos ticket that is renewed without end"


def kind(mount: Mount, directory: str, *, shared: bool) -> Iterator[Found]:
    """What file system it is, and its options. shared: the option of that name."""
    if mount.is_read_only:
        yield problem(f"{directory} is mounted read-only", f"mount -o remount,rw {mount.point}")
    for options, level in ((_BAD, problem), (_DOUBTFUL, warning)):
        for option, (why, fix) in options.items():
            if option in mount.options:
                yield level(f"{mount.point} is mounted with {option}: {why}", fix)
    if mount.option("sec").startswith("krb5"):
        yield warning(f"{mount.point} is mounted with sec={mount.option('sec')}: {_TICKETS}", "k5start, or gssproxy")
    if mount.kind in _FORGETFUL:
        yield warning(f"{directory} is in memory ({mount.kind}): nothing in it survives a power cut", "use a disk")
    if mount.is_network and mount.kind not in NFS:
        yield warning(f"{mount.kind} was never tried with a shared spool", "use NFS 3 or 4")
    if shared and not mount.is_network:
        yield warning(f"shared is set, but no other host has {mount.source} ({mount.kind})", "shared = false")
    yield ok(f"{directory} is on {mount}")


def unseen(mount: Mount) -> Iterator[Found]:
    """What cannot be found out from here, and how to look."""
    if mount.is_network:
        yield unknown(
            "whether the server says yes before its disk has it (an async export): then its power cut loses mail",
            "on the server: exportfs -v; the line of this export must say sync",
        )
    whose = "server" if mount.is_network else "disk"
    yield unknown(
        f"whether the {whose}'s write cache obeys a flush: if not, a power cut loses mail",
        "look there: hdparm -W and the controller's manual; a cache needs a battery, or must be off",
    )
