# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool check` promises: every fault that would keep mailspoold from its start, and what it warns of."""

import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest

REFUSED = "warning: {file}: nobody cannot read it, so that mail for a name without a domain is refused"


def test_check_says_ok_and_what_it_read(house):
    ran = house.run("check")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"ok: {house.config}",
        f"dequeue_dir: {house.root}/spool",
        f"run_dir: {house.root}/run (not there yet: mailspoold makes it)",
    ]


def test_check_of_a_spool_that_is_not_there_says_who_makes_it(bare):
    assert f"dequeue_dir: {bare.root}/spool (not there yet: mailspoold makes it)" in bare.run("check").out


def test_check_finds_directories_that_others_may_write_to(house):
    (house.root / "spool/0").chmod(0o777)
    (house.root / "run").mkdir()
    (house.root / "run").chmod(0o777)
    ran = house.run("check")
    assert ran.code == 78
    assert ran.err.splitlines() == [
        (
            f"mailspool: run_dir: {house.root}/run has mode 0777, which lets others write to it: "
            f"chmod 0711 {house.root}/run"
        ),
        f"mailspool: dequeue_dir: anybody may write to {house.root}/spool/0: chmod 0700 {house.root}/spool/0",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_check_finds_directories_of_somebody_else(house):
    os.chown(house.root / "spool/1", 12345, -1)
    ran = house.run("check")
    assert ran.code == 78
    assert f"{house.root}/spool/1 belongs to 12345, the daemon is root: chown -R root {house.root}/spool/1" in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_check_tells_once_that_a_spool_with_all_that_is_in_it_is_somebody_else_s(house):
    for path in (house.root / "spool", *(house.root / "spool").iterdir()):
        os.chown(path, 12345, -1)
    ran = house.run("check")
    assert ran.err.count("belongs to 12345") == 1


def test_check_does_not_tell_an_ordinary_user_to_give_the_spool_to_himself(house, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(house.root).st_uid + 1)
    ran = house.run("check")
    assert ran.code == 77
    assert "chown" not in ran.err
    assert "try it again as root" in ran.err


def test_check_finds_a_file_system_that_is_mounted_read_only(house, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))  # only root could mount one
    ran = house.run("check")
    assert ran.code == 78
    assert f"mailspool: dequeue_dir: {house.root}/spool: its file system is mounted read-only: mount -o" in ran.err


def test_check_finds_a_log_file_that_cannot_be_and_makes_none(house):
    ran = house.run("check", "-o", f"log_file={house.root}/none/log")
    assert ran.code == 78
    assert ran.err == (
        f"mailspool: command line: log_file: cannot make {house.root}/none/log: there is no {house.root}/none: "
        f"mkdir -p {house.root}/none\n"
    )
    assert f"{house.root} is a directory: name a file in it" in house.run("check", "-o", f"log_file={house.root}").err
    (house.root / "link").symlink_to("elsewhere")
    assert "cannot write" in house.run("check", "-o", f"log_file={house.root}/link").err
    before = house.everything()
    assert house.run("check", "-o", f"log_file={house.root}/log").code == 0
    assert house.everything() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_check_finds_that_the_daemon_s_user_may_not_write_where_it_is_to_log(nobody_s_house):
    log = nobody_s_house.root / "log"
    log.touch(0o600)
    option = ("-o", f"log_file={log}")
    remedy = f"log_file: cannot write {log}: Permission denied: install -m 0600 -o nobody /dev/null {log}"
    assert remedy in nobody_s_house.run("check", *option).err
    shutil.chown(log, "nobody")
    assert nobody_s_house.run("check", *option).err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_check_warns_of_a_file_that_root_can_read_and_the_daemon_s_user_cannot(nobody_s_house):
    config, aliases = nobody_s_house.config, nobody_s_house.root / "aliases"
    assert nobody_s_house.run("check").err == ""
    config.chmod(0o600)
    ran = nobody_s_house.run("check")
    refused = f"{config}: nobody cannot read it, so that each reload will be refused: chmod a+r {config}"
    assert (ran.code, ran.err) == (0, f"mailspool: warning: {refused}\n")
    config.chmod(0o644)
    aliases.touch(0o600)
    assert nobody_s_house.run("check").err == (f"mailspool: {REFUSED.format(file=aliases)}: chmod a+r {aliases}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize(
    ("option", "name", "code", "words"),
    [
        ("dequeue_dir", "spool", 78, "dequeue_dir: {closed}"),
        ("run_dir", "run", 78, "run_dir: {closed}"),
        ("credentials_file", "credentials", 78, "command line: credentials_file: {file}: {closed}"),
        ("log_file", "log", 78, "command line: log_file: cannot write {file}: {closed}"),
        ("log_file", "not-there-yet", 78, "command line: log_file: cannot write {file}: {closed}"),
        ("aliases_file", "aliases", 0, f"{REFUSED}: {{closed}}"),
    ],
)
def test_check_names_the_folder_that_keeps_the_daemon_s_user_out_with_what_opens_it(
    nobody_s_house, option, name, code, words
):
    closed = nobody_s_house.root / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    for path in (inner / "spool", inner / "run"):
        path.mkdir(0o700)
        shutil.chown(path, "nobody")
    for path in (inner / "credentials", inner / "log", inner / "aliases"):
        path.touch(0o600)
        shutil.chown(path, "nobody")
    file = inner / name
    assert nobody_s_house.run("check", "-o", f"{option}={file}").err == ""
    closed.chmod(0o750)
    ran = nobody_s_house.run("check", "-o", f"{option}={file}")
    told = words.format(file=file, closed=f"{closed} is closed to nobody: chmod a+x {closed}")
    assert (ran.code, ran.err) == (code, f"mailspool: {told}\n")
    subprocess.run(["/bin/sh", "-c", ran.err.rpartition(": ")[2]], check=True)
    assert nobody_s_house.run("check", "-o", f"{option}={file}").err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_check_finds_that_there_is_no_such_user(house):
    ran = house.run("check", "-o", "user=nobody-of-that-name")
    assert ran.code == 78
    (line,) = ran.err.splitlines()  # whose the directories shall be is not known
    assert line.startswith("mailspool: command line: user: there is no user 'nobody-of-that-name'")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_check_tells_a_wrong_user_and_credentials_together_with_all_else_and_where_each_is_set(house):
    secrets = house.root / "secrets"
    secrets.touch(0o604)
    drop_in = house.root / "conf.d/local.toml"
    drop_in.parent.mkdir()
    drop_in.write_text(f'max_age = "for ever"\nuser = "nobdy"\n\ncredentials_file = "{secrets}"\n')
    (house.root / "spool").chmod(0o777)  # whose it should be is not known, so nothing is said of it
    ran = house.run("check")
    assert ran.code == 78
    lines = [line.removeprefix(f"mailspool: {drop_in}:") for line in ran.err.splitlines()]
    assert lines[0].startswith("1: max_age: found ")
    assert lines[1].startswith("2: user: there is no user 'nobdy' ('nobody' is the nearest): make it with 'adduser")
    assert lines[2].startswith(f"4: credentials_file: {secrets}: others can read or change it (mode 0604")
    assert len(lines) == 3


