# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A fault here is no verdict on mail: what is refused leaves nothing, what is queued waits and goes on by itself."""

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.dns.conftest import DnsServer
from tests.running import ENVIRONMENT, ROOT, eventually

MESSAGE = "Subject: hello\n\nworld\n"
AT_ONCE = {"dequeue_timeout": 0.2, "dequeue_periods": [0, 3600], "dequeue_priority": [1, 1], "cool_down": 0.0}
HANDED_IN = b"To: joe@x.example\nFrom: me@y.example\nSubject: hello\n\nworld\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and be refused by a limit of its own")


@pytest.fixture
def disk(tmp_path):
    """disk("size=1m"): a small file system in the place of the spool."""
    mounted = []

    def mount(options):
        place = tmp_path / "spool"
        place.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "none", place], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def server():
    server = DnsServer()
    yield server
    server.close()


@contextmanager
def full(place):
    """Not one octet more."""
    ballast = place / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 - all of it is what was asked for
    yield
    ballast.unlink()


@contextmanager
def out_of_inodes(place):
    ballast = place / "ballast"
    ballast.mkdir()
    try:
        for number in range(10**6):
            (ballast / str(number)).touch()
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 - all of it is what was asked for
    yield
    for path in ballast.iterdir():
        path.unlink()
    ballast.rmdir()


@contextmanager
def read_only(place):
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", place], check=True)


FAULTS = [
    pytest.param("size=2m", full, "No space left on device", id="full"),
    pytest.param("size=2m,nr_inodes=100", out_of_inodes, "No space left on device", id="inodes"),
    pytest.param("size=2m", read_only, "Read-only file system", id="read-only"),
]


def hand_in(config):
    return sendmail("-C", str(config))


def sendmail(*words, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "bin/sendmail"), *words, "-t"],
        input=HANDED_IN, env={**ENVIRONMENT, **environment}, cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip


def files(place):
    return sorted(path for path in place.rglob("*") if not path.is_dir() and "hosts" not in path.parts)


def states(spool):
    return sorted((str(at.state), at.tier) for at in spool.store.locations())


@needs_root
@pytest.mark.parametrize(("options", "fault", "text"), FAULTS)
def test_a_disk_that_takes_nothing_refuses_with_75_and_nothing_is_left(
    disk, daemon, make_spool, sink, options, fault, text
):
    place = disk(options)
    running, spool = daemon(sink=sink, **AT_ONCE), make_spool(sink=sink, **AT_ONCE)
    with fault(place):
        before = files(place)
        refused = hand_in(running.config)
        assert (refused.returncode, text in refused.stderr.decode()) == (75, True), refused
        assert files(place) == before
    assert hand_in(running.config).returncode == 0
    eventually(lambda: len(sink.mails) == 1)
    eventually(lambda: states(spool) == [])
    assert running.stop() == 0


@needs_root
def test_what_a_full_disk_keeps_out_is_told_in_the_log_too_for_who_hands_it_in_cannot_mend_it(disk, daemon, sink):
    place = disk("size=2m")
    running = daemon(sink=sink, **AT_ONCE)
    with full(place):
        refused = sendmail(MAILSPOOL_RUN_DIR=running.run_dir)
        assert (refused.returncode, b"No space left on device" in refused.stderr) == (75, True), refused
        (line,) = eventually(lambda: [line for line in running.log.splitlines() if "not accepted" in line])
        assert "No space left on device" in line
        assert " user=" in line


