# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Servers that somebody else wrote, each started with the files of etc/ and stopped by its pid.

Postfix and Exim run inside of the private root that install.sh makes; what they write is in a directory of this run
below its /srv, and goes when they go. They bind high ports of loopback addresses only.
"""

import contextlib
import email
import email.policy
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.running import eventually, is_running

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailspool-peers" / "root"
POSTFIX, EXIM, DEAD = "127.0.0.11", "127.0.0.12", "127.0.0.19"  # as the zone has them
POSTFIX_WITH_LOGIN = {"PLAIN": "127.0.0.13", "LOGIN": "127.0.0.14", "CRAM-MD5": "127.0.0.15"}  # as master.cf has them
USER, PASSWORD = "joe", "correct horse"

# Standard input ends with the tests, whatever ends those. Then the server ends, which would not notice by itself.
_UNTIL_WE_END = '"$@" & read -r _; kill $!; wait $!'

_RECIPIENT = re.compile(rb"^(?:Delivered-To|Envelope-to): (.*)\n", re.MULTILINE)
_OUR_RECEIVED = re.compile(rb"^Received: by \S+ \(mailspool", re.MULTILINE)
_SENDER = re.compile(rb"^Return-path: <(.*)>\n", re.MULTILINE | re.IGNORECASE)


def missing(what):
    """End the test: with a skip on a user's machine, with a failure where all peers were said to be there."""
    if os.environ.get("MAILSPOOL_REQUIRE_PEERS"):
        pytest.fail(f"{what}, but MAILSPOOL_REQUIRE_PEERS is set", pytrace=False)
    pytest.skip(what)


def program(name, package, folder="/usr/sbin"):
    """The path of a program. folder: where to look, too."""
    return shutil.which(name, path=f"{os.environ['PATH']}:{folder}") or missing(f"there is no {name} ({package})")


def free_port(*addresses, kinds=(socket.SOCK_STREAM,)):
    """A port that is free on all of the addresses."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            port = 0
            for address in addresses:
                for kind in kinds:
                    one = stack.enter_context(socket.socket(type=kind))
                    one.bind((address, port))
                    port = one.getsockname()[1]
            return port


class Stored(NamedTuple):
    """One file of a maildir: the message as the peer has stored it, and what it was told in the envelope."""

    sender: str
    recipient: str
    text: bytes

    @property
    def added_by_peer(self):
        """All above our own Received."""
        return self.text[: _OUR_RECEIVED.search(self.text).start()]

    @property
    def handed_on(self):
        """What we sent: our own Received and all below it, in CRLF form."""
        return self.text.removeprefix(self.added_by_peer).replace(b"\n", b"\r\n")

    @property
    def handed_in(self):
        """The same without our Received: what the caller had handed in, if it was complete."""
        return re.sub(rb"\AReceived:.*\r\n(?:[ \t].*\r\n)*", b"", self.handed_on)

    @property
    def message(self):
        return email.message_from_bytes(self.text, policy=email.policy.default)


class Server:
    """A process in the foreground that listens at address:port. folder: what it writes, and its etc/."""

    def __init__(self, folder, address, port, command):
        self.folder, self.address, self.port = folder, address, port
        self.output = (folder / "output").open("wb")
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_WE_END, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
            umask=0o022,
        )
        try:
            eventually(self._listens, what=f"{command} listens")
        except AssertionError as error:
            error.add_note(self.log)
            self.stop()
            raise

    def _listens(self):
        with contextlib.suppress(OSError):
            socket.create_connection((self.address, self.port), 1).close()
            return True
        return False

    @property
    def log(self):
        files = [self.folder / "output", *self.folder.glob("log*")]
        return "".join(file.read_text(errors="replace") for file in files)

    def stop(self):
        members = _session_members(self.process.pid)
        self.process.stdin.close()
        self.process.wait(20)
        self.output.close()
        eventually(lambda: not any(map(is_running, members)), what="the end of all children")


class Peer(Server):
    """A mail server; all mail for box-ANYTHING and root, in any of its domains, goes into one maildir."""

    @property
    def stored(self):
        files = sorted((self.folder / "mail" / "new").glob("*"))
        return [_stored(file.read_bytes()) for file in files]

    def mail_for(self, recipient, count=1):
        """What was stored for an address, as soon as there is so much of it. One list of `Stored`."""

        def arrived():
            found = [stored for stored in self.stored if stored.recipient == recipient]
            return len(found) >= count and found

        try:
            return eventually(arrived, what=f"mail for {recipient}")
        except AssertionError as error:
            error.add_note(self.log[-5000:])
            raise


def _stored(text):
    return Stored(_SENDER.search(text)[1].decode(), _RECIPIENT.search(text)[1].decode(), text)


def _session_members(pid):
    """The processes of a session that we began."""
    members = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((each / "stat").read_text().rpartition(")")[2].split()[3]) == pid:
                members.append(int(each.name))
    return members


def fill(folder, inside, files, **values):
    """Copy files of etc/ into the folder's etc/. inside: the folder's path as the server will see it."""
    etc = folder / "etc"
    etc.mkdir(exist_ok=True)
    for name in files:
        text = (HERE / "etc" / name).read_text()
        for key, value in {"DIR": inside, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        (etc / name).parent.mkdir(exist_ok=True)
        (etc / name).write_text(text)
        (etc / name).chmod(0o644)


def make_directory(path, owner=0):
    """owner: of the private root's users, the same number for user and group."""
    path.mkdir()
    path.chmod(0o755)
    os.chown(path, owner, owner)


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
_POSTFIX_S_OWN = ("data", *(f"queue/{name}" for name in (*_QUEUES, "private", "public")))


def start_postfix(folder, inside, port):
    postfix, mail = 61001, 61003
    fill(folder, inside, ["main.cf", "master.cf", "boxes", "sasl/smtpd.conf"], PORT=port)
    make_directory(folder / "queue")
    make_directory(folder / "queue" / "pid")
    for name in _POSTFIX_S_OWN:
        make_directory(folder / name, postfix)
    make_directory(folder / "mail", mail)
    enter = ["chroot", str(ROOT), "/usr/sbin/saslpasswd2", "-p", "-c", "-f", f"{inside}/users"]
    subprocess.run([*enter, "-u", "peers.test", USER], input=PASSWORD.encode(), check=True)
    os.chown(folder / "users", postfix, postfix)
    return Peer(
        folder, POSTFIX, port, ["chroot", str(ROOT), "/usr/lib/postfix/sbin/master", "-d", "-c", f"{inside}/etc"]
    )


def start_exim(folder, inside, port):
    exim = 61002
    fill(folder, inside, ["exim.conf"], PORT=port)
    os.chown(folder, exim, exim)
    for name in ("queue", "mail"):
        make_directory(folder / name, exim)
    os.chown(folder / "etc" / "key+certificate.pem", exim, exim)
    return Peer(folder, EXIM, port, ["chroot", str(ROOT), "/usr/sbin/exim4", "-C", f"{inside}/etc/exim.conf", "-bdf"])


def start_nsd(folder):
    port = free_port("127.0.0.1", kinds=(socket.SOCK_DGRAM, socket.SOCK_STREAM))
    fill(folder, folder, ["nsd.conf", "peers.test.zone"], PORT=port)
    return Server(folder, "127.0.0.1", port, [program("nsd", "nsd"), "-d", "-c", str(folder / "etc" / "nsd.conf")])
