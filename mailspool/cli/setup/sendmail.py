# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The program to which other programs hand mail, and its names, which become ours where another MTA has them.

None is overwritten: what a Debian package has there is diverted (dpkg-divert), what is an alternative gets one more
(update-alternatives).
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from mailspool.cli.setup.files import File, Link
from mailspool.cli.setup.found import Failed
from mailspool.cli.setup.manifest import Step
from mailspool.cli.setup.system import Registration, Words, run

NAMES = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases")
"""All of one program: it does what the name it was called by says."""

_PATH = "/usr/local/lib/mailspool/sendmail"
_PROGRAM = """\
#!{python} -IS
# As bin/sendmail, but isolated from its caller's PYTHONPATH and the like (-I), and without `site`, which is slow (-S).
import sys

sys.path.append({folder!r})
try:
    try:
        from mailspool.cli.sendmail import run
    except ImportError:  # it is elsewhere, as with another version of Python: that tells where
        import site

        site.main()
        from mailspool.cli.sendmail import run
    run()
except Exception as error:  # a part of it is missing, as while it is upgraded
    if sys.stderr:
        sys.stderr.write(f"sendmail: mailspool is not whole, try again later: {{error}}\\n")
    sys.exit(75)
"""
_ALTERNATIVES = "/etc/alternatives/"
_PRIORITY = "20"


def program() -> str:
    """The text of `sendmail`, for this Python and this installation of mailspool."""
    return _PROGRAM.format(python=sys.executable, folder=str(Path(__file__).parents[3]))


def sendmail_steps() -> Iterator[Step]:
    """What makes all of the names lead to our program."""
    text = program()
    yield File(_PATH, "", hashlib.sha256(text.encode()).hexdigest(), 0o755, text=text)
    wanted = [Link(path, _PATH) for path in NAMES]
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
