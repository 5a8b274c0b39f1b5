# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real programs of a Debian system that report to root: cron, at, mdadm, logwatch and fail2ban."""

import os
import re
import socket
import threading

import pytest

from tests.running import eventually
from tests.system.callers.conftest import BODY, LEFT, as_handed_in

FILE = "/srv/body"  # it is what each job prints

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def body(box):
    box.write(FILE, BODY)


def end(box, pid_file):
    box.run("sh", "-c", f"kill $(cat {pid_file})")


# --- cron


@pytest.fixture(scope="module")
def cron(box):
    """What cron logs, line by line as it comes, while it runs each job of two tables as when a system starts."""
    box.write("/etc/crontab", f"MAILTO=root\n@reboot root cat {FILE}\nMAILTO=gone\n@reboot root echo for nobody\n")
    box.write("/var/spool/cron/crontabs/alice", f"MAILTO=a@cron.test,b@cron.test\n@reboot cat {FILE}\n", "alice", 0o600)
    lines = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path := str(box.at("/dev/log")))
        reader = threading.Thread(target=lambda: lines.extend(iter(lambda: log.recv(8192), b"")))
        reader.start()
        box.run("cron", "-L", "15")
        try:
            yield lines
            end(box, "/run/crond.pid")
        finally:
            log.sendto(b"", path)
            reader.join()
            os.unlink(path)


def cron_s_mail(user, home, to):
    return f"""\
From: root (Cron Daemon)
To: {to}
Subject: Cron <{user}@box> cat {FILE}
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
X-Cron-Env: <MAILTO={to}>
X-Cron-Env: <SHELL=/bin/sh>
X-Cron-Env: <HOME={home}>
X-Cron-Env: <PATH=/usr/bin:/bin>
X-Cron-Env: <LOGNAME={user}>

{BODY}"""


def test_what_root_s_job_prints_reaches_whom_the_alias_names(box, cron):
    mail = box.mail_for("admin@box.test")
    assert (mail.sender, mail.recipients) == ("root@box.test", ("admin@box.test",))
    assert as_handed_in(mail) == cron_s_mail("root", "/root", "root")


def test_what_a_user_s_job_prints_comes_from_the_user_and_reaches_all_of_mailto(box, cron):
    first, second = (box.mail_for(name) for name in ("a@cron.test", "b@cron.test"))
    assert first.sender == second.sender == "alice@box.test"
    text = cron_s_mail("alice", "/home/alice", "a@cron.test,b@cron.test")
    assert as_handed_in(first) == as_handed_in(second) == text


def test_cron_logs_that_its_mail_was_refused(box, cron):
    refused = f"got status 0x{os.EX_NOUSER:04x} from MTA".encode()
    eventually(lambda: any(refused in line for line in cron), what="a line about it")


# --- at


@pytest.fixture(scope="module")
def atd(box):
    box.run("atd")
    eventually(box.at("/run/atd.pid").exists, what="atd")
    yield
    end(box, "/run/atd.pid")


@pytest.mark.parametrize(("user", "recipient"), [("root", "admin@box.test"), ("alice", "alice@home.test")])
def test_what_a_job_of_at_prints_is_mailed_to_its_user(user, recipient, box, atd):
    said = box.run("at", "now", input=f"cat {FILE}\n", user=user)
    number = int(re.search(r"job (\d+) at", said)[1])
    mail = box.mail_for(recipient)
    assert (mail.sender, mail.recipients) == (f"{user}@box.test", (recipient,))
    assert as_handed_in(mail, ("From", "Date", "Message-ID")) == (
        f"Subject: Output from your job {number:8}\nTo: {user}\n\n{BODY}"
    )


# --- what reports what it saw


def mdadm(box, to):
    """Without an array: of its test message the device needs no more than a name."""
    return box.run("mdadm", "--monitor", "--test", "--oneshot", f"--mail={to}", "/dev/md7")


