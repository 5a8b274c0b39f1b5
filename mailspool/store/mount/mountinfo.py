# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which mount a directory is on, as /proc/self/mountinfo has it (proc_pid_mountinfo(5)). It only looks.

The kernel itself says which line is the directory's, by the id of the mount that an open descriptor is on: a longest
common path would be wrong under a bind mount, an overmount or a symbolic link.
"""

# ruff: noqa: PTH100, PTH120, PTH123 - paths are strings: pathlib is slow to load

import os
import re
from collections.abc import Mapping

import msgspec

from mailspool.errors import SpoolError

NFS = frozenset({"nfs", "nfs4"})
_NETWORK = NFS | {"afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ocfs2", "smb3", "9p"}

_VOLATILE = frozenset(
    {"addr", "clientaddr", "mountaddr", "mountport", "mountproto", "mountvers", "namlen", "port", "rsize", "wsize"}
)
"""What server and client settle anew at each mount; the server's name is in the source."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(msgspec.Struct, frozen=True):
    """One mount. point: where. source: "server:/export", a device, or a word. kind: "nfs4", "ext4" or another.

    options: of the file system, as "vers=4.2"; flags: of this mount of it, as "ro".
    """

    point: str
    kind: str
    source: str
    options: tuple[str, ...]
    flags: tuple[str, ...] = ()

    @property
    def is_network(self) -> bool:
        """Whether other hosts may well have it too. FUSE hides what is behind it, but for what is on a device."""
        return self.kind in _NETWORK or self.kind == "fuse" or self.kind.startswith("fuse.")

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written."""
        return "ro" in self.options or "ro" in self.flags

    @property
    def lasting(self) -> tuple[str, ...]:
        """The options that stay the same when it is mounted again in the same way, sorted."""
        return tuple(sorted(option for option in self.options if option.partition("=")[0] not in _VOLATILE))

    def option(self, name: str) -> str:
        """The value of an option; "" if it has none, or is not given."""
        return next((text.partition("=")[2] for text in self.options if text.partition("=")[0] == name), "")

    def __str__(self) -> str:
        """As a line that people read."""
        return f"{self.source} ({self.kind}: {', '.join(self.lasting)})"


def mount_of(path: str, proc: str = "/proc") -> Mount:
    """The mount that a directory is on, or is going to be on: that of what there is of its path. Raises SpoolError."""
    path = existing(path)
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(f"{proc}/self/fdinfo/{fd}", encoding="ascii") as file:
                number = next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
        finally:
            os.close(fd)
        with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="backslashreplace") as file:
            return parse(file.read())[number]
    except OSError as error:
        raise SpoolError(f"cannot tell how {path} is mounted: {error.filename}: {error.strerror}") from error
    except (KeyError, StopIteration) as error:
        raise SpoolError(f"cannot tell how {path} is mounted: {proc}/self/mountinfo does not have it") from error


def existing(path: str) -> str:
    """The path, or as much of its beginning as there is."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def parse(text: str) -> Mapping[int, Mount]:
    """All mounts by their id. A line that is of no known form is passed over."""
    found = {}
    for line in text.split("\n"):
        here, mark, there = line.partition(" - ")
        fields, behind = here.split(" "), there.split(" ")
        if mark and len(fields) > 5 and len(behind) > 2 and fields[0].isdecimal():
            found[int(fields[0])] = Mount(
                point=_plain(fields[4]),
                kind=behind[0],
                source=_plain(behind[1]),
                options=tuple(map(_plain, behind[2].split(","))),
                flags=tuple(fields[5].split(",")),
            )
    return found


def _plain(field: str) -> str:
    """Without the octal escapes of blanks, tabs, newlines and backslashes."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), field)
