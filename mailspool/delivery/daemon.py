# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The ways to have a spool's work done: by a daemon under its supervisor, or in one pass of the calling process."""

import time
from collections.abc import Callable

from mailspool import log
from mailspool.config.schema import Settings
from mailspool.delivery.lease import leased, take_lease
from mailspool.delivery.work import ALONE, SpoolWork, Workplace
from mailspool.errors import ConfigError
from mailspool.log import journal
from mailspool.store.claim import this_owner
from mailspool.store.mount import mountinfo, passed
from mailspool.submission.listener import entrance
from mailspool.supervisor import daemonize, places, privileges
from mailspool.supervisor.job import Job, Look, Result
from mailspool.supervisor.supervisor import Supervisor


def run_daemon(spool: Workplace, *, foreground: bool) -> int:
    """See `Spool.daemon`."""
    settings = spool.settings
    stream: log.Stream = "stderr" if foreground else "syslog"
    if journal.is_standard_error():
        stream = "journal"

    def serve(ready: Callable[[], object]) -> None:
        _look_at_mount(spool)
        with daemonize.only_one(settings.run_dir):
            spool.become(this_owner())
            spool.create_dequeue_dirs()
            take_lease(spool)
            work = SpoolWork(spool, stream, entrance(settings.run_dir))
            work.make_room()
            Supervisor(work, settings.run_dir, time.monotonic).run(ready)

    if foreground:
        _settle_in(settings)
        daemonize.in_foreground(serve)
        return 0

    def settle_in_and_serve(ready: Callable[[], object]) -> None:
        _settle_in(settings)  # only the daemon: the caller stays what it is
        serve(ready)

    return daemonize.in_background(settle_in_and_serve)


def _settle_in(settings: Settings) -> None:
    """Become the spool's user, in directories that are his, long before a message is read."""
    owner = privileges.resolve_user(settings.user)
    own = places.own_places(settings.run_dir, settings.dequeue_dir)
    places.prepare(own, owner)
    if settings.log_file:
        places.make_log_file(settings.log_file, owner)
    privileges.become(owner)
    if owner:
        privileges.check_program(owner)
    places.check_reach(own)
    if settings.log_file:
        places.check_log_file(settings.log_file)


def _look_at_mount(spool: Workplace) -> None:
    """Refuse a shared spool on a mount that this host has not found fit for it. Raises ConfigError."""
    settings, root = spool.settings, spool.settings.dequeue_dir
    mount = mountinfo.mount_of(root)
    if settings.shared:
        if lack := passed.lack(root, this_owner().host, mount, spool.now()):
            raise ConfigError([lack])
    elif mount.is_network:
        log.get_logger().warning("not shared: no other host may use this spool", spool=root, mount=str(mount))


def one_pass(spool: Workplace) -> dict[str, int]:
    """See `Spool.dequeue`."""
    with leased(spool):
        return _one_pass(SpoolWork(spool))


def _one_pass(work: SpoolWork) -> dict[str, int]:
    work.recover()
    by_destination: dict[str, list[Job]] = {}
    for job in work.jobs(Look.TICK):
        by_destination.setdefault(job.destination, []).append(job)
    results: list[Result] = []
    for batch in by_destination.values():
        results += work.perform(batch, ALONE)
    work.idle()
    return {result.name.lower(): results.count(result) for result in Result}
