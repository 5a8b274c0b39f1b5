# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool doctor` finds, against a real DNS server, servers that take mail or do not, and the real daemon."""

import errno
import json
import os
import re
import socket
import time

import pytest

from mailspool.cli.admin import main
from mailspool.cli.doctor import finding, machine
from mailspool.cli.doctor.finding import ok
from mailspool.cli.running import starter
from mailspool.config.schema import Settings
from mailspool.version import VERSION
from tests.dns.conftest import DnsServer
from tests.running import write_config


@pytest.fixture
def tmp_path(public_path):
    """Where the daemon's user gets to."""
    return public_path


@pytest.fixture
def server():
    server = DnsServer()
    server.zone = {
        "mail.test": {"MX": ["10 mx.mail.test."], "A": ["127.0.0.1"]},
        "mx.mail.test": {"A": ["127.0.0.1"]},
    }
    yield server
    server.close()


@pytest.fixture
def doctor(properties, tmp_path, capsys, server):
    """doctor(**options): the exit code, and the findings by area, each (level, text, fix)."""

    def run(*words, **options):
        options = {"nameservers": [server.address], "smarthost": "", **options}
        write_config(tmp_path / "doctor.toml", properties(**options))
        capsys.readouterr()
        code = main(["doctor", "--json", *words, "-c", str(tmp_path / "doctor.toml")])
        found = {}
        for one in json.loads(capsys.readouterr().out)["findings"]:
            found.setdefault(one["check"], []).append((one["level"], one["text"], one["fix"]))
        return code, found

    return run


def test_where_all_is_well_it_ends_with_0(doctor, daemon, sink, server, tmp_path):
    daemon(sink=sink, dequeue_timeout=3600)
    code, found = doctor(smarthost=sink.address, log_file=str(tmp_path / "log"))
    assert code == 0
    assert found["daemon"][0][0] == "ok"
    assert found["permissions"][0][0] == "ok"
    assert found["room"][0][0] in {"ok", "warning"}
    assert found["dns"] == [("ok", "DNS answers; mail for mail.test goes to mx.mail.test", "")]
    assert found["out"] == [("ok", f"127.0.0.1[127.0.0.1]:{sink.port} greets, in clear", "")]
    assert b"MAIL" not in b"".join(sink.commands)
    assert sink.commands[-1] == b"QUIT\r\n"


def test_without_a_smarthost_it_goes_where_the_postmaster_s_mail_goes(doctor, sink):
    _, found = doctor(hostname="other.test", smtp_port=sink.port)
    assert found["out"] == [("ok", f"mx.mail.test[127.0.0.1]:{sink.port} greets, in clear", "")]


def test_each_route_is_tried(doctor, sinks):
    good, silent = sinks(), sinks(greeting="554 go away")
    _, found = doctor(smarthost=good.address, routes={"a.example": good.address, "b.example": silent.address})
    levels = [level for level, _, _ in found["out"]]
    assert levels == ["ok", "problem"]
    assert "go away" in found["out"][1][1]


def test_a_host_that_does_not_listen_is_a_problem_with_its_fix(doctor):
    code, found = doctor(smarthost="127.0.0.1:9")
    assert code == 1
    ((level, text, fix),) = found["out"]
    assert level == "problem"
    assert "connect to 127.0.0.1[127.0.0.1]:9: Connection refused" in text
    assert "smarthost" in fix


def test_a_dns_server_that_does_not_answer_is_told_soon_and_what_depends_on_it_is_not_known(doctor, server):
    server.faults = {"mail.test": "silence", "mx.mail.test": "silence"}
    began = time.monotonic()
    code, found = doctor(dns_timeout=15.0)
    assert time.monotonic() - began < 15
    assert code == 1
    assert found["dns"][0][0] == "problem"
    assert "nameservers" in found["dns"][0][2]
    for area in ("names", "out"):
        assert found[area][0][:2][0] == "warning"
        assert found[area][0][1].startswith("not known: ")


def test_dns_that_nothing_depends_on_is_a_warning_only(doctor, sink, server):
    server.faults = {"mail.test": "REFUSED"}
    _, found = doctor(smarthost=sink.address)
    assert found["dns"][0][0] == "warning"
    assert found["out"][0][0] == "ok"


def test_with_no_name_server_at_all_it_is_over_at_once(doctor):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    _, found = doctor(nameservers=[f"127.0.0.1:{port}"])
    assert time.monotonic() - began < 15
    assert found["dns"][0][0] == "problem"


def test_a_postmaster_s_domain_that_does_not_exist_is_told(doctor, sink):
    _, found = doctor(smarthost=sink.address, postmaster_address="me@nowhere.example")
    ((level, text, fix),) = found["dns"]
    assert (level, text) == ("warning", "DNS answers, but the postmaster's domain nowhere.example does not exist")
    assert "postmaster_address" in fix


