# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check`: whether mailspoold could start: the configuration, the user, the directories and their owners.

Warnings of what such a daemon could not do come along. It writes nothing, asks no name server and connects to no host.
"""

import os
import stat
import time
from collections.abc import Container, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from pwd import struct_passwd

import click

from mailspool.cli.options import Given, examples, located, say
from mailspool.config.complaint import joined, judge, placed
from mailspool.config.credentials import daemon_reader, read_credentials
from mailspool.config.layers import COMMAND_LINE, Layer
from mailspool.config.load import layers
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError, ConfigForbidden, OptionError, SpoolError
from mailspool.model.rules import HOSTS, parse_rule
from mailspool.model.target import ByHost, Target, parse_targets
from mailspool.spool import Spool
from mailspool.store.claim import this_owner
from mailspool.submission.aliases import Aliases

_DIRECTORIES = ("dequeue_dir", "run_dir")


@click.command(epilog=examples("mailspool check", "mailspool check -c /etc/mailspool/new.toml"))
@located
def check(given: Given) -> None:
    """Check the configuration and the spool's directories.

    Every fault found in every file is told, one a line, with what is allowed; then the exit code is 78, or 77 if
    you may not look. Warnings are of what keeps no daemon from starting: aliases that lead nowhere, logins that are
    never used, files that the daemon's user cannot read. Try a new configuration with it before mailspool reload.
    mailspool doctor looks further: at the network and the machine.
    """
    examine(given)


def examine(given: Given) -> None:
    """Say that all is well, or raise ConfigError with every fault."""
    found = layers(*given)
    judged = judge(found)
    local = [line for fault in faults(judged.settings, judged.doubtful) for line in _lines(found, fault)]
    if local or judged.error.problems:
        told = [judged.error] if judged.error.problems else []
        kind = ConfigForbidden if _is_anothers(judged.settings.dequeue_dir) else ConfigError
        raise joined([*told, *([kind(local)] if local else [])])
    for warning in (*warnings(judged.settings), *hidden(found, judged.settings)):
        say(f"warning: {warning}")
    read = [layer.source for layer in found if layer.text or (layer.values and layer.source != COMMAND_LINE)]
    click.echo(f"ok: {', '.join(read) or 'no configuration file, all options at their defaults'}")
    for name in _DIRECTORIES:
        directory = getattr(judged.settings, name)
        click.echo(
            f"{name}: {directory}{'' if os.path.lexists(directory) else ' (not there yet: mailspoold makes it)'}"
        )


def warnings(settings: Settings) -> Iterator[str]:
    """What looks like a mistake in the files that a faultless configuration names; it keeps no daemon down."""
    yield from _idle_credentials(settings)
    yield from _idle_limits(settings)
    if settings.aliases_file:
        try:
            yield from Aliases(settings.aliases_file, settings.local_domains).faults()
        except ConfigError as error:
            yield from error.problems


def hidden(found: Sequence[Layer], settings: Settings) -> Iterator[str]:
    """Files that root can read and the daemon could not, each with what mends that. It starts all the same."""
    from mailspool.supervisor import places, privileges  # as below

    try:
        owner = privileges.resolve_user(settings.user)
    except OptionError:  # of which `faults` tells
        return
    needed = {layer.source: "each reload will be" for layer in found if layer.text}
    if Path(settings.aliases_file).is_file():
        needed[settings.aliases_file] = "mail for a name without a domain is"
    for path, what in needed.items():
        if owner and not privileges.may(owner, "-r", path):
            remedy = places.barred_way(path, owner) or f"chmod a+r {path}"
            yield f"{path}: {settings.user} cannot read it, so that {what} refused: {remedy}"


def named_targets(settings: Settings) -> list[Target]:
    """What `smarthost` and `routes` name, in their order."""
    named = (texts for texts in (settings.smarthost, *settings.routes.values()) if texts)
    return [target for texts in named for target in parse_targets(texts, settings.smtp_port)]


def _named_hosts(settings: Settings) -> set[ByHost]:
    return {target for target in named_targets(settings) if isinstance(target, ByHost)}


def _idle_credentials(settings: Settings) -> Iterator[str]:
    targets = _named_hosts(settings)
    for host, port in read_credentials(settings.credentials_file, daemon_reader(settings.user)):
        if not any(host == target.host and port in (0, target.port) for target in targets):
            name = str(ByHost(host, port)) if port else host
            near = get_close_matches(name, map(str, targets), 1)
            hint = f"; {near[0]} is the nearest that one names" if near else ""
            yield f"{settings.credentials_file}: {name}: no smarthost or route names it{hint}"


def _idle_limits(settings: Settings) -> Iterator[str]:
    """Limits of a domain whose mail goes elsewhere: they count for where it goes."""
    if not settings.limits:
        return
    hops = {target.host for target in _named_hosts(settings)}
    destination_of = Spool(settings).door.route.destination
    for pattern in settings.limits:
        domain = parse_rule(pattern)
        if domain[0] in ".*" or domain.startswith(HOSTS) or domain in hops:
            continue
        if (destination := destination_of(domain)) != domain:
            yield f"limits.{pattern}: limits nothing: by a route or smarthost this mail goes to {destination}"


def _lines(found: Sequence[Layer], fault: ConfigError) -> Sequence[str]:
    return [placed(found, fault)] if isinstance(fault, OptionError) else fault.problems


def faults(settings: Settings, doubtful: Container[str] = ()) -> Iterator[ConfigError]:
    """Why mailspoold would refuse to start though these settings make sense, as far as can be told from here.

    doubtful: options of which nothing is said, and nothing concluded.
    """
    from mailspool.supervisor import privileges  # what only a daemon and those who look after it need

    known, owner = "user" not in doubtful, None
    try:
        owner = privileges.resolve_user(settings.user) if known else None
    except OptionError as error:
        known = False
        yield error
    if "credentials_file" not in doubtful:
        try:
            read_credentials(settings.credentials_file, daemon_reader(settings.user) if known else None)
        except ConfigError as error:
            yield error
        else:
            yield from _fault_of_way("credentials_file", settings.credentials_file, owner)
    if known:  # else whose the directories should be is the question
        wrong = _faults_of_directories(settings, doubtful, owner)
        yield from (ConfigError([fault]) for fault in wrong)
        if settings.log_file and "log_file" not in doubtful and not _is_anothers(settings.dequeue_dir):
            yield from _fault_of_log_file(settings.log_file, owner)


def _fault_of_way(option: str, path: str, owner: struct_passwd | None) -> Iterator[OptionError]:
    from mailspool.supervisor import places  # as above

    if owner and (barred := places.barred_way(path, owner)):
        yield OptionError(option, f"{path}: {barred}")


def _faults_of_directories(settings: Settings, doubtful: Container[str], owner: struct_passwd | None) -> Iterator[str]:
    from mailspool.supervisor import places  # as above

    uid = owner.pw_uid if owner else os.geteuid()
    for place in places.own_places(settings.run_dir, settings.dequeue_dir):
        if place.option not in doubtful:
            yield from places.faults(place, uid)
            if owner:  # else it was we who could not look
                yield from places.out_of_reach(place, owner)
    if "dequeue_dir" not in doubtful:
        yield from _faults_inside(settings.dequeue_dir, uid)
        if settings.shared:
            yield from _unfit(settings.dequeue_dir)


def _fault_of_log_file(path: str, owner: struct_passwd | None) -> Iterator[OptionError]:
    from mailspool.supervisor import places  # as above

    if fault := places.log_file_fault(path, owner):
        yield OptionError("log_file", fault)


def _unfit(directory: str) -> Iterator[str]:
    from mailspool.store.mount import mountinfo, passed  # what only a shared spool needs

    try:
        lack = passed.lack(directory, this_owner().host, mountinfo.mount_of(directory), time.time())
    except SpoolError as error:
        if isinstance(error.__cause__, PermissionError):  # root, to whom the server shows nothing: the daemon looks
            return
        lack = f"shared: {error}: {passed.COMMAND}"
    if lack:
        yield lack


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
