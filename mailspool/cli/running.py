# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The running supervisor, as commands ask it: what it does, and to look into the spool; or how to have one.

What it answers is a `Status`, as `supervisor.status` makes it.
"""

import json
from pathlib import Path
from typing import Any

from mailspool.cli.text import shown, span
from mailspool.config.schema import Settings
from mailspool.errors import ControlForbidden, NotRunning
from mailspool.spool import Spool
from mailspool.supervisor import control

Status = dict[str, Any]


def status(spool: Spool) -> Status:
    """What the supervisor says of itself. Raises NotRunning."""
    answer: Status = json.loads(control.ask(spool.settings.run_dir, "status"))
    return answer


def status_if_any(spool: Spool) -> Status | None:
    """The same; None if no supervisor answers. Raises ControlForbidden."""
    try:
        return status(spool)
    except ControlForbidden:
        raise
    except (NotRunning, ValueError):
        return None


def look(spool: Spool) -> None:
    """Have it look into every tier now. Raises NotRunning."""
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
