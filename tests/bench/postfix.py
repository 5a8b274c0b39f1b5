# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Debian's Postfix as a measured server, in the private root that tests/peers/install.sh unpacks it into."""

import contextlib
import os
import re
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environment import CACHE, CHECKOUT
from processes import cpu_seconds, name_of
from server import RECIPIENT, SENDER, Server, Setup, files_in, message

ROOT = CACHE / "mailspool-peers" / "root"

_QUEUES = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "saved",
    "trace",
)


class Postfix(Server):
    """Debian's Postfix in its private root, with the package's master.cf, filled over four SMTP sessions."""

    name = "Postfix"
    only_fills = frozenset({"smtpd", "cleanup", "anvil", "pickup"})
    _session: smtplib.SMTP | None = None

    def __init__(self, folder: Path, setup: Setup) -> None:
        folder.mkdir()
        self.folder = folder
        inside = f"/{folder.relative_to(ROOT)}"
        self._port = _free_port()
        self._make_directories()
        (folder / "etc").mkdir()
        own = {
            "relayhost": "[{}]:{}".format(*setup.smarthost.split(":")) if setup.smarthost else "",
            **setup.options.get(self.name, {}),
        }
        lines = "".join(f"{name} = {value}\n" for name, value in own.items())
        (folder / "etc" / "main.cf").write_text(_MAIN_CF.format(inside=inside) + lines)
        (folder / "etc" / "master.cf").write_text(self._master_cf())
        shutil.copy(ROOT / "usr/share/postfix/dynamicmaps.cf", folder / "etc")
        self._chroot = ["chroot", str(ROOT)]
        self._etc = f"{inside}/etc"
        super().__init__([*self._chroot, "/usr/lib/postfix/sbin/master", "-d", "-c", self._etc], folder)

    def _make_directories(self) -> None:
        owner = next(line for line in (ROOT / "etc/passwd").read_text().splitlines() if line.startswith("postfix:"))
        uid = int(owner.split(":")[2])
        (self.folder / "queue" / "pid").mkdir(parents=True)
        for name in ("data", *(f"queue/{each}" for each in (*_QUEUES, "private", "public"))):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, uid, uid)
        self._uid = uid

    def _master_cf(self) -> str:
        """As in the package, but for the port to listen on; nothing is chrooted a second time."""
        text = (ROOT / "usr/share/postfix/master.cf.dist").read_text()
        text = re.sub(r"(?m)^smtp(\s+inet)", rf"127.0.0.1:{self._port}\1", text)
        return re.sub(r"(?m)^(\S+\s+\S+\s+\S+\s+\S+\s+)y(\s)", r"\1n\2", text)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), 1).close()
            return True
        return False

    def _find_decider(self) -> int:
        return next((pid for pid in self.processes if name_of(pid) == "qmgr"), 0)

    @property
    def version(self) -> str:
        command = [*self._chroot, "/usr/sbin/postconf", "-c", self._etc, "-h", "mail_version"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def fill(self, recipients: Sequence[str], size: int) -> None:
        def one_session(numbers: range) -> None:
            with smtplib.SMTP("127.0.0.1", self._port, "bench.test") as session:
                for number in numbers:
                    session.sendmail(SENDER, [recipients[number]], message(size, number))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one_session, [range(start, len(recipients), 4) for start in range(4)]))

    def send(self, content: bytes) -> None:
        """Over a session that stays open."""
        if self._session is None:
            self._session = smtplib.SMTP("127.0.0.1", self._port, "bench.test")
        self._session.sendmail(SENDER, [RECIPIENT], content)

    def fill_over_smtp(self, sessions: int, count: int, size: int) -> None:
        """So many messages over so many sessions at once, by Postfix's own generator of load."""
        command = [*self._chroot, "/usr/sbin/smtp-source", "-d", f"-s{sessions}", f"-m{count}", f"-l{size}"]
        subprocess.run([*command, "-f", SENDER, "-t", RECIPIENT, f"inet:127.0.0.1:{self._port}"], check=True)

    @property
    def sendmail(self) -> list[str]:
        return [*self._chroot, "/usr/sbin/sendmail", "-C", self._etc, "-i", "-f", SENDER, RECIPIENT]

    @property
    def list_queue(self) -> list[str]:
        return [*self._chroot, "/usr/sbin/postqueue", "-c", self._etc, "-p"]

    def fill_with_waiting(self, count: int) -> None:
        """One comes in by its own way; the others are copies of its file, under names of the same form."""
        self.hold()
        self.fill([RECIPIENT], 1024)
        (first,) = (file for file in (self.folder / "queue" / "incoming").rglob("*") if file.is_file())
        content, later = first.read_bytes(), time.time() + 7200
        self.stop()
        for left in (self.folder / "queue").rglob(first.name):  # if it was not delivered while Postfix stopped
            left.unlink()
        for number in range(count):
            name = f"{number:05X}"[::-1] + f"{number:06X}"
            folder = self.folder / "queue" / "deferred" / name[0]
            if not folder.is_dir():
                folder.mkdir(0o700)
                os.chown(folder, self._uid, self._uid)
            (folder / name).write_bytes(content)
            os.chown(folder / name, self._uid, self._uid)
            os.chmod(folder / name, 0o700)
            os.utime(folder / name, (later, later))
        self.start()

    def scan(self) -> float:
        """What its queue manager does when it starts: with an empty queue that is next to nothing."""
        self.stop()
        self.start()
        self.settled_cpu()
        return cpu_seconds([self.decider])

    def stop(self, patience: float = 60.0) -> None:
        super().stop(patience)
        self._session = None

    def queued(self) -> int:
        return files_in(
            *(self.folder / "queue" / name for name in ("maildrop", "incoming", "active", "deferred", "corrupt"))
        )


# All but the first block is Postfix's default. in_flow_delay: else cleanup would wait for the stopped queue manager.
_MAIN_CF = """\
myhostname = bench.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
message_size_limit = 1000000000
mailbox_size_limit = 0
queue_directory = {inside}/queue
data_directory = {inside}/data
maillog_file = {inside}/log
maillog_file_prefixes = {inside}

compatibility_level = 3.6
in_flow_delay = 0
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def install() -> None:
    """Unpack it, if that was not done yet. Raises SystemExit."""
    done = subprocess.run([str(CHECKOUT / "tests/peers/install.sh")], check=False)
    if done.returncode:
        raise SystemExit("there is no Postfix to compare with (see above)")
