# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""mailspool as a measured server; it can be imported only where mailspool is installed."""

import contextlib
import json
import os
import pwd
import sys
from pathlib import Path

from server import RECIPIENT, SENDER, Server, files_in, message

from mailspool.errors import NotRunning
from mailspool.spool import Spool
from mailspool.supervisor import control


class Mailspool(Server):
    """mailspoold -f, filled by `Spool.send_mail`."""

    name = "mailspool"

    def __init__(self, folder: Path, port: int, **options: object) -> None:
        folder.mkdir()
        (folder / "run").mkdir(mode=0o700)
        self._spool_folder, self._run_dir = folder / "spool", str(folder / "run")
        self.config = folder / "mailspool.toml"
        me = pwd.getpwuid(os.geteuid()).pw_name
        settings = {
            "dequeue_dir": str(self._spool_folder),
            "run_dir": self._run_dir,
            "user": me,
            "hostname": "bench.test",
            "mail_name": "bench.test",
            "smarthost": f"127.0.0.1:{port}",
            **options,
        }
        self.config.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in settings.items()))
        super().__init__([str(Path(sys.executable).with_name("mailspoold")), "-f", "-c", str(self.config)], folder)
        self.spool = Spool.from_config(str(self.config))

    def _answers(self) -> bool:
        with contextlib.suppress(NotRunning):
            return bool(control.ask(self._run_dir, "status"))
        return False

    def _find_decider(self) -> int:
        """The supervisor itself, once the child that looks for dead owners at the start has ended."""
        roles = [each["role"] for each in json.loads(control.ask(self._run_dir, "status"))["services"]]
        return 0 if roles.count("recover") > 1 else self.main.pid  # one of that name is a service, and stays

    def fill(self, count: int, size: int) -> None:
        for number in range(count):
            self.spool.send_mail(to=RECIPIENT, from_=SENDER, message=message(size, number))

    def queued(self) -> int:
        return files_in(*(self._spool_folder / name for name in ("0", "1", "claimed", "quarantine")))


def _toml(value: object) -> str:
    return str(value) if isinstance(value, int | float) else f'"{value}"'
