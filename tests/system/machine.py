# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A whole system to try things on, and to throw away: this one, with everything that is written kept apart (overlayfs).

It has namespaces of its own for mounts and processes, and its own /run, /tmp and /dev/shm; when it ends, so does all
that runs in it. The network is this one's. Only root can make one.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from tests.running import ROOT

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
_BOOT = """
set -e
root=$1 lower=$2 upper=$3 work=$4
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
for volatile in run tmp dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$root/$volatile"; done
chmod 0755 "$root/run"
cd "$root"
exec chroot . /bin/sh -c 'echo up; while :; do sleep 3600 & wait; done'
"""


class Machine:
    """layers: directories that lie above this system's files, the uppermost first. `written`: all it has written."""

    def __init__(self, folder, layers=()):
        self.written, self._layers = folder / "written", layers
        for name in ("root", "written", "work"):
            (folder / name).mkdir(parents=True)
        lower = ":".join(map(str, (*layers, "/")))
        self._process = subprocess.Popen(
            [*_UNSHARE, "sh", "-c", _BOOT, "sh", folder / "root", lower, self.written, folder / "work"],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.pid = int(children[0])
        self._words = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "env", "--chdir=/"]

    def call(self, *words, input="", user=None, **environment):  # noqa: A002 - as subprocess has it
        """What became of a command, whose output and errors are in `stdout`."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return subprocess.run(
            [*self._words, *become, *words],
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **environment},
        )

    def run(self, *words, **more):
        """The output of a command that succeeds."""
        ran = self.call(*words, **more)
        assert ran.returncode == 0, f"{' '.join(map(str, words))} ended with {ran.returncode}: {ran.stdout}"
        return ran.stdout

    def at(self, path):
        """A path of the machine, as seen from here. Absolute links on the way would lead out."""
        return Path(f"/proc/{self.pid}/root{path}")

    def differences(self):
        """What has come to be otherwise than below it, as paths: contents, owners, modes, and what is missing."""
        changed = [path.relative_to(self.written) for path in self.written.rglob("*")]
        return sorted(f"/{name}" for name in changed if _facts(self.written / name) != _facts(self._below(name)))

    def _below(self, name):
        return next((each / name for each in self._layers if os.path.lexists(each / name)), Path("/") / name)

    def end(self, *, keep=False):
        """keep: what was written may be another one's layer."""
        self._process.kill()
        self._process.communicate()
        if not keep:
            shutil.rmtree(self.written.parent, ignore_errors=True)


def _facts(path):
    """What makes two files the same. In an overlay, a device 0/0 stands for a file that is gone."""
    try:
        fact = path.lstat()
    except OSError:
        return None
    if stat.S_ISCHR(fact.st_mode) and fact.st_rdev == 0:
        return None
    content = b""
    if path.is_symlink():
        content = os.fsencode(path.readlink())
    elif path.is_file():
        content = path.read_bytes()
    return fact.st_mode, fact.st_uid, fact.st_gid, content


def install_into(machine):
    """Into /opt/mailspool, from a copy of this checkout, and with the system's own Python."""
    files = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.split(b"\0")
    copy = machine.at("/tmp/mailspool")
    for name in filter(None, map(os.fsdecode, files)):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    machine.run("/usr/bin/python3", "-m", "venv", "/opt/mailspool")
    machine.run("/opt/mailspool/bin/pip", "install", "--quiet", "/tmp/mailspool", HOME="/root", **pip)
