# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool setup --system` on a whole system: what it installs works, and what it takes back leaves no trace."""

import json
import os

import pytest

from tests.running import eventually
from tests.system.conftest import CONFIG, INIT, PROGRAM, Host

UNIT = "/etc/systemd/system/mailspool.service"
SHARED = "/opt/mailspool/share/mailspool"
MANIFEST = "/var/lib/mailspool/setup.json"
NAMES = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases")
COPIES = {"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-"}  # useradd's own, of what was before


def setup(machine, *words, answer=""):
    """The exit code and the lines of `mailspool setup --system`."""
    ran = machine.call(PROGRAM, "setup", "--system", *words, input=answer)
    return ran.returncode, ran.stdout.splitlines()


def traces(machine):
    return [path for path in machine.differences() if path not in COPIES]


# --- there and back


def test_after_installing_using_and_undoing_no_trace_is_left(machine, sink):
    assert setup(machine, "--yes")[0] == 0
    host = Host(machine)
    host.deliver_to(sink)
    host.start()
    for name in None, "games":
        ran = host.sendmail(f"{name}@example.net", user=name)
        assert ran.returncode == 0, ran.stdout
    eventually(lambda: sorted(sink.recipients) == ["None@example.net", "games@example.net"], what="both mails")
    host.drained()
    assert host.init("stop")[0] == 0
    host.run("cp", f"{SHARED}/etc/mailspool.toml", CONFIG)
    code, said = setup(machine, "--undo", "--yes")
    assert (code, said[-1]) == (0, "taken back")
    assert traces(machine) == []
    assert setup(machine, "--undo", "--yes") == (0, [f"nothing to take back: {MANIFEST} records nothing"])