def logwatch(box, *arguments):
    box.run("mkdir", "-p", "/srv/log")
    box.write("/srv/log/auth.log", "Nov 23 00:00:01 box sshd[1]: Invalid user müller from 192.0.2.1 port 22\n")
    what = ("--logdir", "/srv/log", "--service", "sshd", "--range", "all", "--detail", "high")
    return box.run("logwatch", *what, *arguments)


def test_mdadm_s_test_message_arrives(box):
    mdadm(box, "root")
    mail = box.mail_for("admin@box.test")
    assert (mail.sender, mail.recipients) == ("root@box.test", ("admin@box.test",))
    assert as_handed_in(mail).startswith("""\
From: mdadm monitoring <root@box.test>
To: root
Subject: TestMessage event on /dev/md7:box.test

This is an automatically generated mail message from mdadm
running on box.test

A TestMessage event had been detected on md device /dev/md7.

Faithfully yours, etc.
""")


def test_logwatch_mails_what_it_would_have_shown(box):
    shown = logwatch(box, "--output", "stdout")
    assert "müller" in shown
    logwatch(box, "--output", "mail", "--mailto", "root")
    mail = box.mail_for("admin@box.test")
    assert (mail.sender, mail.recipients) == ("root@box.test", ("admin@box.test",))
    head, _, body = as_handed_in(mail).partition("\n\n")
    assert "Subject: Logwatch for box.test (Linux)" in head.split("\n")
    assert lines_that_last(body) == lines_that_last(shown.replace("stdout / text", "mail / text"))


def lines_that_last(text):
    return [line.strip() for line in text.split("\n") if line.strip() and "Processing Initiated" not in line]


def test_who_looks_at_no_exit_code_still_passes_our_words_on(box):
    assert LEFT in mdadm(box, "gone")
    assert LEFT in logwatch(box, "--output", "mail", "--mailto", "gone")


# --- fail2ban


@pytest.fixture
def jails(box):
    """Two jails: of the bans in `door` root is told, of those in `gate` somebody who is gone."""
    jail = (
        "[{name}]\nenabled = true\nfilter =\nfailregex = ^no entry for <HOST>$\nbackend = polling\n"
        "logpath = /srv/door.log\naction = sendmail[name={name}, dest={dest}, sender=jail@box.test]\n"
    )
    box.run("sh", "-c", "rm -f /etc/fail2ban/jail.d/*")
    box.write("/etc/fail2ban/jail.local", jail.format(name="door", dest="root") + jail.format(name="gate", dest="gone"))
    box.write("/srv/door.log", "")
    box.run("fail2ban-client", "start")
    yield
    box.run("fail2ban-client", "stop")
    box.mail_for("admin@box.test")  # that it stopped


def test_fail2ban_tells_of_each_ban_and_logs_what_is_refused(box, jails):
    started = box.mail_for("admin@box.test")
    assert as_handed_in(started, ["Message-ID"]).startswith("Subject: [Fail2Ban] door: started on ")

    box.run("fail2ban-client", "set", "door", "banip", "192.0.2.1")
    banned = box.mail_for("admin@box.test")
    head, _, body = as_handed_in(banned, ["Message-ID"]).partition("\n\n")
    assert (banned.sender, banned.recipients) == ("jail@box.test", ("admin@box.test",))
    assert head.startswith("Subject: [Fail2Ban] door: banned 192.0.2.1 from ")
    assert head.endswith("From: Fail2Ban <jail@box.test>\nTo: root")
    assert body == (
        "Hi,\n\nThe IP 192.0.2.1 has just been banned by Fail2Ban after\n0 attempts against door.\n\n"
        "Regards,\n\nFail2Ban\n"
    )

    box.run("fail2ban-client", "set", "gate", "banip", "192.0.2.1")
    log = box.at("/var/log/fail2ban.log")
    eventually(lambda: re.search(rf"{LEFT}'\n.* returned {os.EX_NOUSER}\n", log.read_text()), what="a line about it")
