# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""mailspool as a measured server; it can be imported only where mailspool is installed."""

import contextlib
import json
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from server import RECIPIENT, SENDER, Server, Setup, files_in, message

from mailspool import __version__
from mailspool.cli.setup.sendmail import program
from mailspool.errors import NotRunning
from mailspool.spool import Spool
from mailspool.store.base import Location, State
from mailspool.supervisor import control

_SERVICES = {"lease", "listener", "recover"}
_WAITING_TIER = 2  # of which nothing is due for hours


class Mailspool(Server):
    """mailspoold -f, filled by `Spool.batch`."""

    name = "mailspool"

    def __init__(self, folder: Path, setup: Setup) -> None:
        folder.mkdir()
        (folder / "run").mkdir(mode=0o700)
        self._spool_folder, self._run_dir = folder / "spool", str(folder / "run")
        self.config = folder / "mailspool.toml"
        settings = {
            "dequeue_dir": str(self._spool_folder),
            "run_dir": self._run_dir,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "hostname": "bench.test",
            "mail_name": "bench.test",
            "aliases_file": "",
            **({"smarthost": setup.smarthost} if setup.smarthost else {"nameservers": ["127.0.0.1"]}),
            **setup.options.get(self.name, {}),
        }
        self.config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        self._sendmail = folder / "sendmail"  # as `mailspool setup --system` installs it
        self._sendmail.write_text(program())
        self._sendmail.chmod(0o755)
        super().__init__([_program("mailspoold"), "-f", "-c", str(self.config)], folder)
        self.spool = Spool.from_config(str(self.config))

    def _answers(self) -> bool:
        with contextlib.suppress(NotRunning):
            return bool(control.ask(self._run_dir, "status"))
        return False

    def _find_decider(self) -> int:
        """The supervisor itself, once all services run, and the child that recovers at the start has ended."""
        roles = [each["role"] for each in json.loads(control.ask(self._run_dir, "status"))["services"]]
        return self.main.pid if {*roles} >= _SERVICES and roles.count("recover") == 1 else 0

    @property
    def version(self) -> str:
        return str(__version__)

    def fill(self, recipients: Sequence[str], size: int, together: int = 100) -> None:
        """together: how many in a batch."""
        for start in range(0, len(recipients), together):
            with self.spool.batch() as batch:
                for number, to in enumerate(recipients[start : start + together], start):
                    batch.send_mail(to=to, from_=SENDER, message=message(size, number))

    def send(self, content: bytes) -> None:
        self.spool.send_mail(to=RECIPIENT, from_=SENDER, message=content)

    @property
    def sendmail(self) -> list[str]:
        return ["env", f"MAILSPOOL_RUN_DIR={self._run_dir}", str(self._sendmail), "-i", "-f", SENDER, RECIPIENT]

    @property
    def list_queue(self) -> list[str]:
        return [_program("mailspool"), "queue", "-c", str(self.config)]

    def fill_with_waiting(self, count: int) -> None:
        """What comes into a tier now waits in it."""
        self.stop()
        self.fill([RECIPIENT] * count, 1024, 5000)
        store = self.spool.store
        for name in store.names(0):
            store.move(Location(State.QUEUED, 0, name), Location(State.QUEUED, _WAITING_TIER, name))
        self.start()

    def scan(self) -> float:
        before = self.settled_cpu()
        control.ask(self._run_dir, "look")
        return self.settled_cpu() - before

    def queued(self) -> int:
        return files_in(
            *(self._spool_folder / name for name in ("0", "1", str(_WAITING_TIER), "claimed", "quarantine"))
        )


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
