# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool check-mount` found on this host, kept in the spool: a shared one is used only after a recent pass.

It counts for one host and one way of mounting: another server, or other options, and it must be done again. The
newest run counts, whatever it found.
"""

from typing import Final

import msgspec

from mailspool.errors import ClaimLost, Unreadable
from mailspool.store import fsops
from mailspool.store.mount.mountinfo import Mount

RECENT: Final = 30 * 86400
"""Seconds for which a pass counts."""

COMMAND = "mailspool check-mount"
PREFIX = "check-mount."


class Pass(msgspec.Struct, frozen=True):
    """The last run's result. time: Unix seconds. version: mailspool's. peers: hosts that took part. problems: found.

    source, kind, options: of the mount, the options only those that last.
    """

    time: int
    version: str
    source: str
    kind: str
    options: tuple[str, ...]
    peers: int
    problems: int

    def is_of(self, mount: Mount) -> bool:
        """Whether it was mounted then as it is now."""
        return (self.source, self.kind, self.options) == (mount.source, mount.kind, mount.lasting)


def path_of(root: str, host: str) -> str:
    """Where the pass of a host is kept, in the spool at `root`."""
    return f"{root}/hosts/{PREFIX}{host}"


def record(root: str, host: str, owner: str, passed: Pass) -> None:
    """Keep it, durably, in the place of the one before. owner: who writes. Raises SpoolError."""
    path = path_of(root, host)
    fsops.replace(path, msgspec.json.encode(passed) + b"\n", f"{path}~{owner}")
    fsops.sync_directory(f"{root}/hosts")


def read(root: str, host: str) -> Pass | None:
    """The last run's result on a host; None if there is none, or it cannot be understood. Raises SpoolError."""
    try:
        return msgspec.json.decode(fsops.read(path_of(root, host)), type=Pass)
    except (ClaimLost, Unreadable, msgspec.DecodeError):
        return None


def lack(root: str, host: str, mount: Mount, now: float) -> str:
    """Why the spool at `root` may not be used as a shared one on this host, with the command that helps; "" if it may.

    Raises SpoolError if that cannot be known.
    """
    why = _lack(read(root, host), mount, now)
    return f"shared: {root} on host {host} {why}: {COMMAND}" if why else ""


def _lack(passed: Pass | None, mount: Mount, now: float) -> str:
    if passed is None:
        return "has not been found fit to be shared"
    if passed.problems:
        return f"was found not fit to be shared, problems: {passed.problems}"
    if not passed.is_of(mount):
        then = Mount("", passed.kind, passed.source, passed.options)
        return f"is mounted from {mount}, and was found fit when it was from {then}"
    if abs(now - passed.time) > RECENT:  # a clock that was set back makes a time to come
        return f"was last found fit to be shared more than {RECENT // 86400} days ago"
    return ""
