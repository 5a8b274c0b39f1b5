# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One small host: a Linux kernel that runs as a process, with page cache, clock, boot id and network of its own.

It sees this machine's file system read-only, at the same paths: the tests' Python and the checkout are there.
"""

import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.running import ROOT

HERE = Path(__file__).parent
PRIVATE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailspool-lab"
HOST_PATIENCE = 120.0  # seconds, for a boot, or a command in a host: several of them may share a processor
MACHINE = "chroot /machine env -C {root} PYTHONPATH={root} {more} {python} {arguments}"


class Result(NamedTuple):
    """What a command came to. seconds: by the host's clock."""

    code: int
    text: str
    seconds: float


class HostDied(Exception):
    """Its kernel is gone."""


class Host:
    """folder: what the host sees as /run/share/<name>, shared with the machine. disks: images, seen as /dev/ubda, …"""

    def __init__(self, share, name, number, disks=(), memory="256M"):
        self.share, self.name, self.address, self.disks, self.memory = share, name, f"10.77.0.{number}", disks, memory
        self.folder = share / name
        self.process = None
        self._mac = f"02:00:00:00:00:{number:02x}"
        self._commands = itertools.count(1)

    def boot(self):
        self.power_on()
        self.until_up()
        return self

    def power_on(self):
        for name in ("in", "out"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        (self.folder / "up").unlink(missing_ok=True)
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                self._command_line(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=self._environment(),
                start_new_session=True, cwd=self.folder,
            )  # fmt: skip

    def until_up(self):
        self._await(self.folder / "up", HOST_PATIENCE)

    @property
    def console(self):
        return self.folder / "console.log"

    def _command_line(self):
        return [
            str(PRIVATE / "root/usr/bin/linux.uml"),
            *("root=/dev/root", "rootfstype=hostfs", f"rootflags={PRIVATE / 'root'}", "ro", "init=/init"),
            *(f"mem={self.memory}", f"umid={self.share.name}-{self.name}", "quiet", "con=null", "con0=null,fd:1"),
            f"eth0=daemon,{self._mac},unix,{self.share}/switch",
            *(f"LAB_{name}={value}" for name, value in self._variables().items()),
            *(f"ubd{number}={disk}" for number, disk in enumerate(self.disks)),
        ]

    def _variables(self):
        init, agent = HERE / "init.sh", HERE / "agent.py"
        return {"INIT": init, "AGENT": agent, "SHARE": self.share, "NAME": self.name, "ADDRESS": self.address}

    def _environment(self):
        """HOME: where the kernel keeps its pid. TMPDIR: its memory is an unlinked file there."""
        shim = PRIVATE / "root/xstate.so"
        return {**os.environ, "LD_PRELOAD": str(shim), "HOME": str(self.share), "TMPDIR": str(self.share)}

    def start(self, command):
        """Have a command of /bin/sh run, in the private root. Its number, for `wait`."""
        name = f"{next(self._commands):06d}"
        draft = self.folder / "in" / f"{name}.draft"
        draft.write_text(json.dumps(command))
        draft.rename(draft.with_suffix(""))
        return name

    def wait(self, name, timeout=HOST_PATIENCE, check=True):
        """Its `Result`. check: it must have gone well."""
        self._await(self.folder / "out" / name, timeout)
        done = json.loads((self.folder / "out" / name).read_text())
        text = (self.folder / "out" / f"{name}.text").read_text(errors="replace")
        assert not check or done["code"] == 0, f"{self.name}: a command ended with {done['code']}: {text}"
        return Result(done["code"], text, done["seconds"])

    def run(self, command, timeout=HOST_PATIENCE, check=True):
        return self.wait(self.start(command), timeout, check)

    def start_python(self, *arguments, to="", **variables):
        """Like `start`: the Python and the checkout of these tests. to: the end of the command line, as for a shell."""
        more = shlex.join(f"{name}={value}" for name, value in variables.items())
        words = shlex.join(map(str, arguments))
        return self.start(MACHINE.format(root=ROOT, more=more, python=sys.executable, arguments=f"{words} {to}"))

    def python(self, *arguments, timeout=HOST_PATIENCE, check=True, **variables):
        return self.wait(self.start_python(*arguments, **variables), timeout, check)

    def cut_power(self):
        """The kernel and its page cache are gone; the disks are as they are."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    @property
    def is_up(self):
        return self.process is not None and self.process.poll() is None

    def _await(self, path, timeout):
        until = time.monotonic() + timeout
        while not path.exists():
            if not self.is_up:
                raise HostDied(f"{self.name}: {self.console.read_text(errors='replace')[-2000:]}")
            assert time.monotonic() < until, f"{self.name}: not within {timeout:g} s: {path}"
            time.sleep(0.01)
