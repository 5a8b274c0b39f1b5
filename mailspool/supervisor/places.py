# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whether the daemon's directories are safe to use, and making those that are missing. It changes nothing else.

Nobody but root and the daemon's user may be able to put another directory, or a link, in the place of one of ours
(what sshd calls StrictModes). Components above may be links (/var/run is one) of somebody trusted; the directories
themselves may not. Each fault is one line: the option, the path, what is wrong, and the command that mends it.
"""

import errno
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mailspool.errors import SpoolError
from mailspool.supervisor.privileges import may

_MAX_LINKS = 40  # as the kernel has it

Step = tuple[str, os.stat_result]


class Place(NamedTuple):
    """A directory of the daemon's own. too_open: the bits that its mode must not have. mode: of one that is made."""

    option: str
    path: str
    too_open: int
    mode: int = 0o700


def own_places(run_dir: str, dequeue_dir: str) -> tuple[Place, Place]:
    """Both. Names in the spool tell who writes to whom; those in `run_dir`, which systemd makes 0755, tell nothing.

    Everybody may reach one socket in `run_dir`, the listener's; what else is there has modes of its own.
    """
    return Place("run_dir", run_dir, 0o022, 0o711), Place("dequeue_dir", dequeue_dir, 0o027)


def prepare(places: Iterable[Place], owner: pwd.struct_passwd | None) -> None:
    """Refuse what is not safe, make what is not there, for `owner` alone. Raises SpoolError with every fault."""
    places = tuple(places)
    uid = owner.pw_uid if owner else os.geteuid()
    wrong = [fault for place in places for fault in faults(place, uid)]
    if wrong:
        raise SpoolError("\n".join(wrong))
    for place in places:
        _make(place, owner)


def faults(place: Place, uid: int) -> Iterator[str]:
    """What is wrong with a directory for the daemon of user `uid`. One that is not there is not wrong."""
    try:
        for path, facts in _way_to(str(Path(place.path).parent)):
            if fault := _unsafe_above(path, facts, uid):
                yield f"{place.option}: {fault}"
        facts = os.lstat(place.path)
    except FileNotFoundError:
        return
    except OSError as error:
        barred = barred_way(place.path, None)
        yield f"{place.option}: {barred or f'cannot look at {error.filename or place.path}: {error.strerror}'}"
        return
    yield from (f"{place.option}: {fault}" for fault in _own_faults(place, facts, uid))


def check_reach(places: Iterable[Place]) -> None:
    """Raise SpoolError with every place that this process, as it now is, cannot get to."""
    if wrong := [fault for place in places for fault in out_of_reach(place, None)]:
        raise SpoolError("\n".join(wrong))


def out_of_reach(place: Place, owner: pwd.struct_passwd | None) -> Iterator[str]:
    """What is wrong with the way to a directory for the daemon of that user; None: for us."""
    if barred := barred_way(place.path, owner):
        yield f"{place.option}: {barred}"


def barred_way(path: str, owner: pwd.struct_passwd | None) -> str:
    """Which directory keeps a user, None: us, from whatever is at a path; "" if none does, or none that is there."""
    if may(owner, "-x", str(Path(path).parent)):
        return ""
    with suppress(OSError):
        for step, facts in _way_to(str(Path(path).parent)):
            if stat.S_ISDIR(facts.st_mode) and not may(owner, "-x", step):
                return f"{step} is closed to {owner.pw_name if owner else _name(os.geteuid())}: chmod a+x {step}"
    return ""


