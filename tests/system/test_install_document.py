# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""docs/install.md does what it says: each of its commands succeeds, in the order in which they stand there."""

import os
import re

import pytest

from tests.running import ROOT, eventually
from tests.system.conftest import PROGRAM, Host
from tests.system.machine import copy_checkout

OF_SYSTEMD, OF_INIT = ("systemctl ",), ("service ", "update-rc.d ")
PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def commands():
    blocks = re.findall(r"^```console\n(.*?)^```$", (ROOT / "docs/install.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("# ") for block in blocks for line in block.splitlines()]


def follow(machine, sink, skipped):
    """Do all of it, and let mail go to the sink as soon as there is a configuration."""
    copy_checkout(machine)
    machine.run("sh", "-ec", "mkdir -p /srv/image /tmp/written /tmp/work")
    over = "lowerdir=/,upperdir=/tmp/written,workdir=/tmp/work"
    for command in commands():
        if command.startswith(skipped):
            continue
        if "/srv/image" in command:  # the last one: a tree with the programs, which were removed here
            machine.run("sh", "-ec", "mv /tmp/opt /opt/mailspool")
            machine.run("mount", "-t", "overlay", "overlay", "-o", over, "/srv/image")
        if command.startswith("rm -r "):
            machine.run("cp", "-a", "/opt/mailspool", "/tmp/opt")
        machine.run("sh", "-ec", f"cd /tmp/mailspool; {command}", input="y\n", HOME="/root", **PIP)
        if command.endswith("setup --system"):
            Host(machine).deliver_to(sink)
        if "| sendmail" in command:
            eventually(lambda: sink.mails, what="a mail")


@pytest.mark.slow
def test_it_all_works_where_systemd_runs(make_machine, sink):
    machine = make_machine((), systemd=True)
    follow(machine, sink, OF_INIT)
    assert machine.run("grep", "^mailspool:", "/srv/image/etc/passwd")


def test_it_all_works_without_systemd(machine, sink):
    follow(machine, sink, (*OF_SYSTEMD, "apt-get ", "python3 -m venv", "/opt/mailspool/bin/pip "))


def test_it_works_from_the_systems_own_python(machine, sink):
    copy_checkout(machine)
    pip = ("/opt/mailspool/bin/pip", "--python", "/usr/bin/python3", "install", "--quiet", "--break-system-packages")
    machine.run(*pip, "/tmp/mailspool", HOME="/root", **PIP)
    machine.run("mv", "/opt/mailspool", "/opt/away")
    before = machine.differences()
    assert f"link {PROGRAM}" not in machine.run("mailspool", "setup", "--system", "--yes")
    assert machine.run("readlink", "/usr/sbin/sendmail") == "/usr/local/lib/mailspool/sendmail\n"
    host = Host(machine)
    host.deliver_to(sink)
    host.start()
    assert host.sendmail("sue@example.net").returncode == 0
    eventually(lambda: sink.mails, what="a mail")
    host.drained()
    host.init("stop")
    machine.run("cp", "/usr/local/share/mailspool/etc/mailspool.toml", "/etc/mailspool/mailspool.toml")
    assert machine.run("mailspool", "setup", "--system", "--undo", "--yes").endswith("\ntaken back\n")
    left = {*machine.differences()} - {*before}
    assert left <= {"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-"}