def test_all_that_changes_was_listed_before(machine):
    _, listed = setup(machine, "--dry-run")
    assert traces(machine) == []
    code, said = setup(machine, "--yes")
    assert code == 0
    assert said[: len(listed)] == listed
    text = "\n".join(listed)
    of_accounts = {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"}
    of_registrations = {path for path in traces(machine) if "/rc" in path or "/multi-user.target.wants/" in path}
    for path in {*traces(machine)} - of_accounts - of_registrations - {"/var/lib/mailspool"}:
        assert path in text


def test_files_and_directories_have_their_owners_and_modes(host):
    facts = host.run("stat", "-c", "%n %U:%G %a", *OWNERS).splitlines()
    assert facts == [f"{path} {facts}" for path, facts in OWNERS.items()]
    account = host.run("getent", "passwd", "mailspool").strip().split(":")
    assert account[5:] == ["/var/spool/mailspool", "/usr/sbin/nologin"]
    assert int(account[2]) < 1000
    assert host.run("readlink", "-e", "/usr/local/share/man/man8/mailspoold.8")


OWNERS = {
    "/etc/mailspool": "root:root 755",
    CONFIG: "root:root 644",
    "/etc/default/mailspool": "root:root 644",
    "/etc/logrotate.d/mailspool": "root:root 644",
    UNIT: "root:root 644",
    INIT: "root:root 755",
    MANIFEST: "root:root 644",
    "/var/lib/mailspool": "root:root 755",
    "/var/spool/mailspool": "mailspool:mailspool 700",
    "/var/log/mailspool": "mailspool:mailspool 750",
}


def test_it_asks_and_a_no_changes_nothing(machine):
    code, said = setup(machine, answer="n\n")
    assert code == 1
    assert any(line.startswith("Install 20 things? [y/N]") or "things? [y/N]" in line for line in said)
    assert traces(machine) == []
    code, said = setup(machine, answer="")
    assert (code, "say --yes" in said[-1]) == (64, True)
    assert traces(machine) == []
    code, said = setup(machine, answer="y\n")
    assert code == 0


def test_who_is_not_root_may_only_look(machine):
    ran = machine.call(PROGRAM, "setup", "--system", "--dry-run", user="games")
    assert ran.returncode == 0
    assert "install: user and group mailspool" in ran.stdout
    ran = machine.call(PROGRAM, "setup", "--system", "--yes", user="games")
    assert (ran.returncode, "only root can do this" in ran.stdout) == (77, True)
    assert traces(machine) == []


def test_without_system_it_says_what_to_say(machine):
    ran = machine.call(PROGRAM, "setup")
    assert ran.returncode == 64
    assert "mailspool setup --system" in ran.stdout


def test_a_second_time_there_is_nothing_to_do(host):
    assert setup(host, "--yes") == (
        0,
        [f"kept, since it was changed: file {CONFIG} (0644) (new: {SHARED}/{NEW})", DONE],
    )


DONE, NEW = "all is installed", "etc/mailspool.toml"


# --- what the administrator has changed


def test_an_upgrade_brings_new_files_and_leaves_alone_what_was_changed(host):
    host.default("# mine")
    for name in "etc/default/mailspool", "etc/systemd/mailspool.service":
        with host.at(f"{SHARED}/{name}").open("a") as file:
            file.write("# new\n")
    code, said = setup(host, "--yes")
    assert code == 0
    assert f"install: file {UNIT} (0644)" in said
    default = "/etc/default/mailspool"
    assert f"kept, since it was changed: file {default} (0644) (new: {SHARED}{default})" in said
    assert host.at(UNIT).read_text().endswith("# new\n")
    assert host.at(default).read_text() == "# mine\n"


def test_undo_keeps_and_names_what_was_changed(host):
    host.default("# mine")
    code, said = setup(host, "--undo", "--yes")
    assert code == 0
    assert "kept: file /etc/default/mailspool (0644): it has been changed" in said
    assert f"kept: file {CONFIG} (0644): it has been changed" in said
    assert said[-1] == "taken back, but for 3 things named above"
    assert not host.at(INIT).exists()
    assert host.at("/etc/default/mailspool").read_text() == "# mine\n"
    host.run("rm", "/etc/default/mailspool", CONFIG)
    assert setup(host, "--undo", "--yes")[1][-1] == "taken back"
    assert not host.at("/var/lib/mailspool").exists()


def test_undo_keeps_mail_and_the_user_to_whom_it_belongs(host):
    host.start()
    host.init("stop")
    assert host.sendmail("sue@example.net").returncode == 0
    _, said = setup(host, "--undo", "--yes")
    assert any(line.startswith("kept: directory /var/spool/mailspool ") for line in said)
    assert any(line.endswith(": /var/spool/mailspool belongs to it") for line in said)
    assert setup(host, "--yes")[0] == 0
    assert "sue@example.net" in host.queued()


def test_undo_refuses_while_the_daemon_runs(host):
    pid = host.start()
    before = traces(host.machine)
    code, said = setup(host, "--undo", "--yes")
    assert (code, said[-1]) == (
        73,
        "mailspool: mailspoold is running: stop it first (service mailspool stop, or systemctl stop mailspool)",
    )
    assert traces(host.machine) == before
    assert host.is_running(pid)


def test_a_configuration_that_was_there_before_is_taken_as_it_is(machine):
    machine.run("mkdir", "/etc/mailspool")
    machine.at(CONFIG).write_text("max_hops = 9\n")
    assert setup(machine, "--yes")[0] == 0
    assert setup(machine, "--undo", "--yes")[1][-1] == "taken back"
    assert machine.at(CONFIG).read_text() == "max_hops = 9\n"


def test_a_configuration_with_a_place_that_the_unit_does_not_know_is_noted(machine):
    machine.run("mkdir", "/etc/mailspool")
    machine.at(CONFIG).write_text('dequeue_dir = "/srv/spool"\n')
    code, said = setup(machine, "--dry-run")
    assert code == 0
    note = f"dequeue_dir is /srv/spool in {CONFIG}, not /var/spool/mailspool"
    assert said[-1] == f"note: {note}: tell the unit too, or /etc/default/mailspool"


# --- what is in the way


def test_a_strangers_file_is_in_the_way_and_nothing_is_changed(machine):
    for path in UNIT, "/usr/sbin/sendmail":
        machine.at(path).write_text("mine\n")
    before = traces(machine)
    code, said = setup(machine, "--yes")
    assert code == 73
    assert said == [
        f"mailspool: {UNIT} is there and not made by setup: move it away",
        "mailspool: /usr/sbin/sendmail is there, not made by setup and of no package: move it away",
    ]
    assert traces(machine) == before


def test_man_finds_each_page(host):
    for name in ("sendmail", "mailq", "newaliases", "mailspool", "mailspoold", "mailspool.toml"):
        assert "mailspool" in host.run("man", "-P", "cat", name)


def test_another_mail_system_may_keep_its_sendmail(machine):
    machine.at("/usr/sbin/sendmail").write_text("mine\n")
    assert setup(machine, "--yes", "--no-sendmail")[0] == 0
    assert machine.at("/usr/sbin/sendmail").read_text() == "mine\n"
    assert not os.path.lexists(machine.at("/usr/local/share/man/man1/sendmail.1"))
    assert setup(machine, "--undo", "--yes")[1][-1] == "taken back"


def test_the_sendmail_of_a_package_is_diverted_and_comes_back(machine):
    package = machine.at("/tmp/mta")
    (package / "DEBIAN").mkdir(parents=True)
    (package / "usr/sbin").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: other-mta\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: x\n"
    )
    (package / "usr/sbin/sendmail").write_text("theirs\n")
    machine.run("dpkg-deb", "--build", "--root-owner-group", "/tmp/mta", "/tmp/mta.deb")
    machine.run("dpkg", "--install", "/tmp/mta.deb")
    code, said = setup(machine, "--yes")
    assert code == 0
    moved = "/usr/sbin/sendmail of the package other-mta moves to /usr/sbin/sendmail.distrib"
    assert any(line.startswith(f"install: {moved}: dpkg-divert ") for line in said)
    assert machine.run("readlink", "/usr/sbin/sendmail") == "/usr/local/lib/mailspool/sendmail\n"
    machine.run("dpkg", "--install", "/tmp/mta.deb")  # its upgrade respects that
    assert machine.run("readlink", "/usr/sbin/sendmail") == "/usr/local/lib/mailspool/sendmail\n"
    assert setup(machine, "--yes") == (0, [DONE])
    assert setup(machine, "--undo", "--yes")[1][-1] == "taken back"
    assert machine.at("/usr/sbin/sendmail").read_text() == "theirs\n"
    assert machine.run("dpkg-divert", "--list", "/usr/sbin/sendmail") == ""


