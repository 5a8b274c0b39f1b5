# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The init script with the real daemon: each action, when it is over, and its exit code (LSB Core 5.0 §22.2)."""

import re

import pytest

from tests.running import eventually

SOMEBODY = "games"  # a user of every Debian, with a group of the same name


@pytest.fixture
def running(host):
    host.start()
    return host


def wrong(host):
    host.configure("max_hops = 0")


# --- start


def test_start_returns_when_the_daemon_answers(host):
    assert host.init("start") == (0, "mailspool: started.\n")
    assert host.call("mailspool", "status").returncode == 0


def test_the_daemon_runs_as_its_own_user(running):
    facts = dict(line.split(":\t") for line in running.run("cat", f"/proc/{running.pid}/status").splitlines())
    for what, option in ("Uid", "-u"), ("Gid", "-g"), ("Groups", "-G"):
        assert set(facts[what].split()) == set(running.run("id", option, "mailspool").split())


def test_a_second_start_is_no_error_and_starts_nothing(running):
    pid = running.pid
    assert running.init("start") == (0, f"mailspool: already running as {pid}.\n")
    assert running.pid == pid


def test_two_starts_at_once_both_succeed_and_one_daemon_runs(host):
    both = "service mailspool start & first=$!; service mailspool start; second=$?; wait $first; echo $? $second"
    assert host.run("sh", "-c", both).splitlines()[-1] == "0 0"
    assert host.init("status") == (0, f"mailspool: running as {host.pid}\n")


def test_without_the_program_start_ends_with_5(host):
    host.default("DAEMON=/nowhere/mailspoold")
    assert host.init("start") == (5, "mailspool: there is no program /nowhere/mailspoold ... failed!\n")


def test_with_a_wrong_configuration_start_ends_with_6_and_says_what_is_wrong(host):
    wrong(host)
    code, said = host.init("start")
    assert code == 6
    assert re.match(r"mailspool: /etc/mailspool/mailspool\.toml:5: max_hops: ", said)
    assert host.init("status")[0] == 3


def test_a_start_that_fails_otherwise_ends_with_1(host):
    host.run("install", "-d", "-m", "0700", "-o", "mailspool", "/run/mailspool")
    host.run("mkdir", "/run/mailspool/pid")
    assert host.init("start")[0] == 1


def test_the_options_in_the_default_file_are_for_daemon_and_check_alike(host):
    host.default('OPTIONS="-o max_hops=0"')
    code, said = host.init("start")
    assert code == 6
    assert "command line: max_hops" in said
    host.default('OPTIONS="-o max_hops=9"')
    assert host.init("start")[0] == 0


# --- stop


def test_what_runs_is_stopped_even_if_its_programs_are_gone(running):
    running.default("DAEMON=/nowhere/mailspoold", "MAILSPOOL=/nowhere/mailspool")
    assert running.init("stop") == (0, "mailspool: stopped.\n")
    assert running.init("status")[0] == 3


def test_stop_returns_when_the_daemon_is_gone(running):
    pid = running.pid
    assert running.init("stop") == (0, "mailspool: stopped.\n")
    assert not running.is_running(pid)
    assert running.init("status")[0] == 3


def test_a_second_stop_is_no_error(host):
    assert host.init("stop") == (0, "mailspool: not running.\n")


def test_a_delivery_that_does_not_end_is_cut_and_stays_in_the_spool(host, sinks):
    silent = sinks(stall="EHLO")
    host.deliver_to(silent, "shutdown_timeout = 60")
    host.default("STOP_TIMEOUT=1")
    host.start()
    assert host.sendmail("sue@example.net").returncode == 0
    eventually(lambda: silent.commands, what="a delivery")
    pid = host.pid
    code, said = host.init("stop")
    assert (code, "takes too long" in said) == (0, True)
    assert not host.is_running(pid)
    assert "sue@example.net" in host.queued()


