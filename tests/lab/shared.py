# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Several hosts, one spool on an NFS server, the real daemon on each of them, and a world that takes their mail."""

import contextlib
import itertools
import json
from collections import Counter

from mailspool.store.claim import is_owner
from tests.lab import nfs
from tests.running import eventually, write_config

ON_CLIENT, ON_SERVER = f"{nfs.SPOOL}/mail", f"{nfs.EXPORT}/mail"
LEASE_TIME = 8.0  # seconds
MAKE = "import sys; from mailspool.spool import Spool; Spool.from_config(sys.argv[1]).create_dequeue_dirs()"
LOOK = 0.25  # seconds between two looks by a command in a host, which costs it far more than one here
LONG = 150.0  # seconds until a test that waits for many deliveries in vain fails, on a machine that is busy


class Shared:
    """names: of the hosts that deliver. server: has the spool on its disk. world: where all mail goes."""

    def __init__(self, lab, version, names):
        self.version = version
        self.server = lab.host("server", disks=[lab.disk("server")])
        self.world = lab.host("world", memory="128M")
        self.hosts = [lab.host(name) for name in names]
        self._daemons = {}
        self._fills = itertools.count(1)
        for host in lab.hosts.values():
            host.power_on()
        for host in lab.hosts.values():
            host.until_up()
        nfs.serve(self.server)
        self.world.start_python("-m", "tests.lab.world", self.seen(self.world))
        for host in self.hosts:
            nfs.mount(host, self.server, version)
        for host in (self.server, *self.hosts):
            self.configure(host)

    def configure(self, host, **options):
        """Write its configuration; options: other than usual."""
        write_config(host.folder / "mailspool.toml", {**self._properties(host), **options})

    def _properties(self, host):
        return {
            "dequeue_dir": ON_SERVER if host is self.server else ON_CLIENT,
            "run_dir": "/run/mailspool",
            "user": "root",
            "hostname": f"{host.name}.test",
            "mail_name": "mail.test",
            "aliases_file": "",
            "smarthost": f"{self.world.address}:25",
            "tls": "none",
            "nameservers": ["127.0.0.1"],
            "lease_time": LEASE_TIME,
            "dequeue_periods": [0] * 7,  # no tier makes us wait
            "dequeue_priority": [1] * 7,
            "dequeue_timeout": 1.0,
            "max_dequeue_processes": 4,
            "cool_down": 0.0,
        }

    @staticmethod
    def seen(host):
        """What a host sees of its folder."""
        return f"/run/share/{host.name}"

    def config(self, host):
        return f"{self.seen(host)}/mailspool.toml"

    # --- daemons

    def start(self, host):
        """Start its daemon; it may take a while until it delivers."""
        log = f">>{self.seen(host)}/daemon.log 2>&1"
        self._daemons[host] = host.start_python("bin/mailspoold", "-f", "-c", self.config(host), to=log)

    def stop(self):
        """All daemons that run; each must end well. A test that failed may have left a host frozen."""
        for host in self._daemons:
            host.thaw()
            host.run("kill $(cat /run/mailspool/pid)")
        while self._daemons:
            host, daemon = self._daemons.popitem()
            host.wait(daemon)

    @contextlib.contextmanager
    def delivering(self, hosts, **options):
        """Their daemons run, with these options; see `configure`."""
        for host in hosts:
            self.configure(host, **options)
            self.start(host)
        eventually(lambda: len(self.owners()) == len(hosts), what="a lease of each host", pause=LOOK)
        yield
        self.stop()

    def cut_power(self, host):
        host.cut_power()
        self._daemons.pop(host, None)

    def boot(self, host):
        """Again, after `cut_power`: with its mount, and its daemon, which holds its lease when this returns."""
        host.boot()
        nfs.mount(host, self.server, self.version)
        self.start(host)
        eventually(lambda: self.owners(host.name), what="its lease", pause=LOOK)

    def log(self, host):
        return (host.folder / "daemon.log").read_text(errors="replace")

    # --- the way in

    def fill(self, messages, hosts, local="joe"):
        """Have so many messages accepted, by all of these hosts at once. local: see tests/lab/fill.py."""
        return Fill(self, f"accepted.{next(self._fills)}", messages // len(hosts), hosts, local)

    # --- the way out

    def taken(self):
        """How often the world took which message: {ID: copies}."""
        return Counter(lines(self.world.folder / "taken"))

    def until_taken(self, accepted, part=1.0):
        """Until the world has taken that part of them."""
        enough = len(accepted) * part
        eventually(lambda: len(self.taken().keys() & accepted) >= enough, LONG, f"{enough:.0f} messages taken", LOOK)

    def hold(self):
        """From now on the world does not reply to the final dot, nor to RCPT for the local part "wait"."""
        (self.world.folder / "hold").touch()

    def release(self):
        (self.world.folder / "hold").unlink(missing_ok=True)

    # --- the spool

    def make_spool(self):
        """Its directories, as a daemon's start does."""
        self.hosts[0].python("-c", MAKE, self.config(self.hosts[0]))

    def left(self):
        """What is in the spool, as the server sees it: see tests/lab/found.py."""
        text = self.server.python("-m", "tests.lab.found", self.config(self.server)).text
        return [json.loads(line) for line in text.splitlines()]

    def claims(self, host):
        """Those that a host has."""
        return [each for each in self.left() if each.get("owner", "").startswith(f"{host.name}.")]

    def until_empty(self):
        """Until nothing is in the spool any more."""
        eventually(lambda: self.left() == [], LONG, "an empty spool", LOOK)

    def owners(self, of=""):
        """Whose leases stand, as the server sees it; those of one host, if its name is given."""
        names = self.server.run(f"ls {ON_SERVER}/hosts", check=False).text.split()
        return {name for name in names if is_owner(name) and of in ("", name.partition(".")[0])}

    def until_taken_for_dead(self, host):
        eventually(lambda: not self.owners(host.name), LONG, "a lease gone", LOOK)


class Fill:
    """Messages that some hosts are accepting."""

    def __init__(self, shared, name, messages, hosts, local):
        self._files = [host.folder / name for host in hosts]
        config, seen = shared.config, shared.seen
        self._running = [
            (
                host,
                host.process,
                host.start_python("-m", "tests.lab.fill", config(host), messages, f"{seen(host)}/{name}", local),
            )
            for host in hosts
        ]

    def accepted(self):
        """The ids of those that are acknowledged by now."""
        return {each for file in self._files for each in lines(file)}

    def until(self, number):
        eventually(lambda: len(self.accepted()) >= number, LONG, f"{number} messages accepted")

    def wait(self):
        """The ids of all of them, once the hosts that have not lost their power are done."""
        for host, process, number in self._running:
            if host.process is process:
                host.wait(number)
        return self.accepted()


def lines(file):
    """Whole ones only: the last may just be being written."""
    return file.read_text().split("\n")[:-1] if file.exists() else []