def test_check_names_the_nearest_file_where_the_one_with_the_credentials_is_missing(house):
    (house.root / "credentials").touch(0o600)
    ran = house.run("check", "-o", f"credentials_file={house.root}/credentails")
    told = f"there is no file {house.root}/credentails ({house.root}/credentials is the nearest): make one"
    assert ran.err.startswith(f"mailspool: command line: credentials_file: {told}")


def test_check_tells_faults_in_the_credentials_with_their_own_lines(house):
    path = house.root / "credentials"
    path.touch(0o600)
    path.write_text('["smtp.example.net"]\nuser = "joe"\n')
    ran = house.run("check", "-o", f"credentials_file={path}", "-o", "max_hops=0")
    assert [line.split(": ")[1] for line in ran.err.splitlines()] == ["command line", f"{path}:1"]


def test_check_warns_of_a_login_that_no_smarthost_or_route_leads_to(house):
    path = house.root / "credentials"
    path.touch(0o600)
    login = 'user = "joe"\npassword = "x"\n'
    hosts = ("smtp.example.net", "relay.example:587", "relay.example:25", "partner.example")
    path.write_text("".join(f'["{host}"]\n{login}' for host in hosts))
    options = [
        "smarthost=smtp.example.ne",
        'routes={"a.example" = ["relay.example:587", "mx"], "*" = "partner.example"}',
    ]
    ran = house.run("check", *(word for option in (*options, f"credentials_file={path}") for word in ("-o", option)))
    assert ran.code == 0
    assert ran.out.startswith("ok: ")
    warning = f"mailspool: warning: {path}: "
    assert ran.err.splitlines() == [
        f"{warning}smtp.example.net: no smarthost or route names it; smtp.example.ne:25 is the nearest that one names",
        f"{warning}relay.example:25: no smarthost or route names it; relay.example:587 is the nearest that one names",
    ]


def test_a_limit_of_a_domain_whose_mail_goes_elsewhere_is_warned_of(house):
    limits = ("a.example", "smtp.example.net", "b.example", "*.c.example", "mx:d.example")
    text = "".join(f'[limits."{pattern}"]\nconcurrency = 2\n' for pattern in limits)
    routes = 'smarthost = "smtp.example.net:587"\nroutes."b.example" = "mx"\n'
    house.config.write_text(routes + house.config.read_text().replace("smarthost", "#smarthost") + text)
    ran = house.run("check")
    expected = "limits.a.example: limits nothing: by a route or smarthost this mail goes to smtp.example.net:587"
    assert [line for line in ran.err.splitlines() if "limits" in line] == [f"mailspool: warning: {expected}"]


def test_check_warns_of_what_is_wrong_with_the_aliases(house):
    path = house.root / "aliases"
    path.write_text("root: |/bin/cat\n")
    ran = house.run("check", "-o", f"aliases_file={path}")
    assert ran.code == 0
    assert ran.err.startswith(f"mailspool: warning: {path}:1: alias 'root': '|/bin/cat' is a pipe")


def test_check_does_not_judge_a_default_where_a_file_could_not_be_read_in_full(house):
    house.config.write_text(house.config.read_text() + "user = root\n")
    ran = house.run("check")
    (line,) = ran.err.splitlines()
    assert "which is no TOML" in line
