# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What `mailspool` promises beside a running supervisor. Its dice practically never fall; who greets says no more."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailspool.errors import NotRunning
from mailspool.store import nodename
from mailspool.store.base import State
from mailspool.supervisor import control

BIN = Path(__file__).parents[2] / "bin"
PATIENCE = 30.0  # seconds; nothing takes so long unless something is broken


def until(what):
    """Its first true answer."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if found := what():
            return found
        time.sleep(0.02)
    pytest.fail(f"in vain waited for {what}")


@pytest.fixture
def silent(sinks):
    """A host of many addresses that greets and never says another word."""
    return sinks(host="0.0.0.0", stall="EHLO")


@pytest.fixture
def house(make_house, silent):
    house = make_house(silent.port)
    house.spool.create_dequeue_dirs()
    return house


@contextmanager
def running(house):
    """Inside it a supervisor runs."""
    words = [sys.executable, str(BIN / "mailspoold"), "-f", "-c", str(house.config)]
    with (
        (house.root / "log").open("wb") as log,
        subprocess.Popen(words, stderr=log, start_new_session=True) as process,
    ):  # without a terminal, as a daemon
        try:
            until(lambda: answers(house) or process.poll() is not None)
            assert process.poll() is None, (house.root / "log").read_text()
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def answers(house):
    try:
        return control.ask(house.spool.settings.run_dir, "status")
    except NotRunning:
        return None


def stalled(house):
    workers = json.loads(answers(house))["workers"]
    return [one for one in workers if one["phase"] == "EHLO"]


def test_status_ends_with_0_and_tells_of_the_workers(house):
    with running(house):
        house.send("sue@example.net")
        (worker,) = until(lambda: stalled(house))
        ran = house.run("status")
        assert (ran.code, ran.err) == (0, "")
        assert re.match(r"supervisor \d+ looks again in [\dhms ]+\n1 worker, 0 nodes waiting .*, 0 delivered", ran.out)
        assert re.search(rf"\n{worker['worker']} +{worker['pid']} +0 +\d+s +EHLO +\S*127\.0\.0\.1", ran.out)
        assert max(map(len, ran.out.splitlines())) <= 80
        found = json.loads(house.run("status", "--json").out)
        assert found["supervisor"]["workers"][0]["pid"] == worker["pid"]
        assert found["spool"]["claimed"] == 1


def test_ps_lists_each_process_with_what_it_is_at(house):
    with running(house):
        message, _ = house.node()
        (worker,) = until(lambda: stalled(house))
        supervisor = json.loads(answers(house))["pid"]
        ran = house.run("ps")
        assert (ran.code, ran.err) == (0, "")
        heading, first, *rest = ran.out.splitlines()
        assert heading.split() == ["PID", "ROLE", "TIER", "FOR", "PHASE", "DESTINATION", "HOST"]
        assert first.split() == [str(supervisor), "supervisor"]
        (line,) = [line for line in rest if " worker " in line]
        assert re.match(rf"{worker['pid']} +worker +0 +\d+s +EHLO +\S*127\.0\.0\.1", line)
        found = [json.loads(line) for line in house.run("ps", "--json").out.splitlines()]
        (one,) = [one for one in found if one["role"] == "worker"]
        assert (one["pid"], one["tier"], one["nodes"]) == (worker["pid"], 0, [f"{message}.0"])


def test_status_on_a_terminal_is_one_screen(house, silent):
    seven = {
        "dequeue_periods = [0, 1800, 14400]": f"dequeue_periods = {[0, *[1800] * 6]}\nmax_dequeue_processes = 60",
        "dequeue_priority = [1, 1000000, 1000000]": f"dequeue_priority = {[1] * 7}\nmax_per_destination = 20",
    }
    config = house.config.read_text()
    for three, more in seven.items():
        config = config.replace(three, more)
    port = silent.port
    routes = (f'routes."d{n}.example" = "127.0.1.{n + 1}:{port}"\n' for n in range(30))
    house.config.write_text(config + "".join(routes))
    for n in range(30):
        house.fall_back(house.node(f"sue@d{n}.example")[1], 1 + n % 6, text=f"451 4.0.0 {'no room ' * 20}")
    with running(house):
        house.run("retry", "ALL")
        until(lambda: len(stalled(house)) > 5)
        out = house.on_terminal("status", NO_COLOR="1").out
        assert len(out.splitlines()) < 24
        assert max(map(len, out.splitlines())) <= 80
        assert re.search(r"\nand \d+ more workers?: mailspool ps\n", out)


def test_status_and_why_name_the_rule_that_holds_a_message_back(house):
    house.config.write_text(house.config.read_text() + 'limits."*" = { concurrency = 1 }\n')
    with running(house):
        house.send("sue@example.net")
        until(lambda: stalled(house))
        second = house.send("joe@example.net")
        until(lambda: "held back by concurrency: " in house.run("why", second).out)
        assert "all connections that limits.* grants are in use (1)" in " ".join(house.run("why", second).out.split())
        assert re.search(r"\nheld back: \S+ \(concurrency\)\n", house.run("status").out)
        (reason,) = json.loads(house.run("why", "--json", second).out)["reasons"]
        assert reason["rule"] == "concurrency"


def test_a_node_that_is_being_delivered_is_explained_and_not_retried(house):
    with running(house):
        message = house.send("sue@example.net")
        until(lambda: stalled(house))
        out = house.run("why", message).out
        assert re.search(r"\n  claimed out of tier 0 by worker \d+ of the supervisor \d+ on ", out)
        assert re.search(r"\n  in phase EHLO with \S*127\.0\.0\.1\S* for \d+s\n", out)
        assert house.run("retry", message).code == 1
        assert [at.state for at in house.store.find(message)] == [State.CLAIMED]


def test_why_tells_what_the_dice_give(house):
    message, at = house.node()
    house.fall_back(at, 1)
    with running(house):
        out = house.run("why", message, "-o", "dequeue_priority=[1, 9, 25]", "-o", "dequeue_timeout=20").out
    assert "  then a look comes within 2m 50s on average, within 8m 29s in 95% of cases\n" in out


def test_retry_has_the_supervisor_look_into_every_tier_without_dice(house):
    message, at = house.node()
    house.fall_back(at, 2)
    with running(house):
        assert house.run("retry", message) == (0, "1 node due now, and the supervisor looks\n", "")
        (claim,) = until(lambda: [at for at in house.store.find(message) if at.state is State.CLAIMED])
        assert (claim.tier, nodename.parse(nodename.split_claim(claim.name)[0]).time) == (2, 0)


def test_reload_takes_a_good_configuration_and_tells_every_fault_of_a_wrong_one(house):
    ours = house.root / "ours.toml"
    ours.write_text(house.config.read_text())
    with running(house):
        assert house.run("reload") == (0, "reloaded\n", "")
        house.config.write_text(ours.read_text().replace('user = "root"', 'user = "somebody"'))
        said = 'reloaded\nuser: "root" -> "somebody", once mailspoold is restarted\n'
        assert house.run("reload") == (0, said, "")
        assert json.loads(house.run("status", "--json").out)["supervisor"]["generation"] == 2
        house.config.write_text(ours.read_text() + 'max_age = "1d"\n')
        assert house.run("reload") == (0, 'reloaded\nmax_age: "5d" -> "1d"\n', "")
        house.config.write_text(ours.read_text() + "max_hops = 0\nsmart_host = 1\n")
        house.config = ours
        ran = house.run("reload")
        assert (ran.code, ran.out) == (78, "")
        said = ran.err.splitlines()
        assert said[0] == "mailspool: refused, the old configuration stays:"
        assert [line.split(": ")[2] for line in said[1:]] == ["max_hops", "smart_host"]
        assert house.run("status").code == 0


def test_status_tells_of_a_pause_and_reload_ends_it(house):
    with running(house):
        pid = json.loads(answers(house))["pid"]
        os.kill(pid, signal.SIGWINCH)
        until(lambda: json.loads(answers(house))["paused"])
        assert f"supervisor {pid} is paused until HUP or 'mailspool reload'" in house.run("status").out
        assert house.run("reload").code == 0
        assert not json.loads(answers(house))["paused"]


def test_run_is_the_daemon_in_the_foreground(house):
    words = [sys.executable, str(BIN / "mailspool"), "run", "-c", str(house.config)]
    with running(house):
        ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 75
    assert re.match(r"mailspool: already running as \d+ since ", ran.stderr)


def test_a_supervisor_that_is_stopped_is_waited_for_with_a_word_on_a_terminal(house):
    with running(house):
        pid = json.loads(answers(house))["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            ran = house.on_terminal("status")
        finally:
            os.kill(pid, signal.SIGCONT)
    assert ran.code == 3
    assert "the supervisor has not answered yet" in ran.out
    assert f"the supervisor of {house.root}/run does not answer: is it stopped (T)" in ran.out
    assert "TIER" in ran.out  # the spool is shown all the same
