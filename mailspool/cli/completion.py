# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Completion on the command line: `mailspool completion SHELL`, and what the spool has to offer for an unfinished word.

It reads names only. Where there is no spool, or none that we may read, nothing is offered and nothing is said.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import click
from click.shell_completion import get_completion_class

from mailspool.errors import MailspoolError
from mailspool.spool import Spool
from mailspool.store import nodename

_MOST = 200
"""As many are offered: nobody reads more, and a shell takes long to show them."""

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_MAILSPOOL_COMPLETE"  # as click derives it from the program's name
_EPILOG = """\b
Where to put it:
  bash  /usr/share/bash-completion/completions/mailspool
  zsh   /usr/share/zsh/vendor-completions/_mailspool
  fish  ~/.config/fish/completions/mailspool.fish
such as
  mailspool completion zsh >/usr/share/zsh/vendor-completions/_mailspool
or, in bash, for this session only:
  eval "$(mailspool completion bash)"
"""


@click.command(short_help="Print a shell's completion script.", name="completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the script that completes commands, options, IDs and domains in a shell."""
    root = context.find_root()
    kind = get_completion_class(shell)
    assert kind
    click.echo(kind(root.command, {}, "mailspool", _VARIABLE).source())


def ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Messages' IDs; once one is written out with a dot, its nodes'."""
    of = nodename.node_id_of if "." in incomplete else nodename.message_id_of
    return _offer(set(map(of, _names(context))) - {""}, incomplete)


def domains(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Domains that mail waits for."""
    return _offer({nodename.destination_in(name) for name in _names(context)} - {""}, incomplete)


def _offer(words: Iterable[str], incomplete: str) -> list[str]:
    return sorted(word for word in words if word.startswith(incomplete))[:_MOST]


def _names(context: click.Context) -> Iterator[str]:
    with suppress(MailspoolError):
        for at in Spool.from_config(*_given(context)).store.locations():
            yield at.name


def _given(context: click.Context) -> tuple[str | None, tuple[str, ...]]:
    """The line's -c and -o so far, as `options.configured` has them: while completing, nothing is called."""
    config, overrides = None, ()
    level: click.Context | None = context
    while level:
        config = config or level.params.get("config")
        overrides = (*(level.params.get("overrides") or ()), *overrides)
        level = level.parent
    return config, overrides
