# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool` promises its administrator: it tells why, does what was asked and no more, and says what is next."""

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mailspool.cli.admin import mailspool, main

READ_ONLY = [
    *(["queue"], ["queue", "--json"], ["queue", "--from", "@example.org", "--held", "--count"]),
    *(["status"], ["status", "--json"], ["ps"], ["check"], ["why", "0NONE"], ["completion", "bash"]),
]
CHANGES = ["hold", "release", "retry", "delete", "bounce", "expire"]


# --- all commands


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("quue", "there is no command 'quue'; mailspool queue is the nearest"),
        ("flush", "there is no command 'flush'; mailspool retry is the nearest"),
        ("xyzzy", "there is no command 'xyzzy'"),
    ],
)
def test_a_command_that_is_not_there_is_refused_with_the_nearest(house, word, told):
    ran = house.run(word)
    assert (ran.code, ran.err.splitlines()[-1]) == (64, f"Error: {told}")


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


# --- without a supervisor


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
