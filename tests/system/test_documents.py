# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whoever follows the documents to the letter gets what they show: page by page, each on a system of its own."""

import contextlib
import shutil
import socket

import pytest

from tests.docs.page import PAGES, blocks
from tests.peers.server import missing
from tests.running import eventually
from tests.system.callers.conftest import INSTALL, PACKAGES, START_NOTHING
from tests.system.conftest import Host
from tests.system.reader import Reader, page

pytestmark = pytest.mark.slow


@pytest.fixture
def host(make_machine, with_setup, sink):
    """It has been set up and runs; whatever its configuration says, all mail goes to the sink."""
    host = Host(make_machine(with_setup))
    host.at("/etc/mailspool/mailspool.toml").write_text(
        'hostname = "mail.example.net"\nmail_name = "example.net"\nnameservers = ["127.0.0.1"]\n'
    )
    host.default(f'OPTIONS="-o smarthost={sink.address} -o tls=none"')
    host.start()
    return host


def test_operating(host):
    Reader(host.machine).follow(page("operating.md"))


def test_cookbook(host, sink):
    Reader(host.machine).follow(page("cookbook.md"))
    eventually(lambda: sink.recipients == ["you@example.org"] * 3, what="mail of each kind")


def test_smarthost(host):
    Reader(host.machine).follow(page("smarthost.md"))


def test_nfs(host):
    """On a disk of its own: it is the same to the commands."""
    Reader(host.machine).follow(page("nfs.md"))


def test_porting(host, sink):
    old = host.at("/var/spool/mail/0")
    old.mkdir(parents=True)
    (old / "1000000000-80EA68E2D942BA85-sue@example.org-me@example.net").write_text("Subject: hello\n\nIt works.\n")
    (old / "1000000000-80EA68E2D942BA85-a-b@example.org-me@example.net").write_text("Subject: hello\n\nIt works.\n")
    reader = Reader(
        host.machine,
        means={"relay.right.here.example": "127.0.0.1"},
        MAILSPOOL_SMTP_PORT=sink.address.rpartition(":")[2],
    )
    reader.follow(page("porting.md"))
    of_the_sketch, imported = ["anybody@in.the.world.example"], ["a-b@example.org", "sue@example.org"]
    eventually(lambda: sorted(sink.recipients) == sorted(of_the_sketch + imported), what="all messages")


@pytest.fixture
def with_postfix(machine, sink):
    """It has Debian's Postfix, which runs and has one message to send, and mailspool's programs."""
    if not (PACKAGES / "fetched").exists():
        missing("tests/system/callers/install.sh has not fetched the packages yet")
    (package,) = PACKAGES.glob("postfix_*.deb")
    shutil.copy(package, machine.at("/tmp"))
    machine.at("/usr/sbin/policy-rc.d").write_text(START_NOTHING)
    machine.at("/usr/sbin/policy-rc.d").chmod(0o755)
    machine.run("sh", "-ec", INSTALL, DEBIAN_FRONTEND="noninteractive")
    host, port = sink.address.split(":")
    machine.run("postconf", f"relayhost=[{host}]:{port}", "defer_transports=smtp", "compatibility_level=3.6")
    machine.run("postconf", "-MX", "smtp/inet")  # its port would be this machine's
    machine.run("service", "postfix", "start")
    machine.run("sendmail", "-f", "me@example.net", "you@example.org", input="Subject: old\n\nIt waits.\n")
    machine.run("postconf", "defer_transports=")
    machine.run("postfix", "reload")
    return machine


def test_cookbook_on_a_host_with_postfix(with_postfix, sink):
    Reader(with_postfix).follow(page("cookbook.md"), on="a host with Postfix")
    assert sink.recipients == ["you@example.org"]
    assert with_postfix.run("readlink", "/usr/sbin/sendmail") == "/usr/local/lib/mailspool/sendmail\n"
    with_postfix.run("mailspool", "setup", "--system", "--undo", "--yes")
    assert "Mail queue is empty" in with_postfix.run("mailq")  # Postfix's


def test_contributing(machine):
    reader = Reader(machine)
    reader.check_out()
    reader.follow(page("CONTRIBUTING.md"))


def test_every_page_with_commands_is_followed():
    followed = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    elsewhere = {"install"}  # tests/system/test_install_document.py
    assert {
        each.stem.lower() for each in PAGES if any(block.commands for block in blocks(each))
    } <= followed | elsewhere


@pytest.mark.timeout(600)  # everything is set up three times
def test_readme(make_machine, sink):
    machine = make_machine(())
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()

    def divert_mail():
        Host(machine).default(f'OPTIONS="-o smarthost={sink.address} -o tls=none"')

    def wait_for_sink():
        def listens():
            with contextlib.suppress(OSError):
                return socket.create_connection(free, 1).close() or True

        eventually(listens, what="a sink")

    means = {"127.0.0.1:2525": f"127.0.0.1:{free[1]}"}
    reader = Reader(
        machine,
        means=means,
        after={"setup --system": divert_mail, "sink --listen 127.0.0.1:2525": wait_for_sink},
        PYTEST_ADDOPTS="-k 'test_page.py or test_a_move_that'",  # some of each run: all would be this one again
    )
    reader.check_out()
    reader.follow(page("README.md"))
    assert sink.recipients[0] == "you@example.org"
