# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real daemon in a process of its own, and waiting for what it does: tests poll, they never sleep to be right."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from mailspool.config.explain import toml
from mailspool.errors import NotRunning
from mailspool.supervisor import control

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0  # seconds until a test that waits in vain fails, on a machine that is busy

_UNCONFIGURED = {name: value for name, value in os.environ.items() if not name.startswith("MAILSPOOL_")}
ENVIRONMENT = {**_UNCONFIGURED, "PYTHONPATH": str(ROOT)}


def eventually(condition, timeout=PATIENCE, what="", pause=0.01):
    """The condition's value as soon as it is true. pause: seconds between two looks, for one that is costly."""
    until = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < until, f"not within {timeout:g} s: {what or condition}"
        time.sleep(pause)
    return value


def me():
    """The name of the user who runs the tests."""
    return pwd.getpwuid(os.geteuid()).pw_name


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid):
    """A zombie runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def title_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except OSError:
        return ""


def write_config(path, properties):
    """TOML; tables become dotted keys."""
    lines = []
    for name, value in properties.items():
        table = value if isinstance(value, dict) else {None: value}
        for key, each in table.items():
            lines.append(f"{name if key is None else f'{name}.{json.dumps(key)}'} = {toml(each)}\n")
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text("".join(lines))
    if path.exists():
        shutil.copymode(path, draft)
    draft.rename(path)  # a reload that is under way reads the old one or this one, never a part


class Daemon:
    """A supervisor in the foreground, with its children."""

    def __init__(self, folder, properties, command=None):
        self.config, self.log_file = folder / "mailspool.toml", folder / "daemon.log"
        self.run_dir = properties["run_dir"]
        self.properties = dict(properties)
        self._command = command or [sys.executable, str(ROOT / "bin/mailspoold"), "-f", "-c", str(self.config)]
        self._seen: set[int] = set()
        self.start()

    def start(self):
        write_config(self.config, self.properties)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, stdout=log, cwd=ROOT, env=ENVIRONMENT)
        eventually(lambda: self.answers() or self.process.poll() is not None, what="a start")
        assert self.process.poll() is None, self.log
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_file.read_text(errors="replace")

    def answers(self):
        with contextlib.suppress(NotRunning, ValueError):
            return self.status()["pid"] == self.process.pid
        return False

    def status(self):
        return json.loads(control.ask(self.run_dir, "status"))

    def workers(self):
        """Pids of the workers, as the supervisor knows them."""
        return [worker["pid"] for worker in self.status()["workers"]]

    def send(self, number, pid=0):
        self._seen.update(children_of(self.pid))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or self.pid, number)

    def wait(self, timeout=PATIENCE):
        """Its exit code."""
        return self.process.wait(timeout)

    def stop(self, number=signal.SIGTERM, timeout=PATIENCE):
        self.send(number)
        return self.wait(timeout)

    def kill(self):
        self.stop(signal.SIGKILL)

    def end(self):
        """At the end of a test: nothing of it is left."""
        if self.process.poll() is None:
            self.kill()
        eventually(lambda: not any(map(is_running, self._seen)), what="the end of all children")
