# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Files and standard error as ways out: nobody's not reading holds anybody up, and each lost line is counted."""

import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from mailspool import log
from mailspool.log import writer
from mailspool.log.entry import make_entry
from tests.running import ENVIRONMENT, ROOT


@pytest.fixture
def path(tmp_path):
    yield str(tmp_path / "mail.log")
    log.configure(stream="stderr")


def lines(path):
    with open(path) as file:
        return file.read().splitlines()


def entry(name):
    return make_entry("info", "mailspool", 0.0, {"event": name})


def test_a_log_file_is_made_for_its_user_alone_and_appended_to(path):
    log.configure(file=path)
    log.record("one", level="warning")
    log.configure(file=path)
    log.record("two")
    first, second = lines(path)
    assert first.endswith(f" {os.uname().nodename} mailspool[{os.getpid()}]: warning: one")
    assert second.endswith("]: two")
    assert os.stat(path).st_mode & 0o077 == 0


def test_a_log_file_may_be_of_json(path):
    log.configure(file=path, form="json")
    log.get_logger().error("fell over", tier=3)
    found = json.loads(lines(path)[0])
    assert (found["event"], found["level"], found["tier"]) == ("fell over", "error", 3)


def test_a_renamed_log_file_is_written_on_until_reopen_begins_the_new_one(path):
    log.configure(file=path)
    log.record("one")
    os.rename(path, f"{path}.1")
    log.record("two")
    log.reopen()
    log.record("three")
    assert [line[-3:] for line in lines(f"{path}.1")] == ["one", "two"]
    assert [line[-5:] for line in lines(path)] == ["three"]
    assert log.drops() == 0


REOPENING = """
import signal, sys
from mailspool import log
log.configure(file=sys.argv[1])
signal.signal(signal.SIGALRM, lambda *_: log.reopen())
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.001)
for number in range(5000):
    log.record("line", number=number)
signal.setitimer(signal.ITIMER_REAL, 0)
assert not log.drops()
"""


def test_reopen_may_come_in_the_midst_of_any_line_and_loses_none(path):
    subprocess.run([sys.executable, "-c", REOPENING, path], check=True, cwd=ROOT, env=ENVIRONMENT)
    numbers = [int(line.rpartition("=")[2]) for line in lines(path)]
    assert list(dict.fromkeys(numbers)) == list(range(5000))


@pytest.mark.parametrize("what", ["a directory", "a FIFO", "a link", "no folder"])
def test_where_the_log_file_cannot_be_one_lines_go_to_syslog_or_standard_error_and_say_why(what, path, tmp_path, capfd):
    match what:
        case "a directory":
            os.mkdir(path)
        case "a FIFO":
            os.mkfifo(path)
        case "a link":
            os.symlink(tmp_path / "elsewhere", path)
        case "no folder":
            path = f"{path}/x"
    log.configure(file=path, path=str(tmp_path / "no-syslog"))
    log.record("one")
    said = capfd.readouterr().err.splitlines()
    assert "no syslog at " in said[0]
    assert f"no log file {path} (" in said[1]
    assert said[2].endswith("]: one")
    assert log.drops() == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_told_and_the_file_is_gone_on_with_once_there_is_room(capfd, tmp_path):
    out = writer.LogFile(str(tmp_path / "log"), "line", writer.Stderr("line"))
    real = out._open
    out._open = lambda: os.open("/dev/full", os.O_WRONLY)
    out.write(entry("one"))
    out._open = real
    out.write(entry("two"))
    assert "(No space left on device): lines come here" in capfd.readouterr().err
    assert lines(tmp_path / "log")[0].endswith("two")


def test_sendmail_that_may_not_write_the_log_file_keeps_quiet_and_counts(path, tmp_path, capfd):
    log.configure(stream="quiet", file=f"{path}/x", path=str(tmp_path / "no-syslog"))
    log.record("one")
    assert capfd.readouterr().err == ""
    assert log.drops()


FLOOD = """
import sys, time
from mailspool import log
from mailspool.log import writer
log.configure(stream="stderr")
begin = time.monotonic()
for number in range(3000):
    log.record("flood " + "x" * 900, number=number)
print(log.drops(), time.monotonic() - begin, flush=True)
sys.stdin.read(1)
log.record("through")
"""


@pytest.mark.parametrize("reopened", [True, False])
def test_a_reader_of_standard_error_that_stops_holds_nobody_up_and_hears_of_the_drops_later(reopened):
    code = FLOOD
    if not reopened:  # as where the pipe is another user's: we share its one description with them
        code = FLOOD.replace("log.configure", "import stat; stat.S_ISFIFO = lambda mode: False\nlog.configure")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    with process:
        dropped, seconds = process.stdout.readline().split()
        assert 0 < int(dropped) < 3000
        assert float(seconds) < 0.5 * 3000 * writer.PATIENCE, "each line waited for the reader"
        os.set_blocking(process.stderr.fileno(), False)
        early = process.stderr.read()
        os.set_blocking(process.stderr.fileno(), True)
        process.stdin.write("x")
        process.stdin.close()
        late = process.stderr.read().splitlines()
    assert len(early.splitlines()) + int(dropped) in (3000, 3001)
    assert any(f"{dropped} lines dropped: standard error did not take them" in line for line in late)
    assert late[-1].endswith("]: through")


def test_our_standard_error_stays_as_blocking_as_others_want_it():
    reader, pipe = os.pipe()
    code = "from mailspool import log; log.configure(stream='stderr'); log.record('hello')"
    subprocess.run([sys.executable, "-c", code], stderr=pipe, check=True, cwd=ROOT, env=ENVIRONMENT)
    assert not fcntl.fcntl(pipe, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(pipe)
    with os.fdopen(reader) as said:
        assert said.read().endswith("]: hello\n")


def test_a_line_costs_little_in_json_too(path):
    log.configure(file=path, form="json")
    begin = time.process_time()
    for _ in range(2000):
        log.record("delivery", id="a1.0", to="j@x.example", relay="r", delay=0.1, dsn="2.0.0", status="sent", text="2")
    assert time.process_time() - begin < 1


def test_a_reader_that_is_not_there_is_looked_for_once_for_each_line(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(os.path, "lexists", lambda path: looked.append(path))
    syslog = writer.Syslog(f"{tmp_path}/log", "line", writer.Nowhere())
    for _ in range(2):
        syslog.write(make_entry("info", "mailspool", 0.0, {"event": "hello"}))
    assert looked == [f"{tmp_path}/log"] * 2
