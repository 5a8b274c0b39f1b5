# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Several hosts, one spool on an NFS server, the real daemon on each of them, and a world that takes their mail."""

import json
from collections import Counter
from contextlib import contextmanager

from tests.lab import nfs
from tests.running import eventually, write_config

ON_CLIENT, ON_SERVER = f"{nfs.SPOOL}/mail", f"{nfs.EXPORT}/mail"
LONG = 120.0  # seconds until a test that waits for many deliveries in vain fails, on a machine that is busy


class Shared:
    """names: of the hosts that deliver. server: has the spool on its disk. world: where all mail goes."""

    def __init__(self, lab, version, names=("a", "b")):
        self.version = version
        self.server = lab.host("server", disks=[lab.disk("server")])
        self.world = lab.host("world", memory="128M")
        self.hosts = [lab.host(name) for name in names]
        for host in lab.hosts.values():
            host.power_on()
        for host in lab.hosts.values():
            host.until_up()
        nfs.serve(self.server)
        self.world.start_python("-m", "tests.lab.world", f"/run/share/{self.world.name}")
        for host in self.hosts:
            nfs.mount(host, self.server, version)
        for host, directory in ((self.server, ON_SERVER), *((host, ON_CLIENT) for host in self.hosts)):
            write_config(host.folder / "mailspool.toml", self.properties(host, directory))

    def properties(self, host, directory):
        return {
            "dequeue_dir": directory,
            "run_dir": "/run/mailspool",
            "user": "root",
            "hostname": f"{host.name}.test",
            "mail_name": "mail.test",
            "aliases_file": "",
            "smarthost": f"{self.world.address}:25",
            "tls": "none",
            "nameservers": ["127.0.0.1"],
            "dequeue_periods": [0] * 7,
            "dequeue_priority": [1] * 7,
            "dequeue_timeout": 1.0,
            "max_dequeue_processes": 4,
            "cool_down": 0.0,
        }

    @staticmethod
    def config(host):
        return f"/run/share/{host.name}/mailspool.toml"

    @contextmanager
    def delivering(self, hosts):
        """Their daemons run. In the end each that is still up has ended well."""
        daemons = {host.name: self.deliver(host) for host in hosts}
        yield daemons
        for host in hosts:
            host.run("kill $(cat /run/mailspool/pid)")
        for host in hosts:
            host.wait(daemons[host.name])

    def deliver(self, host):
        """Start its daemon."""
        log = f"/run/share/{host.name}/daemon.log"
        return host.start_python("bin/mailspoold", "-f", "-c", self.config(host), to=f">>{log} 2>&1")

    def fill(self, messages, hosts):
        """Have so many messages accepted, by all of these hosts at once. Their ids."""
        share = messages // len(hosts)
        parts = [share] * (len(hosts) - 1) + [messages - share * (len(hosts) - 1)]
        running = [
            (host, host.start_python("-m", "tests.lab.fill", self.config(host), part))
            for host, part in zip(hosts, parts, strict=True)
        ]
        accepted = [queue_id for host, number in running for queue_id in host.wait(number).text.split()]
        assert len(set(accepted)) == messages
        return accepted

    def taken(self):
        """How often the world took which message: {ID: copies}."""
        file = self.world.folder / "taken"
        return Counter(file.read_text().split("\n")[:-1] if file.exists() else ())

    def until_taken(self, accepted, part=1.0):
        """Until the world has taken that part of them."""
        enough = len(accepted) * part
        eventually(
            lambda: len(self.taken().keys() & set(accepted)) >= enough,
            timeout=LONG,
            what=f"{enough:.0f} messages taken",
        )

    def left(self):
        """What is in the spool, as the server sees it; see tests/lab/found.py."""
        text = self.server.python("-m", "tests.lab.found", self.config(self.server)).text
        return [json.loads(line) for line in text.splitlines()]

    def until_empty(self):
        """Until nothing is in the spool any more."""
        eventually(lambda: self.left() == [], timeout=LONG, what="an empty spool")
