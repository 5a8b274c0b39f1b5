# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool` promises its administrator: it tells why, does what was asked and no more, and says what is next."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from mailspool.cli import text
from mailspool.cli.admin import mailspool, main
from mailspool.store import nodename
from mailspool.store.base import State
from mailspool.store.claim import this_owner
from mailspool.store.filesystem import FileStore

READ_ONLY = [
    *(["queue"], ["queue", "--json"], ["queue", "--from", "@example.org", "--held", "--count"]),
    *(["status"], ["status", "--json"], ["ps"], ["check"], ["why", "0NONE"], ["completion", "bash"]),
]
CHANGES = ["hold", "release", "retry", "delete", "bounce", "expire"]


# --- all commands


@pytest.mark.parametrize("words", READ_ONLY, ids=" ".join)
def test_what_only_looks_writes_nothing(house, words):
    message, at = house.node()
    house.fall_back(at, 1)
    house.claim(house.node()[1])
    house.hold(house.node()[1])
    house.store.quarantine(house.node()[1], "a reason")
    before = house.everything()
    house.run(*words)
    house.run("why", message)
    assert house.everything() == before


@pytest.mark.parametrize(
    "words", [["queue"], ["status"], ["why", "X"], *([command, "X"] for command in CHANGES)], ids=" ".join
)
def test_a_spool_that_is_not_there_is_named_and_not_made(bare, words):
    before = bare.everything()
    ran = bare.run(*words)
    assert (ran.code, ran.out) == (75, "")
    assert ran.err == (
        f"mailspool: there is no spool at {bare.root}/spool: start mailspoold, which makes it,"
        " or name the configuration of another with -c FILE\n"
    )
    assert bare.everything() == before


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "{file}", "queue"],
        ["queue", "-c", "{file}"],
        ["queue", "--config={file}"],
        ["--config", "{file}", "queue"],
    ],
    ids=" ".join,
)
def test_the_configuration_may_be_named_before_the_command_or_behind(house, capsys, words):
    message, _ = house.node()
    assert main([word.format(file=house.config) for word in words]) == 0
    assert message in capsys.readouterr().out


def test_the_environment_names_the_configuration_otherwise(house, capsys, monkeypatch):
    message, _ = house.node()
    monkeypatch.setenv("MAILSPOOL_CONFIG", str(house.config))
    assert main(["queue"]) == 0
    assert message in capsys.readouterr().out
    assert main(["check"]) == 0
    assert f"ok: {house.config}\n" in capsys.readouterr().out


def test_overrides_count_before_the_command_and_behind_and_the_last_one_wins(house, capsys):
    words = ["-o", "dequeue_dir=/nowhere/1", "queue", "-c", str(house.config), "-o", "dequeue_dir=/nowhere/2"]
    assert main(words) == 75
    assert "/nowhere/2:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nonsense"], ["queue", "--nonsense"], ["why"], ["queue", "--older", "5"]])
def test_a_command_line_that_makes_no_sense_ends_with_64(house, words):
    ran = house.run(*words)
    assert (ran.code, ran.out) == (64, "")
    assert ran.err


def test_a_wrong_configuration_ends_with_78_and_every_fault(house):
    ran = house.run("queue", "-o", "dequeue_timeout=never", "-o", "smart_host=x")
    assert ran.code == 78
    assert [line.split(": ")[2] for line in ran.err.splitlines()] == ["dequeue_timeout", "smart_host"]


@pytest.mark.parametrize("name", mailspool.list_commands(click.Context(mailspool)))
def test_the_help_of_each_command_has_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    assert re.search(rf"(?s)(Example|Where to put it).* mailspool {name}", capsys.readouterr().out)


def test_the_help_lists_the_exit_codes_and_the_version_is_told(capsys):
    context = click.Context(mailspool, info_name="mailspool")
    assert "demo" in mailspool.list_commands(context)
    assert "64  the command line makes no sense" in mailspool.epilog
    assert set(CHANGES) <= set(mailspool.list_commands(context))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mailspool, version ")


