# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The running supervisor, as commands ask it: what it does, and to look into the spool; or how to have one.

What it answers is a `Status`, as `supervisor.status` makes it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from mailspool.cli.text import shown, span
from mailspool.config.schema import Settings
from mailspool.errors import NoAnswer, NotRunning
from mailspool.spool import Spool
from mailspool.supervisor import control

Status = dict[str, Any]


def status(spool: Spool, about: str = "") -> Status:
    """What the supervisor says of itself. about: the only destination of which it is to tell what holds it back.

    Raises NotRunning, ControlForbidden.
    """
    answer: Status = json.loads(control.ask(spool.settings.run_dir, f"status {about}".rstrip(), _tell_of_waiting))
    return answer


def _tell_of_waiting() -> None:
    if sys.stderr.isatty():
        click.echo(f"the supervisor has not answered yet; it has {control.PATIENCE:.0f} seconds more", err=True)


def status_if_any(spool: Spool, about: str = "") -> Status | None:
    """The same; None if no supervisor answers. Raises ControlForbidden."""
    return status_or_fault(spool, about)[0]


def status_or_fault(spool: Spool, about: str = "") -> tuple[Status | None, str]:
    """The same, and why there is none, with what to do behind a colon."""
    try:
        return status(spool, about), ""
    except NoAnswer as error:
        return None, str(error)
    except (NotRunning, ValueError):
        return None, f"no supervisor answers in {spool.settings.run_dir}: {starter(spool.settings.run_dir)}"


def look(spool: Spool) -> None:
    """Have it look into every tier now. Raises NotRunning, ControlForbidden."""
    control.ask(spool.settings.run_dir, "look")


def starter(run_dir: str, root: str = "/") -> str:
    """The command that starts the daemon of this directory: the service's where there is one. root: of the system."""
    here = Path(root)
    if run_dir == Settings().run_dir:
        if (here / "run/systemd/system").is_dir() and (here / "etc/systemd/system/mailspool.service").exists():
            return "systemctl start mailspool"
        if (here / "etc/init.d/mailspool").exists():
            return "service mailspool start"
    return "mailspoold"


def alarm_line(alarm: Status) -> str:
    """One alarm of the supervisor."""
    return f"to be mended here, since {span(alarm['seconds'])}: {shown(alarm['text'])}"
