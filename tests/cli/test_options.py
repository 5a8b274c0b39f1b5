# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What every command has in common."""

import click
import pytest

from mailspool.cli.admin import mailspool
from mailspool.cli.mailspoold import mailspoold


def commands(command, name, parent=None):
    """(what it is called, its context) of a command and all below it."""
    context = command.make_context(name, [], parent, resilient_parsing=True)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from commands(command.get_command(context, inner), inner, context)


ALL = dict([*commands(mailspool, "mailspool"), *commands(mailspoold, "mailspoold")])


@pytest.mark.parametrize("name", ALL)
def test_the_help_of_every_command_fits_into_eighty_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert [line for line in ALL[name].command.get_help(ALL[name]).splitlines() if len(line) > 80] == []
