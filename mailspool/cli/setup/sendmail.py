# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The names by which programs hand in mail, and how they become ours where another MTA has them. None is overwritten.

What a Debian package has there is diverted (dpkg-divert), what is an alternative gets one more (update-alternatives).
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from mailspool.cli.setup.files import Link
from mailspool.cli.setup.found import Failed
from mailspool.cli.setup.manifest import Step
from mailspool.cli.setup.system import Registration, Words, run

NAMES = {
    "/usr/sbin/sendmail": "sendmail",
    "/usr/lib/sendmail": "sendmail",
    "/usr/bin/mailq": "mailq",
    "/usr/bin/newaliases": "sendmail",
}
"""Path to program; sendmail does what the name it was called by says."""

_ALTERNATIVES = "/etc/alternatives/"
_PRIORITY = "20"


def sendmail_steps(programs: str) -> Iterator[Step]:
    """What makes the names lead to our programs, which are in the directory `programs`."""
    wanted = [Link(path, f"{programs}/{name}") for path, name in NAMES.items()]
    groups = {link.path: group for link in wanted if (group := _alternative(link.path))}
    if groups:
        yield _one_more_alternative([(link, groups[link.path]) for link in wanted if link.path in groups])
    for link in wanted:
        if link.path not in groups:
            package = _package_of(link)
            if package:
                yield _diversion(link.path, package)
            yield replace(link, vacated=bool(package))


def _alternative(path: str) -> str:
    """The name of the alternative that stands at `path`, "" if there is none."""
    target = _target(path)
    return target.removeprefix(_ALTERNATIVES) if target.startswith(_ALTERNATIVES) else ""


def _target(path: str) -> str:
    """Of a symbolic link, "" of anything else."""
    return str(Path(path).readlink()) if Path(path).is_symlink() else ""


def _one_more_alternative(links: list[tuple[Link, str]]) -> Registration:
    """The first is the master, as /usr/sbin/sendmail is where there is one; the others follow it."""
    (first, group), *others = links
    slaves = [word for link, name in others for word in ("--slave", link.path, name, link.target)]
    install = ("update-alternatives", "--install", first.path, group, first.target, _PRIORITY, *slaves)
    return Registration(
        f"alternative for {first.path}",
        (install, ("update-alternatives", "--set", group, first.target)),
        (("update-alternatives", "--remove", group, first.target), *_chosen_before(group, first.target)),
    )


def _chosen_before(group: str, ours: str) -> Iterator[Words]:
    """What restores the administrator's own choice; an automatic one comes back by itself."""
    with suppress(Failed):
        facts = dict(
            line.split(": ", 1) for line in run("update-alternatives", "--query", group).splitlines() if ": " in line
        )
        if facts.get("Status") == "manual" and facts.get("Value") != ours:
            yield "update-alternatives", "--set", group, facts["Value"]


def _package_of(link: Link) -> str:
    """The package that has something else at that path, "" if none has."""
    if not os.path.lexists(link.path) or _target(link.path) == link.target:
        return ""
    with suppress(Failed):
        return run("dpkg-query", "--search", link.path).partition(":")[0]
    return ""


def _diversion(path: str, package: str) -> Registration:
    words = ("dpkg-divert", "--local", "--rename", "--divert", f"{path}.distrib")
    return Registration(
        f"{path} of the package {package} moves to {path}.distrib",
        ((*words, "--add", path),),
        ((*words, "--remove", path),),
    )