def test_a_listing_loads_nothing_of_the_door_out_nor_what_draws_tables(house):
    house.node()
    code = (
        "import sys; from mailspool.cli.admin import main; main(sys.argv[1:]);"
        "print(sorted(set(sys.modules) & {'dns', 'rich', 'structlog', 'daemon', 'mailspool.delivery',"
        "'mailspool.smtp', 'mailspool.tls', 'mailspool.cli.demo'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code, "-c", house.config, "queue"], capture_output=True, check=True)
    assert ran.stdout.endswith(b"\n[]\n")


@pytest.mark.parametrize("words", [["queue"], ["plan"], ["check"], ["config"], ["--help"]], ids=" ".join)
def test_output_that_finds_no_room_is_a_local_fault_in_one_line(house, words):
    house.send("sue@example.net")
    command = [sys.executable, str(Path(__file__).parents[2] / "bin/mailspool"), "-c", str(house.config), *words]
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "mailspool: cannot write to standard output: No space left on device\n"
    assert (ran.returncode, ran.stderr) == (75, said)


def test_a_reader_that_leaves_early_is_no_fault(house):
    for _ in range(3):
        house.send(*(f"r{n}@example.net" for n in range(1000)))
    words = [sys.executable, str(Path(__file__).parents[2] / "bin/mailspool"), "queue", "-c", str(house.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("words", "said"), [(["delete", "all", "--yes"], "ALL, in capitals"), (["why", "all"], "ALL")])
def test_all_in_small_letters_names_nothing_and_is_told(house, words, said):
    message = house.send("sue@example.net")
    ran = house.run(*words)
    assert (ran.code, said in ran.err) == (1, True)
    assert house.store.find(message)


def test_a_file_that_is_a_directory_is_told_in_words(bare, capsys):
    assert main(["check", "-c", str(bare.root)]) == 78
    assert capsys.readouterr().err == f"mailspool: {bare.root}: cannot be read: Is a directory: name a file\n"


# --- why


def test_why_tells_what_was_tried_and_what_came_back(house):
    message, at = house.node()
    house.fall_back(at, 1)
    out = house.run("why", message).out
    assert f"{message}.0 from <joe@example.org> to <sue@example.net>" in out
    assert "tier 0: status 4.7.1 after 1.5s, mx.example.net[192.0.2.1]:25:" in " ".join(out.split())
    assert "      451 4.7.1 Greylisted, come again\n" in out


def test_why_tells_when_it_is_due_and_when_it_is_given_up(house):
    message, at = house.node()
    house.fall_back(at, 1)
    ran = house.run("why", message)
    assert re.search(r"in tier 1 since .*; due .*, in (30m|29m \d+s)\n", ran.out)
    assert re.search(r"given up in (5d|4d 23h) \(max_age\), or once it has failed another 2 times\n", ran.out)
    assert "no supervisor answers here: start mailspoold" in ran.out


def test_what_why_says_is_folded_to_eighty_columns(house):
    message, at = house.node(from_=f"{'j' * 50}@example.org")
    house.fall_back(at, 2)
    lines = house.run("why", message).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "      mx.example.net[192.0.2.1]:25:" in lines


def test_why_of_the_last_tier_says_that_it_is_the_last(house):
    message, at = house.node()
    house.fall_back(at, 2)
    assert "the last tier: if it fails once more, it bounces" in house.run("why", message).out


def test_why_of_a_node_past_the_maximum_age_says_so(house):
    house.spool.now = lambda: 1_700_000_000.0
    message, _ = house.node()
    out = house.run("why", message).out
    assert "due now" in out
    assert "older than max_age (5d): if it fails once more, it bounces" in out


def test_why_of_a_claimed_node_names_the_owner(house):
    message, at = house.node()
    house.claim(at)
    assert f"claimed out of tier 0 by process {os.getpid()} on {this_owner().host}\n" in house.run("why", message).out


def test_why_of_a_dead_owners_claim_says_when_it_returns(house):
    message, at = house.node()
    dead = this_owner()._replace(start=1)
    FileStore(house.store.root, dead).claim(at, "w3.1")
    out = house.run("why", message).out
    assert f"claimed out of tier 0 by worker 3 of the supervisor {dead.pid}" in out
    assert "which has ended: it returns to its tier when mailspoold is started here" in out


def test_why_of_a_sealed_claim_says_that_it_is_too_late(house):
    message, at = house.node()
    house.store.seal(house.claim(at))
    assert "\n  past its final dot: the host may have it, and it is too late" in house.run("why", message).out


def test_why_of_what_a_dead_owner_sealed_warns_of_a_second_copy(house):
    message, at = house.node()
    dead = FileStore(house.store.root, this_owner()._replace(start=1))
    dead.seal(dead.claim(at, "w3.1"))
    out = house.run("why", message).out
    assert "which has ended: it returns to its tier" in out
    assert "and would then get a second copy" in out


def test_why_of_quarantine_tells_the_reason_and_the_way_back(house):
    message, at = house.node()
    house.store.quarantine(at, "not liked")
    out = house.run("why", message).out
    assert "in quarantine: not liked" in out
    assert house.run(*out.splitlines()[-1].split()[1:]).code == 0
    assert [now.state for now in house.store.find(message)] == [State.QUEUED]
    assert os.listdir(house.root / "spool/quarantine") == []


def test_why_of_a_held_node_tells_the_way_back(house):
    message, at = house.node()
    house.hold(at)
    out = house.run("why", f"{message}.0").out
    assert "held, out of tier 0" in out
    assert house.run(*out.splitlines()[-1].split()[1:]).code == 0
    assert [now.state for now in house.store.find(message)] == [State.QUEUED]


def test_why_of_one_node_leaves_out_its_siblings(house):
    message = house.send("sue@example.net", "bob@example.com")
    out = house.run("why", f"{message}.1").out
    assert "bob@example.com" in out
    assert "sue@example.net" not in out


def test_why_of_an_unknown_id_ends_with_1_and_points_to_the_log(house):
    ran = house.run("why", "0NOSUCH")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("mailspool: 0NOSUCH names no node in this spool: ")
    assert "look for it in the log" in ran.err


# --- status, reload, check


def test_status_without_a_supervisor_ends_with_3_and_shows_the_depths(house):
    house.node()
    failed, at = house.node()
    house.fall_back(at, 2)
    house.claim(house.node()[1])
    ran = house.run("status")
    assert ran.code == 3
    assert ran.err == f"mailspool: no supervisor answers in {house.root}/run: mailspoold\n"
    assert [re.sub(r"\d+s", "AGE", line).split() for line in ran.out.splitlines()] == [
        ["TIER", "NODES", "OLDEST"],
        ["0", "1", "AGE"],
        ["1", "0"],
        ["2", "1", "AGE"],
        ["claimed:", "1,", "held:", "0,", "quarantined:", "0"],
        [f"{failed}.0", "example.net,", "AGE", "ago:", "451", "4.7.1", "Greylisted,", "come", "again"],
    ]


def test_status_shows_tiers_beyond_the_configured_ones_and_json_has_it_all(house):
    house.fall_back(house.node()[1], 7)
    ran = house.run("status", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["supervisor"]) == (3, None)
    assert [tier["tier"] for tier in found["spool"]["tiers"]] == [0, 1, 2, 7]
    assert found["spool"]["tiers"][3]["nodes"] == 1
    assert found["spool"]["tiers"][0] == {"tier": 0, "nodes": 0, "oldest": None}


def test_a_node_that_is_due_by_hand_has_no_age_in_its_tier(house):
    house.node()
    house.run("retry", "ALL")
    assert json.loads(house.run("status", "--json").out)["spool"]["tiers"][0]["oldest"] is None


def test_the_last_errors_are_the_newest(house):
    clock = iter(range(10**6))
    house.spool.now = lambda: 1_800_000_000.0 + next(clock)
    failed = [house.fall_back(house.node(f"sue@d{n}.example")[1], 1, text=f"451 4.0.{n} no") for n in range(5)]
    errors = json.loads(house.run("status", "--json").out)["last_errors"]
    assert [error["node"] for error in errors] == [nodename.node_id_of(at.name) for at in failed[:1:-1]]
    assert [error["text"] for error in errors] == ["451 4.0.4 no", "451 4.0.3 no", "451 4.0.2 no"]
    assert errors[0]["destination"] == "d4.example"
    house.run("retry", "ALL")
    assert json.loads(house.run("status", "--json").out)["last_errors"][0]["node"] == errors[0]["node"]


@pytest.mark.parametrize("words", [["ps"], ["ps", "--json"]], ids=" ".join)
def test_ps_without_a_supervisor_ends_with_69(house, words):
    ran = house.run(*words)
    assert (ran.code, ran.out) == (69, "")
    assert "is mailspoold running?" in ran.err


@pytest.mark.parametrize("words", [["ps"], ["reload"], ["queue"], ["status"], ["retry", "ALL"]], ids=" ".join)
def test_who_may_not_look_is_told_to_ask_as_root_and_ends_with_77(house, monkeypatch, words):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(house.root).st_uid + 1)
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    ran = house.run(*words)
    assert (ran.code, ran.out) == (77, "")
    assert "as root" in ran.err
    assert "running" not in ran.err


def _refuse(*_):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_reload_without_a_supervisor_ends_with_69(house):
    ran = house.run("reload")
    assert (ran.code, ran.out) == (69, "")
    assert "is mailspoold running?" in ran.err


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


# --- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (11400, "3h 10m"), (86400, "1d"), (90000, "1d 1h")],
)
def test_a_span_is_told_in_its_two_largest_units(seconds, said):
    assert text.span(seconds) == said
    assert text.span(seconds, units=1) == said.split()[0]


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0"), (999, "999"), (1000, "1.0K"), (20480, "20K"), (1 << 20, "1.0M"), (5 << 40, "5120G")]
)
def test_a_size_is_told_in_few_characters(number, said):
    assert text.octets(number) == said
