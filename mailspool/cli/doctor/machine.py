# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Checks of this machine, not of the network: permissions, mount, room, clock, log, daemon, whose `sendmail` it is."""

import ctypes
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mailspool import log
from mailspool.cli import running
from mailspool.cli.check import faults, hidden
from mailspool.cli.doctor.finding import Found, ok, problem, unknown, warning
from mailspool.cli.text import octets, span
from mailspool.config.layers import Layer
from mailspool.config.schema import Settings
from mailspool.errors import ConfigError, InputError, NoSuchUser
from mailspool.spool import Spool
from mailspool.store.mount import mountinfo
from mailspool.version import VERSION

LITTLE_ROOM = (0.05, 200 << 20)  # of all, and octets: less than both is a warning
NO_ROOM = (0.01, 20 << 20)  # less than both is a problem
SKEW = 5.0  # seconds between the spool's file server and this host that nobody minds

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_SENDMAILS = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


def permissions(spool: Spool, found: Sequence[Layer]) -> Iterator[Found]:
    """The daemon's directories as its start would judge them, and the files of its configuration."""
    wrong = [line for fault in faults(spool.settings) for line in fault.problems]
    for fault in (*wrong, *hidden(found, spool.settings)):  # whose last part is the fix
        text, _, fix = fault.rpartition(": ")
        yield problem(text, fix)
    for path in (layer.source for layer in found if layer.text):
        if os.stat(path).st_mode & 0o022:  # noqa: PTH116 - `os.path`, as everywhere here
            yield problem(f"{path} may be written by others than its owner", f"chmod go-w {path}")
    if not wrong:
        yield ok(f"{spool.settings.dequeue_dir} and {spool.settings.run_dir} are safe for the daemon's user")


def room(settings: Settings) -> Iterator[Found]:
    """Octets and inodes."""
    path = settings.dequeue_dir if os.path.isdir(settings.dequeue_dir) else str(Path(settings.dequeue_dir).parent)  # noqa: PTH112 - one line
    facts = os.statvfs(path)
    free, size = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    fix = f"make room on the file system of {path}"
    for level, (share, least) in ((problem, NO_ROOM), (warning, LITTLE_ROOM)):
        if free < share * size and free < least:
            yield level(f"{octets(free)} octets are free for the spool, of {octets(size)}", fix)
            break
        if facts.f_files and facts.f_favail < share * facts.f_files:  # 0: a file system that does not count them
            yield level(f"{facts.f_favail} inodes are free for the spool, of {facts.f_files}", fix)
            break
    else:
        inodes = f", {facts.f_favail} inodes" if facts.f_files else ""
        yield ok(f"{octets(free)} octets{inodes} are free for the spool")


def mount(settings: Settings) -> Iterator[Found]:
    """Whether the spool's file system is used as the configuration says. What a pass lacks, `permissions` tells."""
    directory, found = settings.dequeue_dir, mountinfo.mount_of(settings.dequeue_dir)
    if found.is_network and not settings.shared:
        fix = "set shared = true on each host that uses it, see docs/nfs.md; or put the spool on a disk of this host"
        yield warning(f"{directory} is on {found}, and shared is not set: no other host may use it", fix)
    elif settings.shared and not found.is_network:
        yield warning(f"shared is set, but {directory} is on {found}, which other hosts do not have", "shared = false")
    else:
        yield ok(f"{directory} is on {found.source} ({found.kind}){', shared' if settings.shared else ''}")


def clock(settings: Settings, now: float) -> Iterator[Found]:
    """The clock against the spool's file times, and whether the kernel holds it for synchronised."""
    fix = "have the clock kept: timedatectl set-ntp true"
    newest = max(_times(settings.dequeue_dir), default=0.0)
    if newest > now + SKEW:
        yield problem(f"the spool has files {span(newest - now)} from now: one of the clocks is wrong", fix)
    state = _adjtimex()
    if state < 0:
        yield unknown("the kernel does not tell whether its clock is synchronised")
    elif state == _TIME_ERROR:
        yield warning("the kernel holds its clock for not synchronised: periods and Date fields depend on it", fix)
    elif newest <= now + SKEW:
        yield ok(f"it is {time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(now))}, synchronised")


