# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Systems that mailspool is installed on. What takes long is done once: each test writes on top of it."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.running import eventually
from tests.system.machine import Machine, install_into

PROGRAM = "/opt/mailspool/bin/mailspool"
CONFIG = "/etc/mailspool/mailspool.toml"
INIT = "/etc/init.d/mailspool"


def pytest_collection_modifyitems(items):
    """Only who may mount can make a machine. In `.ci/run`, which is root, nothing is skipped."""
    items = [item for item in items if "tests/system/" in item.nodeid]
    for item in items:
        item.add_marker(pytest.mark.timeout(300))  # a whole system, on a machine that is busy; see `machine.PATIENCE`
    if not os.environ.get("MAILSPOOL_REQUIRE_PEERS") and not may_mount():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="only root, and not in every container, can make a machine"))


def may_mount():
    words = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def layers():
    """Where layers are kept: in memory, since they may not lie below "/" itself, which is a layer too."""
    with tempfile.TemporaryDirectory(prefix="mailspool-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def with_programs(layers):
    """The layers of a system that has mailspool in /opt/mailspool."""
    machine = Machine(layers / "programs")
    try:
        install_into(machine)
    finally:
        machine.end(keep=True)
    return (machine.written,)


@pytest.fixture(scope="session")
def with_setup(with_programs, layers):
    """The layers of a system on which `mailspool setup --system` has been done."""
    machine = Machine(layers / "setup", with_programs)
    try:
        machine.run(PROGRAM, "setup", "--system", "--yes")
    finally:
        machine.end(keep=True)
    return (machine.written, *with_programs)


@pytest.fixture
def make_machine(tmp_path):
    made = []

    def make(layers, **more):
        made.append(Machine(tmp_path / f"machine{len(made)}", layers, **more))
        return made[-1]

    yield make
    for machine in made:
        machine.end()


@pytest.fixture
def machine(make_machine, with_programs):
    """It has the programs in /opt/mailspool, and nothing else of mailspool."""
    return make_machine(with_programs)


@pytest.fixture
def host(make_machine, with_setup):
    """It has been set up."""
    return Host(make_machine(with_setup))


class Host:
    """A machine that was set up, and its daemon under the init script."""

    def __init__(self, machine):
        self.machine = machine
        self.call, self.run, self.at = machine.call, machine.run, machine.at
        self.configure()

    def configure(self, *lines):
        text = ('hostname = "mail.test"', 'mail_name = "mail.test"', 'nameservers = ["127.0.0.1"]', 'tls = "none"')
        self.at(CONFIG).write_text("\n".join((*text, *lines, "")))

    def deliver_to(self, sink, *lines):
        self.configure(f'smarthost = "{sink.address}"', *lines)

    def default(self, *lines):
        self.at("/etc/default/mailspool").write_text("\n".join((*lines, "")))

    def init(self, *words, **more):
        """The exit code and the words of the init script."""
        ran = self.call(INIT, *words, **more)
        return ran.returncode, ran.stdout

    def start(self):
        code, said = self.init("start")
        assert code == 0, said
        return self.pid

    @property
    def pid(self):
        """The supervisor's, 0 without one."""
        file = self.at("/run/mailspool/pid")
        return int(file.read_text()) if file.exists() else 0

    def is_running(self, pid):
        return self.call("kill", "-0", str(pid)).returncode == 0

    def sendmail(self, *to, user=None, text="hello"):
        return self.call("/usr/sbin/sendmail", "-i", *to, input=f"Subject: {text}\n\n{text}\n", user=user)

    def queued(self):
        return self.run("mailq")

    def drained(self):
        return eventually(lambda: "empty" in self.queued() or None, what="an empty queue")
