# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Becoming the one supervisor of a host, with the real mailspoold, in the foreground and in the background."""

import contextlib
import os
import re
import shutil
import signal
import site
import subprocess
import sys
from pathlib import Path

import pytest

from mailspool.errors import NotRunning
from mailspool.supervisor import control, trigger
from tests.running import ENVIRONMENT, ROOT, eventually, is_running, write_config

FOR_ALL = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()])}


def running_pid(run_dir):
    """The pid in the pid file, 0 if there is none."""
    file = Path(run_dir, "pid")
    return int(file.read_text()) if file.exists() else 0


def end(run_dir):
    """Whoever runs there."""
    if pid := running_pid(run_dir):  # 0 would be all of us
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_running(pid))


@pytest.fixture
def tmp_path(public_path):
    """Where the daemon's user and all others get to."""
    return public_path


@pytest.fixture
def background(properties, tmp_path):
    """background(**options): what mailspoold without -f said and ended with; the daemon is ended after the test."""
    run_dir = properties()["run_dir"]

    def start(*arguments, python=sys.executable, env=ENVIRONMENT, **options):
        write_config(tmp_path / "background.toml", properties(**options))
        return subprocess.run(
            [python, str(ROOT / "bin/mailspoold"), "-c", str(tmp_path / "background.toml"), *arguments],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=env,
        )  # fmt: skip

    yield start
    end(run_dir)


@pytest.fixture(scope="module")
def python():
    """An interpreter that another user can run with the modules of this one."""
    for each in sys.executable, "/usr/bin/python3":
        with contextlib.suppress(OSError):
            command = [each, "-c", "import encodings.ascii, dns, daemon, msgspec, mailspool.spool"]
            if not subprocess.run(command, user=1, check=False, cwd="/", env=FOR_ALL, stderr=-3).returncode:
                return each
    pytest.skip("nobody but root can run this Python")


def test_in_the_background_it_returns_when_it_is_ready(background, properties, make_spool, sink):
    done = background(sink=sink, dequeue_timeout=3600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    run_dir = properties()["run_dir"]
    assert trigger.poke(run_dir)
    pid = running_pid(run_dir)
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    make_spool(sink=sink).send_mail(to="joe@x.example", from_="me@y.example", message="Subject: x\n\nx\n")
    eventually(lambda: sink.mails)
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid))
    assert running_pid(run_dir) == 0
    with pytest.raises(NotRunning):
        control.ask(run_dir, "status")


def test_a_second_one_says_who_is_running_since_when(background, daemon):
    running = daemon()
    done = background()
    assert done.returncode == 75
    assert re.search(rf"already running as {running.pid} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", done.stderr), (
        done.stderr
    )
    assert running.answers()


def test_a_second_one_in_the_foreground_says_so_too(background, daemon):
    running = daemon()
    done = background("-f")
    assert done.returncode == 75
    assert f"already running as {running.pid}" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_a_bad_configuration_is_said_on_the_terminal(background, arguments):
    done = background(*arguments, max_dequeue_processes=0)
    assert done.returncode == 78
    assert "max_dequeue_processes" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_who_cannot_start_for_want_of_its_credentials_leaves_no_sockets_that_nobody_answers_on(
    background, arguments, properties, tmp_path
):
    done = background(*arguments, credentials_file=f"{tmp_path}/none")
    assert done.returncode == 78
    assert f"there is no file {tmp_path}/none" in done.stderr
    assert {path.name for path in Path(properties()["run_dir"]).iterdir()} == {"lock"}


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_a_spool_that_cannot_be_used_is_said_on_the_terminal(background, arguments, tmp_path):
    (tmp_path / "file").write_text("")
    done = background(*arguments, dequeue_dir=str(tmp_path / "file"))
    assert done.returncode == 75
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_an_unsafe_place_is_refused_on_the_terminal_line_by_line_with_what_mends_it(background, arguments, tmp_path):
    for name in ("spool", "run"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name).chmod(0o777)
    done = background(*arguments)
    assert done.returncode == 75
    run, spool = done.stderr.splitlines()
    assert run.endswith(
        f"run_dir: {tmp_path}/run has mode 0777, which lets others write to it: chmod 0711 {tmp_path}/run"
    )
    assert spool.endswith(f": chmod 0700 {tmp_path}/spool")


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_a_log_file_that_cannot_be_made_is_said_on_the_terminal(background, arguments, tmp_path):
    done = background(*arguments, log_file=f"{tmp_path}/nowhere/log")
    assert done.returncode == 75
    assert f"log_file: cannot make {tmp_path}/nowhere/log: " in done.stderr
    assert f"mkdir -p {tmp_path}/nowhere" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_a_run_dir_that_is_too_long_for_a_socket_is_said_on_the_terminal(background, arguments, tmp_path):
    done = background(*arguments, run_dir=f"/tmp/{'x' * 90}")
    assert done.returncode == 78
    assert "at most 80 octets" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_who_may_not_make_run_dir_is_told_what_to_do(background, arguments, tmp_path, python):
    options = {"dequeue_dir": f"{tmp_path}/d", "run_dir": f"{tmp_path}/r"}
    write_config(tmp_path / "own.toml", options)
    command = [python, str(ROOT / "bin/mailspoold"), "-c", str(tmp_path / "own.toml"), *arguments]
    done = subprocess.run(command, user=1, capture_output=True, text=True, cwd="/", env=FOR_ALL, check=False)
    assert done.returncode == 75
    assert f"run_dir: cannot make {tmp_path}/r: Permission denied: start as root, or set run_dir" in done.stderr


