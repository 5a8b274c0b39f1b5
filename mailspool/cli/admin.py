# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool`, the administrator's program: looks into the spool, tells why, changes nodes, and talks to the daemon.

What only looks writes nothing, not even directories, and works while no daemon runs. Each error names the thing and
what to try next; `mailspool --help` lists the exit codes.
"""

from collections.abc import Sequence
from importlib import import_module

import click

from mailspool.cli.options import Given, configured, examples, exit_code, takes_settings
from mailspool.errors import ConfigError
from mailspool.spool import Spool
from mailspool.supervisor import control
from mailspool.version import VERSION

_EXIT_CODES = """\b
Exit codes:
  0   done
  1   some node that was named is not there, was left alone, or it was
      too late; or the answer to a question was no; doctor, check-mount:
      a problem; hosts: one stands out; recover: the owner lives, or there
      is none; import: something cannot be read;
      fsck: a finding, with --repair one that is left
  3   status: no supervisor answers
  64  the command line makes no sense, names no nodes, or somebody had to
      be asked and there is no terminal
  69  no supervisor answers, and the command needs one
  73  setup: something of somebody else's is in the way, or the daemon runs
  75  a local fault (disk, permission, no spool): it may be tried again
  77  you may not look there, or do that: ask again as root
  78  the configuration is wrong, or was refused
  130 interrupted (Ctrl-C)
"""


_CHANGES = ("hold", "release", "retry", "delete", "bounce", "expire")
_LOOKS = ("queue", "why", "quarantine", "status", "ps", "hosts", "recover", "fsck", "check", "config", "completion")

_LOADED_WHEN_ASKED_FOR = {
    **{name: ("mailspool.cli.change", name) for name in _CHANGES},
    **{name: (f"mailspool.cli.{name}", name) for name in _LOOKS},
    **{name: (f"mailspool.cli.{name}.command", name) for name in ("demo", "doctor", "setup", "sink")},
    "plan": ("mailspool.cli.plan", "show_plan"),
    "check-mount": ("mailspool.cli.mount.command", "check_mount"),
    "import": ("mailspool.cli.import_", "import_"),  # the word itself is Python's
}

_ELSEWHERE = {"flush": "retry", "list": "queue", "mailq": "queue", "remove": "delete", "show": "why", "start": "run"}
"""Words that others have for our commands."""


class _Commands(click.Group):
    """The commands, each of which is loaded when it is asked for: to load all takes as long as most of them do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LOADED_WHEN_ASKED_FOR])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LOADED_WHEN_ASKED_FOR:
            return super().get_command(ctx, cmd_name)
        module, name = _LOADED_WHEN_ASKED_FOR[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which cannot name the nearest of commands that are not loaded."""
        word = args[0]
        if not (ctx.resilient_parsing or word.startswith("-") or self.get_command(ctx, word)):
            from difflib import get_close_matches  # only a fault needs it

            near = get_close_matches(word, self.list_commands(ctx), 1)
            meant = _ELSEWHERE.get(word) or (near[0] if near else "")
            ctx.fail(f"there is no command {word!r}{meant and f'; mailspool {meant} is the nearest'}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mailspool")
@takes_settings
@click.pass_context
def mailspool(context: click.Context, *, config: str | None, overrides: tuple[str, ...]) -> None:
    """Look after the mail spool and its daemon.

    Options given here hold for the command behind them too: mailspool -c FILE queue is mailspool queue -c FILE.
    """
    context.obj = Given(config, overrides)


@mailspool.command(epilog=examples("mailspool run -o dequeue_dir=/tmp/spool -o run_dir=/tmp/run"))
@configured
def run(spool: Spool) -> int:
    """Run the daemon in the foreground, with its log on standard error."""
    return spool.daemon(foreground=True)


@mailspool.command(name="reload", epilog=examples("mailspool check && mailspool reload"))
@configured
def reload_(spool: Spool) -> None:
    """Have the daemon read its configuration again.

    Deliveries go on. A configuration with a fault is refused, every fault is told, and the old one stays. What
    has changed is listed.
    """
    answer, *rest = control.ask(spool.settings.run_dir, "reload").splitlines()
    if answer != "reloaded":
        raise ConfigError([f"{answer}, the old configuration stays:", *rest])
    for line in (answer, *rest):
        click.echo(line)


def main(argv: Sequence[str]) -> int:
    """Do what the command line (without the program's name) says; the exit code."""
    return exit_code(mailspool, argv, "mailspool")