@pytest.mark.parametrize("chosen", [True, False])
def test_where_sendmail_is_an_alternative_ours_becomes_one_and_goes_again(machine, chosen):
    install = ["update-alternatives", "--install", "/usr/sbin/sendmail", "mta", "/bin/true", "30"]
    machine.run(*install, "--slave", "/usr/bin/mailq", "mta-mailq", "/bin/true")
    if chosen:
        machine.run("update-alternatives", "--set", "mta", "/bin/true")
    before = machine.run("update-alternatives", "--query", "mta")
    assert setup(machine, "--yes")[0] == 0
    for path in "/usr/sbin/sendmail", "/usr/lib/sendmail":
        assert machine.run("readlink", "-f", path) == "/usr/local/lib/mailspool/sendmail\n"
    assert machine.run("readlink", "-f", "/usr/bin/mailq") == "/usr/local/lib/mailspool/sendmail\n"
    assert setup(machine, "--yes") == (0, [DONE])
    assert setup(machine, "--undo", "--yes")[1][-1] == "taken back"
    assert machine.run("update-alternatives", "--query", "mta") == before


def test_what_hands_mail_in_finds_the_package_where_another_python_has_it(host):
    site = host.run("sh", "-c", "echo /opt/mailspool/lib/python3*/site-packages").strip()
    host.run("mkdir", "/opt/moved")
    host.run("mv", f"{site}/mailspool", "/opt/moved")
    host.at(f"{site}/moved.pth").write_text("/opt/moved\n")
    host.start()
    host.init("stop")
    assert host.sendmail("sue@example.net").returncode == 0
    assert "sue@example.net" in host.queued()


