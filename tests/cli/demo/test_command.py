# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The demo shows all of it, as anybody, and leaves nothing behind that nobody asked to keep."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from mailspool.cli.demo.command import Daemon
from mailspool.cli.demo.scenes import BY_SEND_MAIL, BY_SENDMAIL
from mailspool.config.load import make
from mailspool.errors import MailspoolError
from mailspool.spool import Spool
from mailspool.store.base import State

NOBODY = 65534
LIMIT = 90  # seconds until a demo that hangs fails
COMMAND = ["-c", "import sys; from mailspool.cli.admin import main; sys.exit(main(['demo', *sys.argv[1:]]))"]


class Run(NamedTuple):
    code: int
    out: str
    err: str
    folder: Path  # its temporary directory


def environ(**more):
    """What we see ourselves, but no configuration where one might be looked for."""
    return {**os.environ, "PYTHONPATH": ":".join(sys.path), "MAILSPOOL_CONFIG": "/nonexistent", **more}


def start(folder, *words, python=sys.executable, user=None):
    """A demo whose temporary files stand in `folder`."""
    folder.mkdir()
    who = {}
    if user is not None:
        os.chown(folder, user, user)
        who = {"user": user, "group": user, "extra_groups": []}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([python, *COMMAND, *words], env=environ(TMPDIR=str(folder)), text=True, **pipes, **who)


def finish(process, folder):
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return Run(process.returncode, out, err, folder)


@pytest.fixture(scope="module")
def parent():
    """A directory with a short name, since sockets stand in it, below which anybody may have directories."""
    with tempfile.TemporaryDirectory(prefix="demo", dir="/tmp") as parent:
        Path(parent).chmod(0o711)
        yield Path(parent)


@pytest.fixture(scope="module")
def anybody():
    """An interpreter that somebody who is not root can run, and that somebody; None: we are not root ourselves."""
    if os.geteuid():
        return sys.executable, None
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", "import mailspool.cli.demo.command"]
        with suppress(OSError):
            if not subprocess.run(command, env=environ(), user=NOBODY, group=NOBODY, capture_output=True).returncode:
                return python, NOBODY
    pytest.skip(f"user {NOBODY} can run no interpreter with mailspool: {sys.executable} is closed to others")


@pytest.fixture(scope="module")
def runs(parent):
    """Two at once, since most of their time they wait: one that keeps, and one that does not."""
    started = {words: start(parent / f"demo{words}", *words.split()) for words in ("--keep", "")}
    return {words: finish(process, parent / f"demo{words}") for words, process in started.items()}


@pytest.fixture(scope="module")
def kept(runs):
    return runs["--keep"]


@pytest.fixture(scope="module")
def tidy(runs):
    return runs[""]


@pytest.fixture(scope="module")
def house(kept):
    """The folder that was kept."""
    (folder,) = kept.folder.iterdir()
    return folder


# --- a whole performance


@pytest.mark.slow
def test_it_ends_well_and_nothing_is_lost(tidy):
    assert (tidy.code, tidy.err) == (0, "")
    assert re.search(r"12 messages to 15 recipients: \d+ delivered, 3 bounced, \d+ waiting, 0 lost", tidy.out)


@pytest.mark.slow
def test_it_leaves_nothing_behind(tidy):
    assert list(tidy.folder.iterdir()) == []


@pytest.mark.slow
def test_no_line_is_wider_than_a_terminal(tidy):
    assert max(map(len, tidy.out.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize(
    "end",
    [
        r"A silent host +dora@silent.test +bounce arrived after 4 days 4 h, 7 attempts",
        r"Three friends +gus@grey.test +delivered after .*, [23] attempts",
        r"A wrong address +nobody@good.test +bounce arrived after",
        r"A full mailbox +ines@full.test +waits in tier 1, next look in 30 min",
        r"Good morning +bob@good.test +delivered after",
    ],
)
def test_every_message_comes_to_its_own_end(tidy, end):
    assert re.search(end, tidy.out)


@pytest.mark.slow
def test_anybody_may_run_it(parent, anybody):
    python, user = anybody
    folder = parent / "anybody"
    run = finish(start(folder, python=python, user=user), folder)
    assert (run.code, run.err, list(folder.iterdir())) == (0, "", [])


# --- what is kept


@pytest.fixture
def waiting(house):
    """The node that waits; on a very busy machine there may be others."""
    spool = Spool.from_config(str(house / "mailspool.toml"))
    return next(node for node in map(spool.node_at, spool.store.locations()) if node.to == "ines@full.test")


@pytest.mark.slow
def test_what_is_kept_is_a_spool_with_the_message_that_waits(kept, house, waiting):
    assert (waiting.location.state, waiting.location.tier) == (State.QUEUED, 1)
    assert f"cd {house}\n" in kept.out
    assert f"mailspool -c mailspool.toml why {waiting.id}" in kept.out


@pytest.mark.slow
def test_the_time_of_what_is_kept_is_the_real_time(waiting):
    assert 0 <= waiting.age < 3600


@pytest.mark.slow
def test_all_its_processes_have_ended(kept, house):
    assert kept.code == 0
    log = (house / "log").read_text()
    assert "stopped" in log.splitlines()[-1]
    for pid in set(re.findall(r"^mailspool\[(\d+)\]", log, re.MULTILINE)):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.mark.slow
def test_mail_to_anywhere_else_would_not_leave_this_machine(house):
    settings = Spool.from_config(str(house / "mailspool.toml")).settings
    assert settings.routes["*"].startswith("127.0.0.1:")


# --- when it does not go well


def test_an_interrupt_ends_and_removes_everything(parent):
    process = start(parent / "interrupted")
    while "sent" not in process.stdout.readline():
        pass
    pids = {int(path.name) for path in Path("/proc").glob("[0-9]*") if parent_of(path) == process.pid}
    process.send_signal(signal.SIGINT)
    run = finish(process, parent / "interrupted")
    assert (run.code, list(run.folder.iterdir())) == (-signal.SIGINT, [])
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def parent_of(path):
    try:
        return int(re.search(r"^PPid:\s*(\d+)", (path / "status").read_text(), re.MULTILINE)[1])
    except OSError:
        return 0


def test_a_daemon_that_cannot_start_has_the_last_word(tmp_path, capfd):
    (tmp_path / "file").touch()
    spool = Spool(make(dequeue_dir=f"{tmp_path}/spool", run_dir=f"{tmp_path}/file/run", user="root"))
    with (
        capfd.disabled(),  # its output is a file descriptor's, not an object's
        closing(Daemon(spool, tmp_path / "log")) as daemon,
        pytest.raises(MailspoolError, match=r"(?s)ended by itself.*run_dir: cannot"),
    ):
        listen_for_ever(daemon)


def listen_for_ever(daemon):
    while True:
        daemon.log()


def test_help_says_what_it_is():
    assert "--keep" in subprocess.run([sys.executable, *COMMAND, "--help"], capture_output=True, text=True).stdout


def test_no_two_scenes_are_taken_for_each_other():
    assert len({scene.message_id for scene in (*BY_SEND_MAIL, *BY_SENDMAIL)}) == 12