@needs_root
@pytest.mark.parametrize(("options", "fault", "text"), FAULTS[:2])
@pytest.mark.parametrize("answer", ["later", "never"])
def test_what_a_full_disk_cannot_record_is_no_verdict_and_is_tried_again(
    disk, daemon, make_spool, sink, options, fault, text, answer
):
    place = disk(options)
    running, spool = daemon(sink=sink, **AT_ONCE), make_spool(sink=sink, **AT_ONCE)
    running.send(signal.SIGSTOP)
    for n in range(3):
        spool.send_mail(to=f"{answer}@x{n}.example", from_="me@y.example", message=MESSAGE)
    with fault(place):
        running.send(signal.SIGCONT)
        eventually(lambda: "claims are given back: " in running.log)
        eventually(lambda: states(spool) == [("queued", 0)] * 3)
        assert text in running.log
        assert "status=deferred" not in running.log
        assert "status=bounced" not in running.log
    if answer == "later":
        eventually(lambda: states(spool) == [("queued", 1)] * 3, timeout=60)
    else:
        eventually(lambda: sink.recipients == ["me@y.example"] * 3, timeout=60)
        eventually(lambda: states(spool) == [])
    eventually(lambda: 'works again what="local fault"' in running.log)
    assert running.log.count(text) <= 2, running.log  # of the deliveries, and of the roll-call
    assert running.stop() == 0


@needs_root
@pytest.mark.parametrize(("options", "fault", "text"), FAULTS[:2])
def test_a_full_disk_does_not_keep_what_a_host_takes(disk, daemon, make_spool, sink, options, fault, text):
    """It needs no room to be recorded, and makes some."""
    place = disk(options)
    running, spool = daemon(sink=sink, **AT_ONCE), make_spool(sink=sink, **AT_ONCE)
    running.send(signal.SIGSTOP)
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    with fault(place):
        running.send(signal.SIGCONT)
        eventually(lambda: sink.recipients == ["joe@x.example"])
        eventually(lambda: states(spool) == [])
    assert running.stop() == 0


@needs_root
def test_nothing_is_tried_on_a_disk_that_is_read_only_and_all_of_it_afterwards(disk, daemon, make_spool, sink):
    place = disk("size=2m")
    running, spool = daemon(sink=sink, **AT_ONCE), make_spool(sink=sink, **AT_ONCE)
    running.send(signal.SIGSTOP)
    for n in range(3):
        spool.send_mail(to=f"joe@x{n}.example", from_="me@y.example", message=MESSAGE)
    with read_only(place):
        running.send(signal.SIGCONT)
        eventually(lambda: "claims are given back" in running.log)
        assert states(spool) == [("queued", 0)] * 3
        assert sink.commands == []
    eventually(lambda: len(sink.mails) == 3, timeout=60)
    eventually(lambda: states(spool) == [])
    eventually(lambda: 'works again what="local fault"' in running.log)
    assert running.log.count("claims are given back") == 1
    assert running.stop() == 0


def test_who_may_open_no_more_files_says_so_once_and_goes_on_by_itself(daemon, make_spool, sink):
    running, spool = daemon(sink=sink, **AT_ONCE), make_spool(sink=sink, **AT_ONCE)
    before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: "Too many open files" in running.log)
    assert states(spool) == [("queued", 0)]
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)
    eventually(lambda: states(spool) == [])
    eventually(lambda: "works again" in running.log)
    assert running.log.count("Too many open files") <= 2  # it could neither look nor fork
    assert running.stop() == 0


class Silence(dict):
    """A fault of every name."""

    def get(self, _key, _default=None):
        return "silence"


def test_that_no_name_server_answers_is_never_a_verdict_not_even_in_the_last_tier(daemon, make_spool, sink, server):
    server.zone = {"x.example": {"MX": ["10 mx.x.example."]}, "mx.x.example": {"A": ["127.0.0.1"]}}
    options = {"smarthost": "", "smtp_port": sink.port, "nameservers": [server.address], "dequeue_timeout": 0.2,
               "dequeue_periods": [0, 0], "dequeue_priority": [1, 1], "dns_timeout": 1.0, "cool_down": 0.0}  # fmt: skip
    running, spool = daemon(**options), make_spool(**options)
    server.faults = Silence()
    spool.send_mail(to="joe@x.example", from_="me@y.example", message=MESSAGE)
    eventually(lambda: running.log.count("status=deferred") >= 3)  # twice in the last tier
    server.faults = {}
    eventually(lambda: sink.recipients == ["joe@x.example"])
    eventually(lambda: states(spool) == [])
    assert running.stop() == 0
