# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A system on which mailspool is the mail system, the programs that hand in mail there, and all mail that leaves it.

It is set up as an administrator would, and one for all tests of this folder. The callers are installed in it, so that
they find /usr/sbin/sendmail and their own files where they look for them; the languages are those of this system.
"""

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.peers.server import missing
from tests.running import eventually
from tests.sink import Sink
from tests.system.conftest import Host
from tests.system.machine import Machine

HERE = Path(__file__).parent
PACKAGES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailspool-callers"  # as in install.sh

# What they depend on without using it here (a mail server, udev) is missing; their manuals are of no use.
INSTALL = """
exec dpkg --install --force-depends,confnew,unsafe-io \\
    --path-exclude='/usr/share/man/*' --path-exclude='/usr/share/doc/*' /tmp/*.deb
"""
START_NOTHING = "#!/bin/sh\nexit 101\n"

LEFT = "has left the company"
ALIASES = f"root: admin@box.test\nalice: alice@home.test\ngone: :fail: {LEFT}\n"
BODY = "Grüße\n.\nFrom here\n\n..\n.dot\n\ttab \n" + "long " * 400 + "\nthe end\n"
"""What a message must survive: 8 bits, dots, what begins like an mbox, a line longer than SMTP's."""


@pytest.fixture(scope="session")
def packages():
    if not (PACKAGES / "fetched").exists():
        missing("tests/system/callers/install.sh has not fetched the packages yet")
    return [package for package in sorted(PACKAGES.glob("*.deb")) if not package.name.startswith("postfix_")]


@pytest.fixture(scope="session")
def with_callers(packages, with_setup, layers):
    """The layers of a system that was set up and has the callers, too."""
    machine = Machine(layers / "callers", with_setup)
    try:
        policy = machine.at("/usr/sbin/policy-rc.d")
        policy.write_text(START_NOTHING)
        policy.chmod(0o755)
        for package in packages:
            shutil.copy(package, machine.at("/tmp"))
        machine.run("sh", "-c", INSTALL, DEBIAN_FRONTEND="noninteractive")
        machine.run(
            "sh", "-c", "rm -f /etc/cron.d/* /var/spool/cron/crontabs/*"
        )  # what this system would do at a start
        machine.run("useradd", "--create-home", "alice")
    finally:
        machine.end(keep=True)
    return (machine.written, *with_setup)


class Box(Host):
    """The host box.test with its daemon, from where all mail goes to `sink`."""

    def __init__(self, machine, sink):
        super().__init__(machine)
        self.sink, self._seen = sink, Counter()
        self.deliver_to(sink)
        self.run("hostname", "box.test")
        self.write("/etc/aliases", ALIASES)
        self.start()

    def configure(self, *lines):
        text = ('hostname = "box.test"', 'mail_name = "box.test"', 'nameservers = ["127.0.0.1"]', 'tls = "none"')
        self.at("/etc/mailspool/mailspool.toml").write_text("\n".join((*text, *lines, "")))

    def write(self, path, text, owner="root", mode=0o644):
        self.at(path).write_text(text)
        self.run("chown", owner, path)
        self.at(path).chmod(mode)

    def program(self, *words, script, **environment):
        """What became of a script of programs/, which its interpreter reads from standard input."""
        return self.call(*words, input=(HERE / "programs" / script).read_text(), **environment)

    def mail_for(self, recipient):
        """The next message that came for somebody, after those that this was asked for before."""
        number = self._seen[recipient]
        self._seen[recipient] += 1
        all_of_it = lambda: [mail for mail in self.sink.mails if recipient in mail.recipients]  # noqa: E731
        return eventually(lambda: all_of_it()[number:], what=f"mail for {recipient}")[0]

    def all_is_seen(self):
        """Whether nothing came that no test had asked for."""
        return sorted(self.sink.recipients) == sorted(self._seen.elements())


@pytest.fixture(scope="session")
def box(with_callers, tmp_path_factory):
    sink, machine = Sink(), Machine(tmp_path_factory.mktemp("box"), with_callers)
    try:
        one = Box(machine, sink)
        yield one
        assert "empty" in one.queued()
        assert one.all_is_seen(), sink.mails
    finally:
        machine.end()
        sink.close()


def as_handed_in(mail, added=("Date", "Message-ID")):
    """The text, with the lines' ends that Unix has. added: the fields that its caller has left to us."""
    head, _, body = mail.content.replace(b"\r\n", b"\n").decode().partition("\n\n")
    received, *fields = re.sub(r"\n(?=[ \t])", "", head).split("\n")
    assert re.match(r"Received: .*\bby box\.test \(mailspool.*\bid ", received)
    ours = len(fields) - len(added)
    assert [field.partition(":")[0] for field in fields[ours:]] == list(added)
    return "\n".join((*fields[:ours], "", body))
