# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool setup --system`: lists all that it would install, asks, installs, and takes exactly that back with --undo.

It overwrites nothing that it did not make, and starts nothing. With --root it is the programs in that tree which do
it, to that tree.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from mailspool.cli.options import examples, exits
from mailspool.cli.setup import manifest as record
from mailspool.cli.setup.found import Refused
from mailspool.cli.setup.install import Survey, install, survey, take_back
from mailspool.cli.setup.manifest import Manifest
from mailspool.cli.setup.plan import RUN_DIR, SPOOL, USER, plan, unfit
from mailspool.config.layers import CONFIG_FILE
from mailspool.config.load import load
from mailspool.errors import ConfigError, MailspoolError, NotRunning, UsageError
from mailspool.supervisor import control

_DONE = """\
installed. Next: look at /etc/mailspool/mailspool.toml, name in /etc/aliases who reads
root's mail (root: you@example.org), and start it:
  systemctl start mailspool      where systemd runs
  service mailspool start        elsewhere
  mailspool doctor               tells what may still keep mail from being delivered"""


class _NotRoot(MailspoolError):
    exit_code = 77  # EX_NOPERM


@click.command(
    epilog=examples(
        "mailspool setup --system --dry-run", "mailspool setup --system", "mailspool setup --system --undo --yes"
    )
)
@click.option("--system", is_flag=True, help="Set up this host: the only thing to set up there is.")
@click.option("--undo", is_flag=True, help="Take back what setup has made; what was changed since is kept and named.")
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-sendmail", is_flag=True, help="Leave sendmail, mailq and newaliases to another mail system.")
@click.option("--root", metavar="DIR", help="Set up the system in this tree, which has mailspool at the same place.")
@exits
def setup(*, system: bool, undo: bool, dry_run: bool, yes: bool, no_sendmail: bool, root: str | None) -> None:
    """Install mailspool for the whole host: user, directories, configuration, service and sendmail.

    Everything is listed before anything is done, and recorded, so that --undo can take it back. Again after an
    upgrade it brings what is new and leaves alone what you have changed.
    """
    if not system:
        raise UsageError("say mailspool setup --system, to set up the whole host; --dry-run shows what that means")
    if root:
        _enter(root)
    if undo:
        _undo(dry_run=dry_run, yes=yes)
    else:
        _install(dry_run=dry_run, yes=yes, sendmail=not no_sendmail)


def _install(*, dry_run: bool, yes: bool, sendmail: bool) -> None:
    programs = str(_program().parent)
    if problems := list(dict.fromkeys(unfit(programs))):
        raise Refused("\n".join(problems))
    manifest = Manifest()
    found = survey(plan(programs, sendmail=sendmail), manifest)
    _list(found)
    for note in _notes():
        click.echo(f"note: {note}")
    if dry_run or not found.missing:
        return
    _may(f"Install {_things(len(found.missing))}?", yes=yes)
    install(found.missing, manifest, click.echo)
    click.echo(_DONE)


def _undo(*, dry_run: bool, yes: bool) -> None:
    manifest = Manifest()
    steps = manifest.steps()
    for step in steps:
        click.echo(f"take back: {getattr(step, 'undoing', step)}")
    if not steps:
        click.echo(f"nothing to take back: {record.PATH} records nothing")
    if dry_run or not steps:
        return
    _refuse_while_running()
    _may(f"Take back {_things(len(steps))}?", yes=yes)
    kept = take_back(steps, manifest, click.echo)
    click.echo(f"taken back, but for {_things(len(kept))} named above" if kept else "taken back")


def _list(found: Survey) -> None:
    for step in found.changed:
        new = getattr(step, "source", "")
        click.echo(f"kept, since it was changed: {step}{f' (new: {new})' if new else ''}")
    for step in found.missing:
        click.echo(f"install: {step}")
    if found.missing:
        click.echo(f"record: {record.PATH}")
    else:
        click.echo("all is installed")


def _notes() -> Iterator[str]:
    """Where a configuration that is there differs from what unit and init script take for granted."""
    if not Path(CONFIG_FILE).exists():
        return
    try:
        settings = load(CONFIG_FILE)
    except ConfigError as error:
        yield from error.problems
        return
    for name, usual in ("user", USER), ("dequeue_dir", SPOOL), ("run_dir", RUN_DIR):
        if (value := getattr(settings, name)) != usual:
            yield f"{name} is {value} in {CONFIG_FILE}, not {usual}: tell the unit too, or /etc/default/mailspool"


def _may(question: str, *, yes: bool) -> None:
    if os.geteuid() != 0:
        raise _NotRoot("only root can do this: sudo, or --dry-run to look only")
    if not (yes or _answer(question)):
        raise click.Abort


def _answer(question: str) -> bool:
    """Ctrl-C aborts. Raises UsageError where no answer comes, as from /dev/null."""
    try:
        return click.confirm(question)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo()  # the question's line ends
        raise UsageError("nobody has answered, standard input is no terminal: say --yes") from None


def _refuse_while_running() -> None:
    try:
        control.ask(RUN_DIR, "status")
    except NotRunning:
        return
    raise Refused("mailspoold is running: stop it first (service mailspool stop, or systemctl stop mailspool)")


def _program() -> Path:
    """The program that runs now, where it really is."""
    return Path(sys.argv[0]).resolve()


def _enter(root: str) -> NoReturn:
    """Do the rest in another tree, with the programs there: the same command line without --root."""
    program = str(_program())
    if os.geteuid() != 0:
        raise _NotRoot(f"only root can enter {root}")
    if not os.access(f"{root}{program}", os.X_OK):
        raise Refused(f"{root} has no {program}: install mailspool there first")
    os.chroot(root)
    os.chdir("/")
    os.execv(program, [program, *_without_root(sys.argv[1:])])  # noqa: S606 - the same program, and no shell is meant


def _without_root(words: list[str]) -> list[str]:
    left = iter(words)
    return [word for word in left if not word.startswith("--root=") and not (word == "--root" and next(left, None))]


def _things(number: int) -> str:
    return "one thing" if number == 1 else f"{number} things"
