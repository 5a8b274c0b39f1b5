# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Run something in a forked child that is killed (SIGKILL) before or after its n-th step on the disk.

A step is a call of one of those functions of `store.fsops` that change something. What the child says before it
dies comes back through a pipe, so that a test knows what had been acknowledged.

    life = crash.run(prepare, action)            # to its end: shows which steps there are
    for moment in crash.moments(life):
        crash.run(prepare, action, moment)       # dies there; now recover, and look what is left
"""

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

from mailspool.store import fsops

_HARMLESS = {
    "read_names",
    "read_folder",
    "is_directory",
    "is_there",
    "open_regular",
    "read",
    "read_dated",
    "new_file",
    "rename_to_new",
    "discard",
    "file_system",
}  # or made of other steps
STEPS = tuple(
    name
    for name, thing in vars(fsops).items()
    if isinstance(thing, FunctionType) and thing.__module__ == fsops.__name__ and name[0] != "_"
    if name not in _HARMLESS
)

Say = Callable[[str], None]


class Life(NamedTuple):
    """What became of a child. killed: False if it came to its end. steps: as they began. said: what it told us."""

    killed: bool
    steps: list[str]
    said: list[str]


class Moment(NamedTuple):
    """When to kill: before or after the step with this number, counted from 0."""

    number: int
    when: str  # "before" or "after"


def run(prepare: Callable[[], Any], action: Callable[[Any, Say], None], moment: Moment | None = None) -> Life:
    """Run `action` on what `prepare` returns, both in a child; kill it at `moment`, or let it end if there is none.

    Steps are counted from the beginning of the action. Its own errors are raised here.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _live(prepare, action, moment, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        lines = [line.rstrip("\n").partition(" ") for line in pipe]
    _, status = os.waitpid(child, 0)
    errors = [text for kind, _, text in lines if kind == "error"]
    assert not errors, errors
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0, status
    return Life(killed, [t for kind, _, t in lines if kind == "step"], [t for kind, _, t in lines if kind == "said"])


def moments(life: Life) -> Iterator[Moment]:
    """Each moment at which the child that lived this life could have died."""
    for number in range(len(life.steps)):
        yield Moment(number, "before")
        yield Moment(number, "after")


def _live(prepare: Callable[[], Any], action: Callable[[Any, Say], None], moment: Moment | None, writer: int) -> None:
    def tell(kind: str, text: str) -> None:
        os.write(writer, f"{kind} {text}\n".encode())

    try:
        prepared = prepare()
        _arm(moment, functools.partial(tell, "step"))
        action(prepared, functools.partial(tell, "said"))
    except BaseException as error:
        traceback.print_exc(file=sys.__stderr__)
        tell("error", repr(error))
    finally:
        os._exit(0)


def _arm(moment: Moment | None, tell: Callable[[str], None]) -> None:
    """Wrap each step in this process, which will not live long."""
    count = 0

    def wrap(name, step):
        @functools.wraps(step)
        def watched(*args, **kwargs):
            nonlocal count
            number, count = count, count + 1
            tell(name)
            if moment == (number, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return step(*args, **kwargs)
            finally:
                if moment == (number, "after"):
                    os.kill(os.getpid(), signal.SIGKILL)

        return watched

    for name in STEPS:
        setattr(fsops, name, wrap(name, getattr(fsops, name)))