@pytest.mark.parametrize(
    ("name", "zone", "level", "words"),
    [
        ("mail", {}, "warning", "no full name"),
        ("host.test", {}, "warning", "DNS does not know"),
        ("host.test", {"host.test": {"A": ["127.0.0.1"]}}, "warning", "not known: host.test is 127.0.0.1"),
        ("host.test", {"host.test": {"A": ["8.8.4.4"]}}, "warning", "8.8.4.4 has no name"),
        (
            "host.test",
            {"host.test": {"A": ["8.8.4.4"]}, "4.4.8.8.in-addr.arpa": {"PTR": ["else.test."]}},
            "warning",
            "8.8.4.4 is else.test",
        ),
        (
            "host.test",
            {"host.test": {"A": ["8.8.4.4"]}, "4.4.8.8.in-addr.arpa": {"PTR": ["Host.test."]}},
            "ok",
            "8.8.4.4 is host.test",
        ),
    ],
)
def test_the_name_of_this_host_is_looked_up_there_and_back(doctor, sink, server, name, zone, level, words):
    server.zone |= zone
    _, found = doctor(smarthost=sink.address, hostname=name)
    ((told, text, fix),) = found["names"]
    assert told == level
    assert words in text
    assert bool(fix) == (level != "ok" and not text.startswith("not known"))


def test_that_no_supervisor_runs_is_a_problem(doctor, sink):
    code, found = doctor(smarthost=sink.address)
    assert code == 1
    assert found["daemon"][0][0] == "problem"
    assert found["daemon"][0][2] == "mailspoold"


def test_a_supervisor_of_another_version_is_told(doctor, daemon, sink, monkeypatch):
    daemon(sink=sink, dequeue_timeout=3600)
    monkeypatch.setattr(machine, "VERSION", "99")
    _, found = doctor(smarthost=sink.address)
    assert found["daemon"][0] == (
        "warning",
        f"the supervisor {found['daemon'][1][1].split()[2]} is of version {VERSION}, this is 99",
        "restart mailspoold",
    )


