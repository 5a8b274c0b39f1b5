# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Writes the man pages that repeat the code, out of the code: `python -m mailspool.cli.manual`.

mailspool(1) and mailspoold(8) come from the commands themselves, mailspool.toml(5) from the schema. sendmail(1) and the
tails of the others (docs/man/*.tail) are written by hand. With --check it writes nothing and ends with 1 if one of them
is not what it would write.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from mailspool.cli.admin import mailspool
from mailspool.cli.mailspoold import mailspoold
from mailspool.config import sample
from mailspool.config.explain import options, toml
from mailspool.config.generated import ROOT, write_or_check
from mailspool.version import VERSION

_EVERYWHERE = frozenset({"help", "config", "overrides"})

_COMMENT = '.\\" Written by `python -m mailspool.cli.manual`: change it in the code, or in the .tail beside it.'


def escape(text: str) -> str:
    """Text as man(7) prints it: no backslash means anything, no line is a request, each hyphen stays a minus."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", plain, flags=re.MULTILINE)


def bold(text: str) -> str:
    """In bold type."""
    return f"\\fB{escape(text)}\\fR"


def head(name: str, section: int, caption: str) -> Iterator[str]:
    """The title line and NAME."""
    yield _COMMENT
    yield f'.TH {name.upper()} {section} "" "mailspool {VERSION}" ""'
    yield from (".SH NAME", f"{escape(name)} \\- {escape(caption)}")


def paragraphs(text: str) -> Iterator[str]:
    """Running text; what begins with click's mark for that, a backspace, is left as it stands."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", escape(paragraph[1:].strip("\n")), ".fi")
        else:
            yield escape(" ".join(paragraph.split()))


def usage(command: click.Command, context: click.Context) -> str:
    """Its name and arguments."""
    return " ".join([bold(context.command_path), *map(escape, command.collect_usage_pieces(context))])


def option_list(command: click.Command, context: click.Context) -> Iterator[str]:
    """Each option with its help; those that every command has are told of once, on top."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record and (not context.parent or parameter.name not in _EVERYWHERE):
            yield from (".TP", bold(record[0]), escape(record[1]))


def subcommand(group: click.Group, name: str, above: click.Context) -> Iterator[str]:
    """One command of a group: usage, help, options, examples."""
    command = group.get_command(above, name)
    assert command
    context = click.Context(command, info_name=name, parent=above)
    yield f".SS {usage(command, context)}"
    yield from paragraphs(command.help or "")
    yield from option_list(command, context)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            yield from subcommand(command, each, context)
    if command.epilog:
        yield ".PP"
        yield from paragraphs(command.epilog)


def of_administrator() -> Iterator[str]:
    """mailspool(1)."""
    context = click.Context(mailspool, info_name="mailspool", **mailspool.context_settings)
    yield from head("mailspool", 1, "looks after the mail spool and its daemon")
    yield from (".SH SYNOPSIS", usage(mailspool, context), ".SH DESCRIPTION")
    yield from paragraphs(mailspool.help or "")
    yield ".SH OPTIONS"
    yield from option_list(mailspool, context)
    yield ".SH COMMANDS"
    for name in mailspool.list_commands(context):
        yield from subcommand(mailspool, name, context)
    yield ".SH EXIT STATUS"
    yield from paragraphs((mailspool.epilog or "").replace("Exit codes:\n", ""))


def of_daemon() -> Iterator[str]:
    """mailspoold(8)."""
    context = click.Context(mailspoold, info_name="mailspoold", **mailspoold.context_settings)
    yield from head("mailspoold", 8, "delivers what is in the mail spool")
    yield from (".SH SYNOPSIS", usage(mailspoold, context), ".SH DESCRIPTION")
    yield from paragraphs(mailspoold.help or "")
    yield ".SH OPTIONS"
    yield from option_list(mailspoold, context)


def of_configuration() -> Iterator[str]:
    """mailspool.toml(5)."""
    yield from head("mailspool.toml", 5, "the configuration of mailspool")
    yield ".SH DESCRIPTION"
    items_apart = re.sub(r"\n(?=- |\d\. )", "\n\n", sample.DOCS_HEAD)
    yield from paragraphs(re.sub(r"^#.*$|<!--.*?-->|`|\*\*", "", items_apart, flags=re.MULTILINE))
    for option in options():
        if option.name in sample.SECTIONS:
            yield f".SH {escape(sample.SECTIONS[option.name]).upper()}"
        yield from (".TP", bold(option.name))
        yield escape(option.help.replace("`", ""))
        allowed = f"{option.allowed[0].upper()}{option.allowed[1:]}; default {toml(option.default, option.unit)}."
        yield escape(f"{allowed} A change needs a restart." if option.restart else allowed)


PAGES = {"mailspool.1": of_administrator, "mailspoold.8": of_daemon, "mailspool.toml.5": of_configuration}


def files(root: Path) -> Mapping[Path, str]:
    """What each of the generated pages is to hold."""
    folder = root / "docs/man"
    return {folder / name: _page(page(), folder / f"{name}.tail") for name, page in PAGES.items()}


def _page(lines: Iterable[str], tail: Path) -> str:
    return "\n".join(lines) + "\n" + tail.read_text("utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write the pages that are stale, or with --check only tell so. Returns the exit code."""
    return write_or_check(files(ROOT), arguments, "mailspool.cli.manual")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