def _times(directory: str) -> Iterator[float]:
    if os.path.isdir(directory):  # noqa: PTH112 - as above
        for entry in os.scandir(directory):
            yield entry.stat(follow_symlinks=False).st_mtime


def _adjtimex() -> int:
    """Its return code, -1 for none. All zero: it changes nothing."""
    timex = ctypes.create_string_buffer(512)  # more than struct timex on any machine
    try:
        return int(ctypes.CDLL(None).adjtimex(timex))
    except AttributeError:
        return -1


def logging(settings: Settings) -> Iterator[Found]:
    """Whether the log's lines arrive. Why they cannot where `log_file` is set, `permissions` tells."""
    if settings.log_file:
        yield ok(f"lines go to {settings.log_file}")
        return
    try:
        there = stat.S_ISSOCK(os.stat(log.SYSLOG_SOCKET).st_mode)  # noqa: PTH116 - as above
    except OSError:
        there = False
    if there:
        yield ok(f"syslog listens on {log.SYSLOG_SOCKET}")
    else:
        lost = f"nothing listens on {log.SYSLOG_SOCKET}: lines of a daemon in the background, and of sendmail, get lost"
        yield warning(lost, "start a syslog service, or set log_file")


def daemon(spool: Spool) -> Iterator[Found]:
    """Whether it runs, is of our version, and gets rid of its log."""
    status, fault = running.status_or_fault(spool)
    if status is None:
        text, _, fix = fault.rpartition(": ")
        yield problem(f"{text}: nothing is delivered", fix)
        return
    pid, version, dropped = status["pid"], status.get("version", "another one"), status.get("log_drops", 0)
    if version != VERSION:
        yield warning(f"the supervisor {pid} is of version {version}, this is {VERSION}", "restart mailspoold")
    if dropped:
        yield warning(f"the supervisor could not log {dropped} lines", "look after syslog, or set log_file")
    yield ok(f"the supervisor {pid} runs, {status.get('delivered', 0)} delivered")


def sendmail(places: tuple[str, ...] = ()) -> Iterator[Found]:
    """Whether programs that hand their mail to `sendmail` hand it to us. places: where to look; the usual ones."""
    names = places or (*_SENDMAILS, *(f"{folder}/sendmail" for folder in os.get_exec_path()))
    there = [name for name in dict.fromkeys(names) if os.access(name, os.X_OK)]
    foreign = [name for name in there if not _is_ours(name)]
    if not there:
        yield warning("there is no sendmail: cron and others cannot send mail", "mailspool setup --system")
    elif foreign:
        yield warning(f"not ours: {', '.join(foreign)}", "mailspool setup --system")
    else:
        yield ok(f"ours: {', '.join(there)}")


def aliases(spool: Spool) -> Iterator[Found]:
    """Whether anybody gets what cron, and all else that runs here, writes to root, and what the postmaster is told."""
    settings = spool.settings
    try:
        readers = spool.expand_alias(f"root@{settings.mail_name}", bare=True)
    except (NoSuchUser, ConfigError) as error:
        fix = f"name who reads it: echo 'root: you@example.org' >>{settings.aliases_file}"
        yield warning(f"mail to root, as cron sends it, is refused: {'; '.join(str(error).splitlines())}", fix)
    else:
        yield ok(f"mail to root goes to {', '.join(readers)}")
    if not settings.smarthost:  # which knows where such mail goes
        yield from _postmaster(spool)


def _postmaster(spool: Spool) -> Iterator[Found]:
    """An address at this host's own name is nobody's but an alias's: there are no mailboxes here."""
    settings, readers = spool.settings, list[str]()
    address = settings.postmaster_address
    with suppress(InputError, ConfigError):  # the aliases' faults are told above
        readers += spool.expand_alias(address)
    if address.endswith(f"@{settings.hostname}") and readers == [address]:
        alias = f"echo 'postmaster: root' >>{settings.aliases_file}, or " if settings.aliases_file else ""
        fix = f"name who reads it: {alias}set postmaster_address"
        yield warning(f"reports that nobody else can be given go to {address}, for whom there is no alias", fix)


def _is_ours(path: str) -> bool:
    with Path(path).open("rb") as file:
        return b"mailspool" in file.read(4096)