def test_unsafe_directories_are_told_with_what_mends_them(doctor, sink, tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    _, found = doctor(smarthost=sink.address)
    assert found["permissions"] == [
        (
            "problem",
            f"dequeue_dir: {tmp_path}/spool has mode 0777, which lets others write to it",
            f"chmod 0700 {tmp_path}/spool",
        )
    ]


def test_a_configuration_that_others_may_write_is_told(doctor, sink, tmp_path):
    (tmp_path / "doctor.toml").touch()
    (tmp_path / "doctor.toml").chmod(0o666)
    _, found = doctor(smarthost=sink.address)
    assert ("problem", f"{tmp_path}/doctor.toml may be written by others than its owner") == found["permissions"][0][:2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a daemon of another user")
@pytest.mark.parametrize("name", ["doctor.toml", "conf.d/own.toml"])
def test_a_configuration_that_the_daemon_s_user_cannot_read_is_told(doctor, sink, tmp_path, name):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/own.toml").write_text("max_hops = 20\n")
    _, found = doctor(smarthost=sink.address, user="daemon")
    assert not any("cannot read" in text for _, text, _ in found["permissions"])
    (tmp_path / name).chmod(0o600)
    _, found = doctor(smarthost=sink.address, user="daemon")
    told = f"{tmp_path}/{name}: daemon cannot read it, so that each reload will be refused"
    assert ("problem", told, f"chmod a+r {tmp_path}/{name}") in found["permissions"]


def test_files_from_the_future_tell_of_a_wrong_clock(doctor, sink, make_spool, tmp_path):
    make_spool(sink=sink)
    later = time.time() + 4000
    os.utime(tmp_path / "spool/0", (later, later))
    _, found = doctor(smarthost=sink.address)
    level, text, fix = found["clock"][0]
    assert level == "problem"
    assert re.match(r"the spool has files 1h 6m from now", text)
    assert "ntp" in fix


@pytest.mark.parametrize(("free", "level"), [(1 << 40, "ok"), (100 << 20, "warning"), (1 << 20, "problem")])
def test_a_disk_that_fills_is_told_in_time(doctor, sink, monkeypatch, free, level):
    class Facts:
        f_flag, f_frsize, f_blocks, f_files, f_favail = 0, 4096, 1 << 28, 1000, 900
        f_bavail = free // 4096

    monkeypatch.setattr(os, "statvfs", lambda _path: Facts)  # a disk that is really full would be everybody's
    _, found = doctor(smarthost=sink.address)
    assert found["room"][0][0] == level


def test_a_host_that_does_not_let_us_in_is_a_matter_of_the_credentials(doctor, sinks, tmp_path):
    host, credentials = sinks(extensions=("AUTH PLAIN",)), tmp_path / "credentials"
    credentials.touch(0o600)
    credentials.write_text(f'["{host.address}"]\nuser = "joe"\npassword = "wrong"\ntls = "may"\n')
    _, found = doctor(smarthost=host.address, credentials_file=str(credentials))
    ((level, text, fix),) = found["out"]
    assert (level, fix) == ("problem", f"mend what {credentials} says of it: user, password, tls")
    assert text.startswith(f"no login at 127.0.0.1[127.0.0.1]:{host.port}: AUTH PLAIN was refused")


def test_inodes_that_run_out_are_told(doctor, sink, monkeypatch):
    class Facts:
        f_flag, f_frsize, f_blocks, f_bavail, f_files, f_favail = 0, 4096, 1 << 28, 1 << 28, 1000, 5

    monkeypatch.setattr(os, "statvfs", lambda _path: Facts)
    _, found = doctor(smarthost=sink.address)
    assert found["room"][0][:2] == ("problem", "5 inodes are free for the spool, of 1000")


def test_a_sendmail_that_is_not_ours_is_told(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text("#!/usr/bin/python3\nfrom mailspool.cli.sendmail import main\n")
    theirs.write_text("#!/bin/sh\n")
    for each in (ours, theirs):
        each.chmod(0o755)
    assert next(machine.sendmail((str(ours),)))[0] == "ok"
    assert next(machine.sendmail((str(ours), str(theirs))))[:2] == ("warning", f"not ours: {theirs}")
    assert next(machine.sendmail((str(tmp_path / "none"),)))[0] == "warning"


def test_who_reads_root_s_mail_is_told_and_that_nobody_does(doctor, sink, tmp_path):
    (tmp_path / "aliases").write_text("root: sue@example.org\n")
    _, found = doctor(smarthost=sink.address, aliases_file=str(tmp_path / "aliases"))
    assert found["aliases"] == [("ok", "mail to root goes to sue@example.org", "")]
    (tmp_path / "aliases").write_text("bob: sue@example.org\n")
    _, found = doctor(smarthost=sink.address, aliases_file=str(tmp_path / "aliases"))
    ((level, text, fix),) = found["aliases"]
    assert (level, text[:45]) == ("warning", "mail to root, as cron sends it, is refused: t")
    assert fix == f"name who reads it: echo 'root: you@example.org' >>{tmp_path}/aliases"


def test_a_postmaster_at_this_host_s_own_name_needs_an_alias_where_no_smarthost_knows_him(doctor, sink, tmp_path):
    (tmp_path / "aliases").write_text("root: sue@example.org\n")
    options = {"aliases_file": str(tmp_path / "aliases"), "hostname": "mail.test", "mail_name": "mail.test"}
    _, found = doctor(**options)
    assert found["aliases"][1:] == [
        (
            "warning",
            "reports that nobody else can be given go to postmaster@mail.test, for whom there is no alias",
            f"name who reads it: echo 'postmaster: root' >>{tmp_path}/aliases, or set postmaster_address",
        )
    ]
    for mended in (
        {"smarthost": sink.address},
        {"postmaster_address": "sue@example.org"},
        {"mail_name": "example.org"},
    ):
        _, found = doctor(**{**options, **mended})
        assert len(found["aliases"]) == 1
    (tmp_path / "aliases").write_text("root: sue@example.org\npostmaster: root\n")
    _, found = doctor(**options)
    assert len(found["aliases"]) == 1


def test_what_starts_the_daemon_is_the_service_where_there_is_one(tmp_path):
    usual = Settings().run_dir
    assert starter(usual, str(tmp_path)) == "mailspoold"
    for path, words in (
        ("etc/init.d/mailspool", "service mailspool start"),
        ("etc/systemd/system/mailspool.service", "service mailspool start"),
        ("run/systemd/system/any", "systemctl start mailspool"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        assert starter(usual, str(tmp_path)) == words
        assert starter(f"{tmp_path}/run", str(tmp_path)) == "mailspoold"


def test_what_only_root_may_see_is_not_known_and_told_without_the_name_of_an_exception(doctor, sink, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "scandir", refuse)
    (_, found) = doctor(smarthost=sink.address)
    assert all("Error" not in text for _, text, _ in found["clock"])


def test_a_check_that_hangs_or_breaks_keeps_no_other_back():
    def broken():
        raise ValueError("oops")

    reader, writer = os.pipe()
    began = time.monotonic()
    checks = {"hangs": lambda: os.read(reader, 1), "breaks": broken, "works": lambda: [ok("fine")]}
    found = finding.run(checks, 0.5)
    assert time.monotonic() - began < 10
    assert [(one.check, one.level, one.text) for one in found] == [
        ("hangs", "warning", "not known: no result within 0.5 s"),
        ("breaks", "warning", "not known: ValueError: oops"),
        ("works", "ok", "fine"),
    ]
    os.close(writer)


def test_for_people_each_finding_is_a_line_with_its_fix_below(doctor, properties, capsys, tmp_path):
    doctor(smarthost="127.0.0.1:9")
    assert main(["doctor", "-c", str(tmp_path / "doctor.toml")]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^problem  daemon      no supervisor answers in(.|\n)*?\n {21}→ mailspoold$", out, re.MULTILINE)
    assert all(len(line) <= 80 or "→" in line or " " not in line[21:] for line in out.splitlines())
    assert re.search(r"\n\d+ problems, \d+ warnings?\n$", out)


def test_it_writes_nothing(house):
    before = house.everything()
    house.run("doctor", "-o", "nameservers=['127.0.0.1:9']", "-o", "smarthost=127.0.0.1:9")
    assert house.everything() == before


def test_its_help_has_an_example(capsys):
    assert main(["doctor", "--help"]) == 0
    assert "mailspool doctor --json" in capsys.readouterr().out
