# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A few hosts on a switch of their own, which is a Unix socket: no packet leaves them, no network is set up for it."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.host import PRIVATE, Host
from tests.running import eventually

MEMORY = Path("/dev/shm")
ENOUGH = 4 << 30  # octets that must be free there: hosts' memory and disks, of which they use a part


class Lab:
    """To be used with `with`: then nothing of it is left."""

    def __init__(self):
        where = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH else None
        self.folder = Path(tempfile.mkdtemp(prefix="mailspool-lab-", dir=where))
        self.hosts = {}
        self._switch = subprocess.Popen(
            [PRIVATE / "root/usr/bin/uml_switch", "-unix", self.folder / "switch"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        eventually((self.folder / "switch").exists)

    def host(self, name, *, disks=(), memory="256M"):
        """A host that is not booted yet."""
        self.hosts[name] = Host(self.folder, name, len(self.hosts) + 1, disks, memory)
        return self.hosts[name]

    def disk(self, name, megabytes=512):
        """An empty image, that a host makes a file system on."""
        image = self.folder / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        return image

    def close(self):
        for host in self.hosts.values():
            if host.is_up:
                host.cut_power()
        self._switch.terminate()
        self._switch.wait()
        self._switch.stdin.close()
        shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
