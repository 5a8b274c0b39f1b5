# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What setup installs on this host, in the order in which it is made. It only looks, and changes nothing.

The files are those that came with the programs: the package's shared files, or the checkout's own.
"""

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from mailspool.cli.setup.files import Directory, File, Link, sha256_of
from mailspool.cli.setup.found import Failed, Refused
from mailspool.cli.setup.manifest import Step
from mailspool.cli.setup.sendmail import NAMES, sendmail_steps
from mailspool.cli.setup.system import Account, Registration
from mailspool.config.layers import CONFIG_FILE, DROP_INS
from mailspool.config.schema import Settings

_USUAL = Settings()  # the unit, the init script and etc/tmpfiles.d have these places too
USER, RUN_DIR, SPOOL = _USUAL.user, _USUAL.run_dir, _USUAL.dequeue_dir
_LOGS = "/var/log/mailspool"
BIN = "/usr/local/bin"  # where unit and init script look for the programs

FILES = {
    "etc/default/mailspool": "/etc/default/mailspool",
    "etc/logrotate.d/mailspool": "/etc/logrotate.d/mailspool",
    "etc/systemd/mailspool.service": "/etc/systemd/system/mailspool.service",
    "etc/sysusers.d/mailspool.conf": "/etc/sysusers.d/mailspool.conf",
    "etc/tmpfiles.d/mailspool.conf": "/etc/tmpfiles.d/mailspool.conf",
}
_INIT_SCRIPT = "/etc/init.d/mailspool"
_MAN = "/usr/local/share/man"
_MOST = 120  # octets of an interpreter's path that every kernel reads: 128 with what stands around it (execve(2))


def plan(programs: str, *, sendmail: bool = True) -> list[Step]:
    """All that belongs on this host, what is there already included. programs: the directory of our programs."""
    steps = [
        Account(USER, SPOOL, (SPOOL, _LOGS)),
        Directory(str(Path(CONFIG_FILE).parent)),
        Directory(str(Path(CONFIG_FILE).parent / DROP_INS)),
        Directory(SPOOL, USER, 0o700),
        Directory(_LOGS, USER, 0o750),
        Directory(RUN_DIR, USER, 0o711, holds="nothing"),
        _file("etc/mailspool.toml", CONFIG_FILE, yours=True),
        *_reread_units(),
        *(_file(name, path) for name, path in FILES.items()),
        _file("init.d/mailspool", _INIT_SCRIPT, mode=0o755),
        *(Link(f"{BIN}/{name}", f"{programs}/{name}") for name in ("mailspool", "mailspoold") if programs != BIN),
        *_manual_pages(sendmail=sendmail),
        *(sendmail_steps() if sendmail else ()),
        *_start_at_boot(),
    ]
    planned: dict[str, Step] = {}
    for step in steps:
        for each in (*_places(step), step):
            planned.setdefault(each.key, each)
    return [*planned.values()]


def _places(step: Step) -> Iterator[Directory]:
    """The directory that a file or link stands in, if this system lacks it."""
    if isinstance(step, File | Link):
        place = Path(step.path).parent
        if not place.exists() and place.parent.exists():
            yield Directory(str(place), holds="anybody's")


_FOR_ALL = "install mailspool in an environment that all can use: /usr/bin/python3 -m venv /opt/mailspool"


def unfit(programs: str) -> Iterator[str]:
    """Why the programs cannot be a host's: not there, not for everybody to run, or not for root alone to change."""
    ours = [f"{programs}/{name}" for name in ("mailspool", "mailspoold")]
    for path in (*ours, sys.executable, __file__):
        yield from _not_for_all(path)
    if len(sys.executable) > _MOST or any(map(str.isspace, sys.executable)):
        yield f"{sys.executable}: no program's first line can name it: {_FOR_ALL}"


def _not_for_all(path: str) -> Iterator[str]:
    try:
        real = Path(path).resolve(strict=True)
        facts = {place: place.stat() for place in (real, *real.parents)}
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    for place, fact in facts.items():
        if not fact.st_mode & (stat.S_IROTH if place == real else stat.S_IXOTH):
            yield f"{path}: not everybody can come to {place}: {_FOR_ALL}"
            return
        if fact.st_uid or fact.st_mode & stat.S_IWOTH:
            yield f"{path}: others than root can change {place}, and so what root starts: install mailspool as root"
            return


def _manual_pages(*, sendmail: bool) -> Iterator[Link]:
    """Where `man` looks for them, unless pip has put them there. sendmail: those of its names, too."""
    others = set() if sendmail else {Path(path).name for path in NAMES}
    for name, path in _shared().items():
        place = f"{_MAN}{name.removeprefix('man')}"
        if name.startswith("man/") and path != place and Path(name).stem not in others:
            yield Link(place, path)


def _file(name: str, path: str, *, mode: int = 0o644, yours: bool = False) -> File:
    source = _shared().get(name)
    if not source:
        raise Failed(f"{name} did not come with this installation of mailspool: install it again")
    return File(path, source, sha256_of(source), mode, yours)


@cache
def _shared() -> dict[str, str]:
    """Path of each file that came with the programs, by its name in a checkout; of a manual page by man/manN/NAME."""
    checkout = Path(__file__).parents[3]
    if (checkout / "setup.cfg").exists():
        return {name: str(checkout / name) for name in ("etc/mailspool.toml", "init.d/mailspool", *FILES)}
    try:
        came = metadata.files("mailspool") or []
    except metadata.PackageNotFoundError:
        return {}
    return {
        found[1]: os.path.realpath(str(file.locate()))
        for file in came
        if (found := re.search(r"(?:^|/)share/(?:mailspool/)?((?:etc|init\.d|man)/.+)$", file.as_posix()))
    }


def _reread_units() -> Iterator[Step]:
    """Before the unit in the plan: so it is taken back after it."""
    if Path("/run/systemd/system").is_dir():
        yield Registration("have systemd forget the unit", (), (("systemctl", "daemon-reload"),))


def _start_at_boot() -> Iterator[Step]:
    starters = [
        Registration(f"start at boot by {program}", (tuple(do.split()),), (tuple(undo.split()),))
        for program, do, undo in (
            ("update-rc.d", "update-rc.d mailspool defaults", "update-rc.d -f mailspool remove"),
            ("systemctl", "systemctl enable mailspool.service", "systemctl disable mailspool.service"),
        )
        if shutil.which(program)
    ]
    if not starters:
        raise Refused(
            "there is neither update-rc.d nor systemctl: this system knows no way of starting that setup knows"
        )
    yield from starters
