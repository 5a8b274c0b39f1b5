# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A whole system to try things on, and to throw away: this one, with everything that is written kept apart (overlayfs).

It has namespaces of its own for mounts and processes, and its own /dev, /run and /tmp; when it ends, so does all that
runs in it. The network is this one's. Only root can make one.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from tests.running import ROOT, eventually

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PATIENCE = 280.0  # seconds; less than a test has, see conftest.py, so that it is told which command took them

_UNSHARE = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private")

_ENTER = ("--mount", "--pid", "--ipc", "--uts", "--root")  # all of them: `hostname` must not rename the machine below

_BUILD = """
set -e
root=$1 lower=$2 upper=$3 work=$4
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$root"
cd "$root"
for volatile in dev run tmp; do mount -t tmpfs -o mode=0755 tmpfs $volatile; done
mkdir dev/pts dev/shm
chmod 1777 tmp dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 0666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 0666 dev/tty c 5 0
mount -t proc proc proc
"""

_IDLE = """
exec chroot . /bin/sh -c 'echo up; while :; do sleep 3600 & wait; done'
"""

_SYSTEMD = """
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir "sys/fs/cgroup/$5"
echo 0 >"sys/fs/cgroup/$5/cgroup.procs"
umount sys/fs/cgroup
exec unshare --cgroup sh -ec '
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    exec chroot . sh -c "
        echo up
        exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=basic.target \\
            --show-status=no --log-target=journal >/dev/null 2>&1"
'
"""

_FORGET = """
mount -t cgroup2 cgroup2 /mnt
[ ! -d "/mnt/$1" ] || find "/mnt/$1" -depth -type d -exec rmdir {} +
"""


class Machine:
    """layers: directories that lie above this system's files, the uppermost first. `written`: all it has written.

    systemd: it is the first process there, with all that it starts in a control group of its own, and has booted.
    """

    def __init__(self, folder, layers=(), *, systemd=False):
        self.written, self._layers = folder / "written", layers
        for name in ("root", "written", "work"):
            (folder / name).mkdir(parents=True)
        self._group = f"mailspool-test-{os.getpid()}-{id(self)}" if systemd else ""
        lower = ":".join(map(str, (*layers, "/")))
        arguments = (folder / "root", lower, self.written, folder / "work", self._group)
        self._process = subprocess.Popen(
            [*_UNSHARE, "sh", "-c", _BUILD + (_SYSTEMD if systemd else _IDLE), "sh", *arguments],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout.readline() == b"up\n"  # said when it has left our own root
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.pid = int(children[0])
        self._words = ["nsenter", "--target", str(self.pid), *_ENTER, "env", "--chdir=/"]
        if systemd:
            booted = {"running\n", "degraded\n"}  # degraded: something that is no business of ours
            eventually(lambda: self.call("systemctl", "is-system-running").stdout in booted, what="a boot")

    def call(self, *words, input="", user=None, **environment):  # noqa: A002 - as subprocess has it
        """What became of a command, whose output and errors are in `stdout`."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return subprocess.run(
            [*self._words, *become, *words],
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
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
        if self._group:
            words = ["unshare", "--mount", "sh", "-ec", _FORGET, "sh", self._group]
            eventually(lambda: not subprocess.run(words, stderr=subprocess.DEVNULL).returncode, what="its last process")
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


def copy_checkout(machine):
    """To /tmp/mailspool: what git knows of it, and what is new."""
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


def install_into(machine):
    """Into /opt/mailspool, from a copy of this checkout, and with the system's own Python."""
    copy_checkout(machine)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    machine.run("/usr/bin/python3", "-m", "venv", "/opt/mailspool")
    machine.run("/opt/mailspool/bin/pip", "install", "--quiet", "/tmp/mailspool", HOME="/root", **pip)
