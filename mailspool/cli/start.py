# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How `mailspoold` begins: in the usual words, `-f`, `-c FILE` and `-o KEY=VALUE`, it does so without click.

What is loaded to read the command line stays in the memory of the daemon and of each of its children. All other words
are for `cli.mailspoold`, which knows these too, and what is wrong with them.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from mailspool import log
from mailspool.cli import interrupt
from mailspool.errors import MailspoolError
from mailspool.spool import Spool


class Usual(NamedTuple):
    """What a command line of nothing but the usual words says; config: an absolute path."""

    foreground: bool = False
    config: str | None = None
    overrides: tuple[str, ...] = ()


def usual(argv: Sequence[str]) -> Usual | None:
    """The command line (without the program's name), None if it has other words."""
    said, words = Usual(), iter(argv)
    for word in words:
        if word in ("-f", "--foreground"):
            said = said._replace(foreground=True)
        elif (value := next(words, "")) and word in ("-c", "--config"):
            said = said._replace(config=str(Path(value).absolute()))
        elif value and word in ("-o", "--option"):
            said = said._replace(overrides=(*said.overrides, value))
        else:
            return None
    return said


def main(argv: Sequence[str]) -> int:
    """Do what the command line says; the exit code."""
    said = usual(argv)
    if said is None:
        from mailspool.cli import mailspoold  # see above

        return mailspoold.main(argv)
    try:
        with interrupt.clearing_up():
            return _run(said)
    except MailspoolError as error:
        sys.stderr.writelines(f"mailspoold: {line}\n" for line in str(error).splitlines())
        return error.exit_code
    except KeyboardInterrupt:
        return interrupt.die()


UNUSED = ("asyncio", "importlib.metadata")
"""What structlog loads for its coroutines; and dnspython, to ask which packages there are that we make no use of."""


class Later(ModuleType):
    """Stands for a module of that name, which is loaded once somebody asks for anything in it."""

    def __getattr__(self, name: str) -> Any:
        self.give_way()
        return getattr(import_module(self.__name__), name)

    def give_way(self) -> None:
        """Who imports it from now on gets the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


def load() -> None:
    """Load the daemon, without what its libraries load and it makes no use of."""
    unused = [Later(name) for name in UNUSED if name not in sys.modules]
    sys.modules.update((each.__name__, each) for each in unused)
    import mailspool.delivery.daemon  # noqa: F401 - see above

    for each in unused:
        each.give_way()


def _run(said: Usual) -> int:
    load()
    spool = Spool.from_config(said.config, said.overrides)
    log.configure(stream="quiet", **spool.settings.log_options)
    return spool.daemon(foreground=said.foreground)
