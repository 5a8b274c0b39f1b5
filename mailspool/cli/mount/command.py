# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool check-mount`: tries whether a file system keeps the rules that a spool lives by.

It ends as `mailspool doctor` does: findings, each with its fix, and 1 if one is a problem.
"""

import os
from functools import partial
from pathlib import Path

import click
import msgspec

from mailspool.cli.doctor.shown import problems, show
from mailspool.cli.mount import crew, run
from mailspool.cli.mount.trial import SECONDS
from mailspool.cli.options import configured, examples, read_by
from mailspool.cli.text import span
from mailspool.config.units import parse_duration
from mailspool.errors import SpoolForbidden
from mailspool.spool import Spool

MAX_PEERS = 50
MAX_WAIT = 3600.0
"""Seconds. With all checks it is far less than `store.mount.folder.OLD`, after which a folder is nobody's."""


def _parse_wait(text: str) -> float:
    if not 0 < (seconds := parse_duration(text)) <= MAX_WAIT:
        raise ValueError(f"{text!r} is not more than nothing, and at most {span(MAX_WAIT)}")
    return seconds


@click.command(
    name="check-mount",
    short_help="Try whether a mount is fit for a spool.",
    epilog=examples(
        "mailspool check-mount", "mailspool check-mount --peers 3", "mailspool check-mount /mnt/new --json"
    ),
)
@click.argument("directory", required=False, metavar="[DIR]")
@click.option(
    "--peers",
    type=click.IntRange(1, MAX_PEERS),
    default=1,
    metavar="N",
    help="Try it with N hosts, this one included: say the same on all of them at once.",
)
@click.option(
    "--wait", default="2m", metavar="TIME", callback=read_by(_parse_wait), help="How long to wait for them; usually 2m."
)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@configured
def check_mount(spool: Spool, *, directory: str | None, peers: int, wait: float, as_json: bool) -> int:
    """Try, by doing, whether DIR (without it dequeue_dir) keeps the rules that a spool lives by.

    Whether one alone of many processes gets a name, whether what was synced is there, links, long names, clocks,
    owners, mount options; with --peers all that between hosts, and how long one waits to see what another made. What
    cannot be seen from here it says, and how to look.

    It leaves nothing behind but, if DIR is the spool, the result: where shared is set, the daemon starts only after a
    pass on this host, of this mount, in the last 30 days. The exit code is 1 if there is a problem.
    """
    own = spool.settings.dequeue_dir
    place: run.Place = crew.call(partial(run.locate, str(Path(directory or own).absolute()), own), run.Place, SECONDS)
    if place.is_spool and os.geteuid() not in {0, place.uid}:
        raise SpoolForbidden(f"the spool {place.directory} belongs to uid {place.uid}: ask again as root")
    findings = run.examine(spool.settings, place, peers, wait)
    if as_json:
        told = {"directory": place.directory, "mount": place.mount, "peers": peers, "findings": findings}
        click.echo(msgspec.json.encode(told).decode())
    else:
        show(findings)
    return int(problems(findings) > 0)