def test_check_tells_the_same_and_starts_nothing(background, properties, tmp_path):
    good = background("--check")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith(f"ok: {tmp_path}/background.toml\n")
    assert not (tmp_path / "spool").exists()
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    bad = background("-t")
    assert bad.returncode == 78
    assert f"chmod 0700 {tmp_path}/spool" in bad.stderr
    assert not running_pid(properties()["run_dir"])


def test_the_daemon_and_its_workers_can_gain_no_privileges_and_leave_no_core(daemon, make_spool, sinks):
    silent = sinks(greeting="hang")
    running = daemon(sink=silent, dequeue_timeout=3600)
    make_spool(sink=silent).send_mail(to="joe@x.example", from_="me@y.example", message="Subject: x\n\nx\n")
    eventually(lambda: silent.clients)
    for pid in (running.pid, *running.workers()):
        assert re.search(r"NoNewPrivs:\s+1", Path(f"/proc/{pid}/status").read_text())
        assert re.search(r"Umask:\s+0077", Path(f"/proc/{pid}/status").read_text())
        assert re.search(r"Max core file size\s+0\s+0", Path(f"/proc/{pid}/limits").read_text())


AS_A_LIBRARY = """
import os, sys
from mailspool.spool import Spool
code = Spool.from_config(sys.argv[1]).daemon()
print(code, os.geteuid(), oct(os.umask(0o22)), os.getcwd())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_program_that_starts_the_daemon_stays_what_it_is(properties, tmp_path, python):
    options = {"user": "daemon", "dequeue_dir": f"{tmp_path}/d", "run_dir": f"{tmp_path}/r"}
    write_config(tmp_path / "own.toml", properties(**options))
    command = [python, "-c", f"import os; os.umask(0o22)\n{AS_A_LIBRARY}", str(tmp_path / "own.toml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/etc", env=FOR_ALL, check=False)
    pid = running_pid(f"{tmp_path}/r")
    try:
        assert done.stdout.split() == ["0", "0", "0o22", "/etc"], done.stderr
        assert re.search(r"Uid:\s+1\s", Path(f"/proc/{pid}/status").read_text())
    finally:
        end(f"{tmp_path}/r")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_user_who_is_not_there_is_said_with_the_way_to_make_one(background):
    done = background(user="nobody-such")
    assert done.returncode == 78
    assert "adduser" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_becomes_the_user_of_the_spool_with_its_groups(background, properties, tmp_path, python):
    options = {"user": "daemon", "dequeue_dir": str(tmp_path / "d"), "run_dir": str(tmp_path / "r")}
    done = background(python=python, env=FOR_ALL, **options)
    assert done.returncode == 0, done.stderr
    pid = running_pid(str(tmp_path / "r"))
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"Uid:\s+(\d+)\s+\1\s+\1\s+\1", status)[1] == "1"
        assert re.search(r"Gid:\s+(\d+)\s+\1\s+\1\s+\1", status)[1] == "1"
        assert status.partition("Groups:")[2].partition("\n")[0].split() == ["1"]
        assert (tmp_path / "d").stat().st_uid == 1
        assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    finally:
        end(str(tmp_path / "r"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_does_not_become_a_user_who_cannot_read_the_program(background, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(ROOT / "mailspool", own / "mailspool", ignore=shutil.ignore_patterns("__pycache__"))
    own.chmod(0o700)
    env = {**FOR_ALL, "PYTHONPATH": f"{own}:{FOR_ALL['PYTHONPATH']}"}
    done = background(env=env, user="daemon", dequeue_dir=str(tmp_path / "d"), run_dir=str(tmp_path / "r"))
    assert done.returncode == 78
    assert f"'daemon' cannot read {own}/mailspool" in done.stderr
    assert not (tmp_path / "r/pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_does_not_become_a_user_who_cannot_read_what_python_loads_later(properties, tmp_path, python):
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    (closed / "os.py").touch()
    options = {"user": "daemon", "dequeue_dir": f"{tmp_path}/d", "run_dir": f"{tmp_path}/r"}
    write_config(tmp_path / "own.toml", properties(**options))
    code = (
        f"import os, sys; os.__file__ = '{closed}/os.py'\n"  # as that of an interpreter in root's own folder
        f"from mailspool.cli.mailspoold import main; sys.exit(main(['-f', '-c', '{tmp_path}/own.toml']))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd="/", env=FOR_ALL, check=False)
    assert done.returncode == 78
    assert f"user: 'daemon' cannot read {closed}: install it where everybody can" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_folder_that_keeps_the_user_of_the_spool_out_is_named_with_what_opens_it(background, public_path, python):
    closed = public_path / "closed"
    closed.mkdir(0o700)
    options = {"user": "daemon", "dequeue_dir": f"{closed}/d", "run_dir": f"{closed}/r"}
    done = background("-f", python=python, env=FOR_ALL, **options)
    assert done.returncode == 75
    assert done.stderr == "".join(
        f"mailspoold: {option}: {closed} is closed to daemon: chmod a+x {closed}\n"
        for option in ("run_dir", "dequeue_dir")
    )


def test_the_pid_file_is_there_while_it_runs(daemon):
    running = daemon()
    assert running_pid(running.run_dir) == running.pid
    assert running.stop() == 0
    assert running_pid(running.run_dir) == 0
    assert not Path(running.run_dir, "control").exists()


def test_what_a_killed_one_left_in_run_dir_is_not_in_the_way(daemon):
    running = daemon()
    running.kill()
    assert Path(running.run_dir, "pid").exists()
    assert Path(running.run_dir, "control").exists()
    running.start()
    assert running.stop() == 0


def test_the_control_socket_is_for_its_user_alone(daemon):
    assert Path(daemon().run_dir, "control").stat().st_mode & 0o777 == 0o600


def test_a_poke_where_nobody_listens_is_no_error(tmp_path):
    assert not trigger.poke(str(tmp_path))
    with pytest.raises(NotRunning, match="is mailspoold running"):
        control.ask(str(tmp_path), "status")


def test_a_worker_that_dies_after_the_start_writes_nothing_to_the_terminal_of_long_ago(background, properties):
    background(dequeue_timeout=3600)
    pid = running_pid(properties()["run_dir"])
    links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
    assert links == {"/dev/null"}


LATE = """
import os, sys
from mailspool import log
from mailspool.supervisor import daemonize
def serve(ready):
    ready()
    taken = open(sys.argv[1], "wb", 0)  # the descriptor that is free now
    os.dup2(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w")
    log.configure("info", "stderr", "late")
    raise RuntimeError("too late for the terminal")
sys.exit(daemonize.in_background(serve))
"""


def test_an_error_after_the_start_goes_to_the_log_and_into_no_file_of_the_daemon_s(tmp_path):
    taken, said = tmp_path / "taken", tmp_path / "said"
    command = [sys.executable, "-c", LATE, str(taken), str(said)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, b"")
    eventually(lambda: said.exists() and "too late for the terminal" in said.read_text())
    assert taken.read_bytes() == b""


def test_a_bad_reload_keeps_the_old_configuration_and_the_daemon(daemon, make_spool, sink):
    running = daemon(sink=sink, dequeue_timeout=3600)
    running.config.write_text("max_dequeue_processes = 0\n")
    running.send(signal.SIGHUP)
    eventually(lambda: "reload refused" in running.log)
    make_spool(sink=sink).send_mail(to="joe@x.example", from_="me@y.example", message="Subject: x\n\nx\n")
    eventually(lambda: sink.mails)


def test_a_good_reload_counts_at_once_and_says_what_needs_a_restart(daemon, make_spool, sinks):
    old, new = sinks(), sinks()
    running = daemon(sink=old, dequeue_timeout=3600)
    write_config(running.config, {**running.properties, "smarthost": new.address, "dequeue_dir": "/somewhere/else"})
    running.send(signal.SIGHUP)
    eventually(lambda: "unchanged until the next restart" in running.log and "reloaded" in running.log)
    make_spool(sink=new).send_mail(to="joe@x.example", from_="me@y.example", message="Subject: x\n\nx\n")
    eventually(lambda: new.mails)
    assert old.accepted == 0