def test_programs_that_the_daemons_user_could_not_read_are_refused(machine):
    machine.run("chmod", "0700", "/opt/mailspool")
    code, said = setup(machine, "--yes")
    assert code == 73
    assert "mailspool: /opt/mailspool/bin/mailspoold: not everybody can come to /opt/mailspool: " in said[1]


def test_programs_that_others_than_root_can_change_are_refused(machine):
    machine.run("chown", "games", "/opt/mailspool/bin/mailspoold")
    code, said = setup(machine, "--yes")
    assert code == 73
    assert "others than root can change /opt/mailspool/bin/mailspoold" in said[0]


# --- errors half way


def fail_at_the_end(machine, *lines):
    """update-rc.d, one of the last steps, does this instead."""
    stub = machine.at("/usr/local/sbin/update-rc.d")
    stub.write_text("\n".join(("#!/bin/sh", *lines, "")))
    stub.chmod(0o755)


def test_a_step_that_fails_takes_back_all_before_it(machine):
    fail_at_the_end(machine, '[ "$1" = -f ] || { echo "no links today" >&2; exit 3; }')
    code, said = setup(machine, "--yes")
    assert code == 75
    words = "update-rc.d mailspool defaults"
    assert said[-2:] == [
        f"mailspool: start at boot by update-rc.d: {words}: {words} ended with 3: no links today",
        "mailspool: all steps before it were taken back",
    ]
    assert traces(machine) == ["/usr/local/sbin/update-rc.d"]


@pytest.mark.parametrize("after", [[], ["--undo"]])
def test_what_a_kill_left_half_done_can_be_completed_and_taken_back(machine, after):
    fail_at_the_end(machine, "kill -9 $PPID")
    assert setup(machine, "--yes")[0] == -9
    steps = json.loads(machine.at(MANIFEST).read_text())["steps"]
    assert steps[-1]["what"] == "start at boot by update-rc.d"
    machine.run("rm", "/usr/local/sbin/update-rc.d")
    code, said = setup(machine, *after, "--yes")
    assert code == 0
    if not after:
        assert "install: start at boot by update-rc.d: update-rc.d mailspool defaults" in said
        assert machine.run("sh", "-c", "ls /etc/rc2.d/*mailspool")
        assert setup(machine, "--undo", "--yes")[1][-1] == "taken back"
    assert traces(machine) == []


# --- other ways of installing


def test_root_sets_up_another_tree_and_leaves_this_system_alone(machine):
    machine.run("sh", "-ec", "mkdir /tmp/image /tmp/written /tmp/work")
    over = "lowerdir=/,upperdir=/tmp/written,workdir=/tmp/work"
    machine.run("mount", "-t", "overlay", "overlay", "-o", over, "/tmp/image")
    code, said = setup(machine, "--root", "/tmp/image", "--yes")
    assert code == 0, said
    assert traces(machine) == []
    assert "mailspool" in machine.run("grep", "^mailspool:", "/tmp/image/etc/passwd")
    assert machine.run("readlink", "/tmp/image/usr/sbin/sendmail") == "/usr/local/lib/mailspool/sendmail\n"
    assert machine.run("sh", "-c", "ls /tmp/image/etc/rc2.d/*mailspool")
    assert setup(machine, "--root=/tmp/image", "--undo", "--yes")[1][-1] == "taken back"
    assert not machine.at("/tmp/image/etc/mailspool").exists()


def test_a_tree_without_mailspool_is_refused(machine):
    machine.run("mkdir", "/tmp/image")
    code, said = setup(machine, "--root", "/tmp/image", "--yes")
    assert (code, said) == (
        73,
        ["mailspool: /tmp/image has no /opt/mailspool/bin/mailspool: install mailspool there first"],
    )