def test_what_a_crash_left_behind_does_not_lead_to_another_process(running):
    running.run("kill", "-9", str(running.pid))
    stranger = running.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!").strip()
    running.at("/run/mailspool/pid").write_text(stranger + "\n")
    assert running.init("stop")[0] == 0
    assert running.init("status")[0] == 1
    assert running.is_running(stranger)
    assert running.init("start")[0] == 0


# --- restart and reload


def test_restart_takes_a_new_process_and_starts_one_where_there_was_none(host):
    assert host.init("restart")[0] == 0
    old = host.pid
    assert host.init("restart")[0] == 0
    assert not host.is_running(old)
    assert host.is_running(host.pid)


def test_try_restart_starts_nothing_that_was_not_running(host):
    assert host.init("try-restart") == (0, "")
    assert host.pid == 0
    old = host.start()
    assert host.init("try-restart")[0] == 0
    assert host.pid not in (0, old)


@pytest.mark.parametrize("action", ["reload", "force-reload"])
def test_a_reload_of_nothing_ends_with_7(host, action):
    assert host.init(action) == (7, "mailspool: not running ... failed!\n")


@pytest.mark.parametrize("action", ["reload", "force-reload"])
def test_a_reload_changes_what_the_running_daemon_does(host, sinks, action):
    old, new = sinks(), sinks()
    host.deliver_to(old)
    pid = host.start()
    host.deliver_to(new)
    code, said = host.init(action)
    assert (code, said.splitlines()[0]) == (0, "mailspool: reloaded")
    assert f'"{old.address}" -> "{new.address}"' in said
    assert host.pid == pid
    host.sendmail("sue@example.net")
    eventually(lambda: new.mails, what="a mail")
    assert not old.mails


def test_a_wrong_configuration_disturbs_no_running_daemon(running):
    pid = running.pid
    wrong(running)
    for action in "restart", "try-restart", "reload", "force-reload":
        code, said = running.init(action)
        assert (code, "mailspool.toml:5: max_hops" in said) == (6, True)
    assert running.pid == pid
    assert running.is_running(pid)


# --- status and the rest


def test_status_tells_a_running_daemon_a_stopped_one_and_a_dead_one_apart(host):
    assert host.init("status") == (3, "mailspool: not running\n")
    pid = host.start()
    assert host.init("status") == (0, f"mailspool: running as {pid}\n")
    host.run("kill", "-9", str(pid))
    eventually(lambda: host.init("status")[0] == 1, what="status 1")
    assert host.init("start")[0] == 0


def test_who_is_not_root_changes_nothing_and_hears_so(running):
    pid = running.pid
    for action in "start", "stop", "restart", "try-restart", "reload", "force-reload":
        assert running.init(action, user=SOMEBODY) == (4, "mailspool: only root may do this ... failed!\n")
    assert running.pid == pid
    assert running.is_running(pid)


def test_status_does_not_tell_who_may_not_look_that_nothing_runs(running):
    assert running.init("status", user=SOMEBODY) == (4, "mailspool: only root may look into /run/mailspool\n")


@pytest.mark.parametrize("words", [(), ("dance",), ("start", "now"), ("-h",)])
def test_what_is_no_action_ends_with_2_and_the_usage(host, words):
    code, said = host.init(*words)
    assert code == 2
    assert said.startswith("Usage: /etc/init.d/mailspool {start|stop|")


def test_it_works_without_the_functions_of_the_lsb(host):
    host.run("rm", "/lib/lsb/init-functions")
    assert host.init("start") == (0, "mailspool: started\n")
    assert host.init("status")[0] == 0
    assert host.init("reload") == (0, "mailspool: reloaded\n")
    assert host.init("stop") == (0, "mailspool: stopped\n")
    assert host.init("reload") == (7, "mailspool: not running\n")


def test_it_is_started_in_the_usual_run_levels_and_stopped_in_the_others(host):
    links = host.run("sh", "-c", "ls -d /etc/rc?.d/*mailspool").split()
    levels = {(level, kind) for level, kind in (re.search(r"rc(.)\.d/(.)", link).groups() for link in links)}
    assert levels == {*((level, "S") for level in "2345"), *((level, "K") for level in "016")}
