# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check`: whether mailspoold could start: the configuration, the user, the directories and their owners.

It writes nothing, asks no name server and connects to no host.
"""

import os
import stat
from collections.abc import Iterator

import click

from mailspool.cli.options import Given, configured, examples
from mailspool.config.complaint import complaint
from mailspool.config.credentials import daemon_reader, read_credentials
from mailspool.config.layers import COMMAND_LINE
from mailspool.config.load import layers
from mailspool.errors import ConfigError, ConfigForbidden
from mailspool.spool import Spool

_DIRECTORIES = ("dequeue_dir", "run_dir")


@click.command(epilog=examples("mailspool check", "mailspool check -c /etc/mailspool/new.toml"))
@configured
def check(spool: Spool) -> None:
    """Check the configuration and the spool's directories.

    Every fault found in every file is told, one a line, with what is allowed; then the exit code is 78, or 77 if
    you may not look. Try a new configuration with it before mailspool reload. mailspool doctor looks further: at
    the network and the machine.
    """
    examine(spool)


def examine(spool: Spool) -> None:
    """Say that all is well, or raise ConfigError with every fault."""
    found = layers(*(click.get_current_context().find_object(Given) or Given()))
    hidden = complaint(found).problems  # in values that others hide: the daemon would start
    problems = [*hidden, *faults(spool)]
    if problems:
        forbidden = not hidden and _is_anothers(spool.settings.dequeue_dir)
        raise (ConfigForbidden if forbidden else ConfigError)(problems)
    read = [layer.source for layer in found if layer.text or (layer.values and layer.source != COMMAND_LINE)]
    click.echo(f"ok: {', '.join(read) or 'no configuration file, all options at their defaults'}")
    for name in _DIRECTORIES:
        directory = getattr(spool.settings, name)
        click.echo(
            f"{name}: {directory}{'' if os.path.lexists(directory) else ' (not there yet: mailspoold makes it)'}"
        )


def faults(spool: Spool) -> Iterator[str]:
    """Why mailspoold would refuse to start, as far as can be told without starting it."""
    from mailspool.supervisor import places, privileges  # what only a daemon and those who look after it need

    settings = spool.settings
    try:
        owner = privileges.resolve_user(settings.user)
        uid = owner.pw_uid if owner else os.geteuid()
    except ConfigError as error:
        yield from error.problems
        return  # all the rest is a question of who that is
    try:
        read_credentials(settings.credentials_file, daemon_reader(settings.user))
    except ConfigError as error:
        yield from error.problems
    for place in places.own_places(settings.run_dir, settings.dequeue_dir):
        yield from places.faults(place, uid)
    yield from _faults_inside(settings.dequeue_dir, uid)


def _is_anothers(directory: str) -> bool:
    """Whether it is not for us to look into it."""
    try:
        return os.geteuid() not in (0, os.lstat(directory).st_uid)
    except OSError as error:
        return isinstance(error, PermissionError)


def _faults_inside(directory: str, uid: int) -> Iterator[str]:
    """A directory of another's in the spool would stop the daemon later, when it is needed."""
    from mailspool.supervisor.places import foreign  # as above

    try:
        if os.lstat(directory).st_uid != uid:  # told above, for all that is in it
            return
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:  # not there yet, or told above
        return
    for entry in entries:
        facts = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(facts.st_mode) or entry.name == "lost+found":
            continue
        if facts.st_uid != uid:
            yield f"dequeue_dir: {foreign(entry.path, facts.st_uid, uid)}"
        elif facts.st_mode & stat.S_IWOTH:
            yield f"dequeue_dir: anybody may write to {entry.path}: chmod 0700 {entry.path}"
