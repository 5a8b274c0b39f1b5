# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The systemd unit under a real systemd, which is the first process of a machine of its own; and what it says of it."""

import re

import pytest

from tests.running import ROOT, eventually
from tests.system.conftest import PROGRAM, Host

UNIT = ROOT / "etc/systemd/mailspool.service"


@pytest.fixture
def booted(make_machine, with_setup):
    """A host that runs systemd."""
    return Host(make_machine(with_setup, systemd=True))


def show(host, *names):
    """Properties of the unit."""
    words = [word for name in names for word in ("--property", name)]
    lines = host.run("systemctl", "show", "mailspool", *words).splitlines()
    return dict(line.split("=", 1) for line in lines)


def journal(host):
    host.run("journalctl", "--sync")
    return host.run("journalctl", "--unit=mailspool", "--output=cat", "--no-pager")


# --- what systemd-analyze says


def test_systemd_has_nothing_to_say_against_the_unit(host):
    said = host.run("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/mailspool.service")
    assert [line for line in said.splitlines() if "mailspool" in line] == []


def test_its_exposure_is_at_most_2(host):
    words = ["--offline=true", "--no-pager", "--threshold=20"]
    ran = host.call("systemd-analyze", "security", *words, "/etc/systemd/system/mailspool.service")
    assert ran.returncode == 0
    (exposure,) = re.findall(r"Overall exposure level for mailspool\.service: ([\d.]+)", ran.stdout)
    assert 0 < float(exposure) <= 2.0


# --- what systemd does with it


def test_mail_is_delivered_under_all_restrictions_of_the_unit(booted, sink):
    booted.deliver_to(sink)
    booted.run("systemctl", "start", "mailspool")
    facts = show(booted, "MainPID", "ActiveState", "SubState", "StatusText")
    assert (facts["ActiveState"], facts["SubState"]) == ("active", "running")
    assert facts["StatusText"].startswith("0 active")
    assert booted.sendmail("sue@example.net").returncode == 0
    eventually(lambda: sink.mails, what="a mail")
    booted.drained()
    status = booted.run("cat", f"/proc/{facts['MainPID']}/status")
    for name, value in {"CapBnd": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}.items():
        assert f"{name}:\t{value}\n" in status
    booted.run("systemctl", "stop", "mailspool")
    assert show(booted, "Result") == {"Result": "success"}
    assert "Operation not permitted" not in journal(booted)


def test_every_user_hands_mail_in_under_all_restrictions_of_the_unit(booted, sink):
    booted.deliver_to(sink)
    booted.run("systemctl", "start", "mailspool")
    assert booted.sendmail("sue@example.net", user="games").returncode == 0
    (mail,) = eventually(lambda: sink.mails, what="a mail")
    assert mail.sender == "games@mail.test"
    booted.drained()


def test_a_bounce_is_made_under_all_restrictions_of_the_unit(booted, sink):
    booted.deliver_to(sink)
    booted.run("systemctl", "start", "mailspool")
    assert booted.sendmail("never@example.net").returncode == 0
    (bounce,) = eventually(lambda: sink.mails, what="a bounce")
    assert bounce.sender == ""
    booted.drained()


def test_a_reload_is_over_when_systemctl_returns_and_a_refused_one_fails(booted, sinks):
    old, new = sinks(), sinks()
    booted.deliver_to(old)
    booted.run("systemctl", "start", "mailspool")
    pid = show(booted, "MainPID")
    booted.deliver_to(new)
    booted.run("systemctl", "reload", "mailspool")
    booted.sendmail("sue@example.net")
    eventually(lambda: new.mails, what="a mail")
    booted.configure("max_hops = 0")
    assert booted.call("systemctl", "reload", "mailspool").returncode == 1
    assert "max_hops" in journal(booted)
    assert show(booted, "MainPID") == pid
    assert show(booted, "ActiveState") == {"ActiveState": "active"}


def test_what_crashes_is_started_again_and_what_is_configured_wrongly_is_not(booted):
    booted.run("systemctl", "start", "mailspool")
    first = show(booted, "MainPID")
    booted.run("systemctl", "kill", "--signal=KILL", "mailspool")
    booted.configure("max_hops = 0")
    facts = eventually(
        lambda: (
            (found := show(booted, "ActiveState", "ExecMainStatus", "NRestarts"))["ActiveState"] == "failed" and found
        ),
        what="its end",
    )
    assert (facts["ExecMainStatus"], facts["NRestarts"]) == ("78", "1")
    booted.configure()
    booted.run("systemctl", "start", "mailspool")
    assert show(booted, "MainPID") != first


def test_a_supervisor_that_hangs_is_found_by_the_watchdog(booted):
    place = "/run/systemd/system/mailspool.service.d/quick.conf"
    booted.at(place).parent.mkdir(parents=True)
    booted.at(place).write_text("[Service]\nWatchdogSec=2\nRestartSec=0\n")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "start", "mailspool")
    pid = show(booted, "MainPID")["MainPID"]
    booted.run("kill", "-STOP", pid)
    eventually(lambda: show(booted, "NRestarts")["NRestarts"] == "1", what="a restart")
    assert "Watchdog timeout" in journal(booted)


def test_the_init_script_leaves_its_actions_to_systemd(booted):
    assert booted.init("start")[0] == 0
    assert show(booted, "ActiveState") == {"ActiveState": "active"}
    assert booted.init("stop")[0] == 0
    assert show(booted, "ActiveState") == {"ActiveState": "inactive"}


def test_setup_enables_it_and_undo_has_systemd_forget_it(make_machine, with_programs):
    booted = make_machine(with_programs, systemd=True)
    booted.run(PROGRAM, "setup", "--system", "--yes")
    assert booted.run("systemctl", "is-enabled", "mailspool") == "enabled\n"
    booted.run("systemctl", "start", "mailspool")
    ran = booted.call(PROGRAM, "setup", "--system", "--undo", "--yes")
    assert (ran.returncode, "mailspoold is running" in ran.stdout) == (73, True)
    booted.run("systemctl", "stop", "mailspool")
    assert booted.run(PROGRAM, "setup", "--system", "--undo", "--yes").endswith("\ntaken back\n")
    assert "could not be found" in booted.call("systemctl", "status", "mailspool").stdout
    assert not [path for path in booted.differences() if "mailspool" in path and "/journal/" not in path]


# --- the files beside it


def test_tmpfiles_makes_the_directories_with_the_same_owners_as_setup(host):
    for directory in "/var/spool/mailspool", "/var/log/mailspool":
        host.run("rmdir", directory)
    host.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/mailspool.conf")
    facts = host.run("stat", "-c", "%n %U:%G %a", "/run/mailspool", "/var/log/mailspool", "/var/spool/mailspool")
    assert facts.splitlines() == [
        "/run/mailspool mailspool:mailspool 711",
        "/var/log/mailspool mailspool:mailspool 750",
        "/var/spool/mailspool mailspool:mailspool 700",
    ]


def test_sysusers_makes_the_same_user_as_setup(host, make_machine, with_programs):
    other = make_machine(with_programs)
    other.run("systemd-sysusers", "/opt/mailspool/share/mailspool/etc/sysusers.d/mailspool.conf")
    theirs, ours = (each.run("getent", "passwd", "mailspool").strip().split(":") for each in (other, host))
    assert theirs[5:] == ours[5:]
    assert other.run("id", "-gn", "mailspool") == "mailspool\n"
