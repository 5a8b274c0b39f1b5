# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What nullmailer's and dma's own programs have queued is taken over as they would have sent it.

They run in the private root that install.sh makes, one test at a time.
"""

import fcntl
import os
import subprocess
import time
from pathlib import Path

import pytest

from mailspool.inherit.kind import KINDS, kind_of
from mailspool.inherit.source import Source
from mailspool.inherit.take import House, examine, take
from mailspool.message.mailbox import parse_for_address
from mailspool.store.imported import Imported
from mailspool.submission.prepare import keep
from mailspool.submission.submit import new_message_id

QUEUES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailspool-queues"
MESSAGE = "From: me@here.example\nTo: you@there.example\nSubject: hello\n\n.dot\nJos\u00e9\n"
FIELDS = [b"From", b"To", b"Subject", b"Date", b"Message-Id"]

pytestmark = pytest.mark.peer


@pytest.fixture
def root():
    """The private root, its queues empty, ours alone until the test ends."""
    if os.geteuid() != 0 or not (QUEUES / "installed").exists():
        what = "tests/inherit/install.sh has not unpacked nullmailer and dma yet"
        assert not os.environ.get("MAILSPOOL_REQUIRE_PEERS"), what
        pytest.skip(what)
    with (QUEUES / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for queue in ("nullmailer/queue", "dma"):
            for file in (QUEUES / "root/var/spool" / queue).iterdir():
                file.unlink()
        yield QUEUES / "root"


def run(root, *command, message=MESSAGE):
    subprocess.run(["chroot", root, *command], input=message.encode(), check=True, timeout=30, capture_output=True)


def facts(directory):
    """What changes when a file is read, or changed."""
    files = [path for path in Path(directory).rglob("*") if path.is_file()]
    return {path: (found.st_size, found.st_atime_ns, found.st_ctime_ns) for path in files for found in (path.stat(),)}


def take_over(spool, directory, name):
    """Sender, recipients and text of each message, by recipients; its arrival is that of a moment ago."""
    house = House(spool.store, "mail.test", spool.now, new_message_id, keep_age=True)
    before = facts(directory)
    with Source(str(directory)) as source, Imported(spool.store.root) as imported:
        kind = kind_of(source)
        assert kind is KINDS[name]
        letters = [
            examine(kind, source, path, lambda line: parse_for_address(line, "mail.test"), keep)
            for path in kind.names(source)
        ]
        queue_ids = [taken.queue_id for taken in take(house, imported, source, letters)]
    assert facts(directory) == before
    found = []
    for queue_id in queue_ids:
        stored = spool.store.open(spool.store.find(queue_id)[0])
        with stored.file as file:
            text = file.read()
        assert abs(time.time() - stored.envelope.arrival) < 60
        to = tuple(recipient.address for recipient in stored.envelope.recipients)
        found.append((to, stored.envelope.sender, text))
    return sorted(found)


def field_names(text):
    header, _, body = text.partition(b"\r\n\r\n")
    assert body == ".dot\r\nJos\u00e9\r\n".encode()
    return [line.partition(b":")[0] for line in header.split(b"\r\n") if line[:1] not in b"\t "]


def test_what_nullmailer_has_queued(root, make_spool):
    run(root, "/usr/bin/nullmailer-inject", "-f", "me@here.example", "you@there.example", "she@else-where.example")
    run(root, "/usr/sbin/nullmailer-queue", message=f"\nyou@there.example\n\n{MESSAGE}")
    bounce, letter = take_over(make_spool(), root / "var/spool/nullmailer", "nullmailer")
    assert letter[:2] == (("you@there.example", "she@else-where.example"), "me@here.example")
    assert field_names(letter[2]) == [b"Received", b"Received", *FIELDS]
    assert bounce[:2] == (("you@there.example",), "")
    assert field_names(bounce[2]) == [b"Received", b"Received", *FIELDS[:3]]


def test_what_dma_has_queued(root, make_spool):
    run(root, "/usr/sbin/dma", "-f", "me@here.example", "you@there.example", "she@else-where.example")
    run(root, "/usr/sbin/dma", "-f", "<>", "root")
    made = take_over(make_spool(), root / "var/spool/dma", "dma")
    assert [(to, sender) for to, sender, _ in made] == [
        (("root@mail.test",), ""),
        (("she@else-where.example",), "me@here.example"),
        (("you@there.example",), "me@here.example"),
    ]
    assert all(field_names(text) == [b"Received", b"Received", *FIELDS] for _, _, text in made)