def _own_faults(place: Place, facts: os.stat_result, uid: int) -> Iterator[str]:
    path, mode = place.path, stat.S_IMODE(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        yield f'{path} is a symbolic link: name the directory itself: {place.option} = "{os.path.realpath(path)}"'
    elif not stat.S_ISDIR(facts.st_mode):
        yield f"{path} is no directory: name another, or move it away: mv {path} {path}.old"
    elif facts.st_uid != uid:
        yield foreign(path, facts.st_uid, uid)
    elif mode & place.too_open or ~mode & stat.S_IRWXU:
        yield f"{path} has mode {mode:04o}, which lets {_whom(mode & place.too_open)}: chmod {place.mode:04o} {path}"
    with suppress(OSError):  # out of reach: said above
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            unit = "" if os.geteuid() == 0 else f", or the unit lacks ReadWritePaths={path} (systemctl edit mailspool)"
            yield f"{path}: its file system is mounted read-only{unit}: mount -o remount,rw {_mount_point(path)}"


def _whom(bits: int) -> str:
    if bits & 0o022:
        return "others write to it"
    return "others look into it" if bits else "not even its owner work in it"


def _unsafe_above(path: str, facts: os.stat_result, uid: int) -> str:
    """Why somebody else could exchange what is below, "" if nobody can."""
    if facts.st_uid not in {0, uid} and not _is_unmapped(facts.st_uid):
        who = f"belongs to {_name(facts.st_uid)}, who could put something else in its place"
        return f"{path} {who}: chown -h root {path}"
    if stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
        return f"{path} may be written by anybody, who could put something else in its place: chmod o-w {path}"
    return ""


def _way_to(path: str) -> Iterator[Step]:
    """Each directory and each link that the kernel passes on its way. Raises OSError."""
    here, rest, links = "/", path.split("/")[::-1], 0
    yield here, os.lstat(here)
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        step = str(Path(here).parent) if name == ".." else str(Path(here, name))
        facts = os.lstat(step)
        yield step, facts
        if not stat.S_ISLNK(facts.st_mode):
            here = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = str(Path(step).readlink())
        here = "/" if target.startswith("/") else here
        rest += target.split("/")[::-1]


def _is_unmapped(uid: int) -> bool:
    """In a user namespace: whom it does not know. Nobody in here can be him, and root outside most often is."""
    try:
        whole = Path("/proc/self/uid_map").read_text("ascii").split() == ["0", "0", "4294967295"]
        return not whole and uid == int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    except (OSError, ValueError):
        return False


def _mount_point(path: str) -> str:
    place = Path(path).resolve()
    return str(next(each for each in (place, *place.parents) if each.is_mount()))


def foreign(path: str, owner: int, uid: int) -> str:
    """What is wrong with a path of user `owner` for the daemon of user `uid`. Only root can give it away."""
    whose = f"{path} belongs to {_name(owner)}"
    if os.geteuid() == 0:
        return f"{whose}, the daemon is {_name(uid)}: chown -R {_name(uid)} {path}"
    return f"{whose}, you are {_name(uid)}: try it again as root"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# --- making


def _make(place: Place, owner: pwd.struct_passwd | None) -> None:
    path = Path(place.path)
    if path.is_dir():
        return
    try:
        for above in reversed(path.parents):
            if not above.is_dir():
                above.mkdir(0o755)
                above.chmod(0o755)  # whatever the umask: the daemon's user must come through
        path.mkdir(mode=0o700)
        path.chmod(place.mode)
        if owner:
            os.chown(path, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise SpoolError(
            f"{place.option}: cannot make {place.path}: {error.strerror}: start as root, "
            f"or set {place.option} to a place of yours"
        ) from None


def make_log_file(path: str, owner: pwd.struct_passwd | None) -> None:
    """Make an empty log file for `owner` where there is none yet. What is there already is left as it is.

    Raises SpoolError.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if owner:
                os.fchown(fd, owner.pw_uid, owner.pw_gid)
        finally:
            os.close(fd)
    except FileExistsError:
        return
    except OSError as error:
        raise SpoolError(f"log_file: {_cannot_make(path, error)}") from None


def check_log_file(path: str) -> None:
    """Raise SpoolError if this process, as it now is, cannot append to it."""
    from mailspool.log.writer import open_log_file  # only here

    try:
        os.close(open_log_file(path))
    except OSError as error:
        raise SpoolError(f"log_file: {_cannot_write(path, error, None)}") from None


def log_file_fault(path: str, owner: pwd.struct_passwd | None) -> str:
    """Why both above would refuse it, "" if neither would. It makes nothing."""
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError as error:
        folder = Path(path).parent
        if not folder.is_dir():
            return _cannot_make(path, error)
        if not may(None, "-w", str(folder)):
            return _cannot_make(path, refused)
        return "" if may(owner, "-x", str(folder)) else _cannot_write(path, refused, owner)
    except OSError as error:
        return _cannot_write(path, error, owner)
    if stat.S_ISDIR(mode):
        return _cannot_write(path, IsADirectoryError(), owner)
    return "" if stat.S_ISREG(mode) and may(owner, "-w", path) else _cannot_write(path, refused, owner)


def _cannot_make(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        folder = Path(path).parent
        return f"cannot make {path}: there is no {folder}: mkdir -p {folder}"
    return f"cannot make {path}: {error.strerror}: start as root, or set another"


def _cannot_write(path: str, error: OSError, owner: pwd.struct_passwd | None) -> str:
    if isinstance(error, FileNotFoundError):
        return _cannot_make(path, error)
    if isinstance(error, IsADirectoryError):
        return f'{path} is a directory: name a file in it: log_file = "{path}/mailspool.log"'
    if barred := barred_way(path, owner):
        return f"cannot write {path}: {barred}"
    user = owner.pw_name if owner else _name(os.geteuid())
    return f"cannot write {path}: {error.strerror}: install -m 0600 -o {user} /dev/null {path}"
