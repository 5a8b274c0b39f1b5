# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Children that do something at once, or that hang: each result comes back, and nobody outlives its time or parent."""

import os
import pwd
import select
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from mailspool.cli.mount import crew
from mailspool.errors import ClaimLost, SpoolError
from tests.running import ENVIRONMENT, children_of, eventually, is_running

SECONDS = 30.0


def test_what_each_returns_comes_back_in_order_as_its_type():
    assert crew.race([partial(int, n) for n in range(8)], int, SECONDS) == list(range(8))
    assert crew.call(lambda: {"a": ("b", 1.5)}, dict[str, tuple[str, float]], SECONDS) == {"a": ("b", 1.5)}


def test_more_than_a_pipe_holds_comes_back():
    assert crew.race([lambda: "x" * 1_000_000] * 3, str, SECONDS) == ["x" * 1_000_000] * 3


def test_none_begins_before_all_are_there(tmp_path):
    def begin(number):
        (tmp_path / str(number)).touch()

    start, seen = crew._start, []

    def slow(*arguments):
        seen.append(os.listdir(tmp_path))
        return start(*arguments)

    crew_start, crew._start = crew._start, slow
    try:
        crew.race([partial(begin, n) for n in range(5)], None, SECONDS)
    finally:
        crew._start = crew_start
    assert seen == [[]] * 5
    assert len(os.listdir(tmp_path)) == 5


def test_an_error_of_ours_keeps_its_words_and_a_bug_tells_what_it_was():
    def lose():
        raise ClaimLost("it is gone")

    with pytest.raises(SpoolError, match=r"^it is gone$"):
        crew.call(lose, None, SECONDS)
    with pytest.raises(SpoolError, match=r"^ZeroDivisionError: "):
        crew.call(lambda: 1 // 0, None, SECONDS)


def test_one_that_is_killed_is_an_error():
    with pytest.raises(SpoolError, match="was killed"):
        crew.call(lambda: os.kill(os.getpid(), signal.SIGKILL), None, SECONDS)


def test_one_that_hangs_is_given_up_and_killed():
    pids = os.pipe()

    def hang():
        os.write(pids[1], b"%d\n" % os.getpid())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(SECONDS)

    with pytest.raises(crew.NoAnswer, match=r"no result within 0.5 s: the file server does not answer"):
        crew.race([hang, partial(int, 1)], None, 0.5)
    with os.fdopen(pids[0]) as file:
        os.close(pids[1])
        assert not is_running(int(file.readline()))


def test_children_of_children_end_with_the_first_of_them(tmp_path):
    script = f"""
import os, time
from mailspool.cli.mount import crew
def hang():
    open({str(tmp_path / "pid")!r} + str(os.getpid()), "w").close()
    time.sleep(60)
crew.call(lambda: crew.race([hang, hang], None, 60), None, 60)
"""
    with subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT) as process:
        eventually(lambda: len(os.listdir(tmp_path)) == 2)
        process.kill()
    pids = [int(name.removeprefix("pid")) for name in os.listdir(tmp_path)]
    eventually(lambda: not any(map(is_running, pids)))


def test_root_has_it_done_by_the_user():
    nobody = pwd.getpwnam("nobody")
    assert crew.call(os.geteuid, int, SECONDS, nobody) == nobody.pw_uid
    assert os.geteuid() == 0


def test_an_interrupt_is_never_lost_whenever_it_comes():
    """Python drops what its hooks around a fork raise."""
    script = """
from functools import partial
from mailspool.cli.mount import crew
while True:
    try:
        print("begun", flush=True)
        while True:
            crew.race([partial(int, 1)] * 4, int, 30)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            for number in range(60):
                assert process.stdout.readline() == "begun\n"
                time.sleep(number % 20 / 1000)  # any moment will do
                process.send_signal(signal.SIGINT)
                assert select.select([process.stdout], [], [], SECONDS)[0], "the interrupt was lost"
                assert process.stdout.readline() == "interrupted\n"
        finally:
            process.kill()


def test_no_descriptor_and_no_zombie_is_left():
    before, children = os.listdir("/proc/self/fd"), children_of(os.getpid())
    for _ in range(3):
        crew.race([partial(int, 1)] * 3, int, SECONDS)
        with pytest.raises(SpoolError):
            crew.call(lambda: 1 // 0, None, SECONDS)
    assert os.listdir("/proc/self/fd") == before
    assert set(children_of(os.getpid())) <= set(children)
