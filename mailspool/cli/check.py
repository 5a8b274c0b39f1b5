# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check`: whether mailspoold could start: the configuration, the user, the directories and their owners.

It writes nothing, asks no name server and connects to no host.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

import click

from mailspool.cli.options import Given, configured, examples
from mailspool.config.load import config_file
from mailspool.errors import ConfigError, SpoolError
from mailspool.spool import Spool
from mailspool.store.filesystem import FileStore


@click.command(epilog=examples("mailspool check", "mailspool check -c /etc/mailspool/new.toml"))
@configured
def check(spool: Spool) -> None:
    """Check the configuration and the spool's directories.

    Every fault found is told, one a line, with what is allowed; then the exit code is 78. Try a new configuration
    with it before mailspool reload.
    """
    problems = list(_faults(spool))
    if problems:
        raise ConfigError(problems)
    given = click.get_current_context().find_object(Given)
    click.echo(
        f"ok: {config_file(given.config if given else None) or 'no configuration file, all options at their defaults'}"
    )
    for name in ("dequeue_dir", "run_dir"):
        directory = getattr(spool.settings, name)
        click.echo(
            f"{name}: {directory}{'' if os.path.lexists(directory) else ' (not there yet: mailspoold makes it)'}"
        )


def _faults(spool: Spool) -> Iterator[str]:
    from mailspool.supervisor.daemonize import resolve_user  # loads what only a daemon and this command need

    uid = os.geteuid()
    try:
        owner = resolve_user(spool.settings.user)
        uid = owner.pw_uid if owner else uid
    except ConfigError as error:
        yield from error.problems
    store = spool.store
    if isinstance(store, FileStore):
        try:
            store.check()
        except SpoolError as error:
            yield f"dequeue_dir: {error}"
            return
    for option, path in ("run_dir", spool.settings.run_dir), ("dequeue_dir", spool.settings.dequeue_dir):
        yield from _wrong_directory(option, path, uid)
        yield from _read_only(option, path)
    for name in _inside(spool.settings.dequeue_dir):
        yield from _wrong_directory("dequeue_dir", f"{spool.settings.dequeue_dir}/{name}", uid)


def _inside(directory: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and entry.name != "lost+found")
    except FileNotFoundError:
        return []


def _wrong_directory(option: str, path: str, uid: int) -> Iterator[str]:
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"{option}: cannot look at {path}: {error.strerror}"
        return
    if not stat.S_ISDIR(facts.st_mode):
        yield f"{option}: {path} is no directory"
    elif facts.st_uid != uid:
        yield f"{option}: {path} belongs to uid {facts.st_uid}, the daemon is uid {uid}: chown -R {uid} {path}"
    elif facts.st_mode & stat.S_IWOTH:
        yield f"{option}: anybody may write to {path}: chmod 0700 {path}"


def _read_only(option: str, path: str) -> Iterator[str]:
    with suppress(OSError):  # not there yet, or out of reach: said elsewhere
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            yield f"{option}: {path}: its file system is mounted read-only"
