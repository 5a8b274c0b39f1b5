# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the log options make of the whole daemon's lines: those of its workers, of a reload, of `sendmail`."""

import json
import signal
import socket
import subprocess
import sys

from tests.running import ENVIRONMENT, ROOT, eventually, write_config


def send(spool, to):
    return spool.send_mail(to=to, from_="me@y.example", message="Subject: x\n\nx\n")


def reload(running, **changes):
    write_config(running.config, {**running.properties, **changes})
    before = running.log.count("reloaded")
    running.send(signal.SIGHUP)
    return before


def test_hup_changes_the_level_in_the_workers_too(daemon, make_spool, sink):
    running = daemon(sink=sink, dequeue_timeout=3600, log_level="error")
    spool = make_spool(sink=sink)
    send(spool, "silent@x.example")
    eventually(lambda: "silent@x.example" in sink.recipients)
    reload(running, log_level="info")
    eventually(lambda: "reloaded" in running.log)
    send(spool, "loud@x.example")
    eventually(lambda: "to=<loud@x.example>" in running.log)
    assert "silent@x.example" not in running.log
    reload(running, log_level="error")
    eventually(lambda: not any(worker["phase"] == "IDLE" for worker in running.status()["workers"]))
    send(spool, "quiet@x.example")
    eventually(lambda: "quiet@x.example" in sink.recipients)
    assert running.stop() == 0
    assert "quiet@x.example" not in running.log
    assert "stopped" not in running.log


def test_json_is_one_object_a_line_from_the_parent_and_from_the_workers(daemon, make_spool, sink):
    running = daemon(sink=sink, dequeue_timeout=3600, log_format="json")
    queue_id = send(make_spool(sink=sink), "joe@x.example")
    eventually(lambda: "joe@x.example" in running.log)
    running.stop()
    found = [json.loads(line) for line in running.log.splitlines()]
    (delivery,) = [one for one in found if one["event"] == "delivery"]
    assert delivery["ident"] == "mailspool/worker"
    assert (delivery["id"], delivery["to"], delivery["status"]) == (queue_id, "joe@x.example", "sent")
    assert delivery["relay"].endswith(f"[127.0.0.1]:{sink.port}")
    assert {"started", "stopped"} <= {one["event"] for one in found if one["ident"] == "mailspool"}


def test_a_log_file_holds_the_lines_of_all_and_standard_error_none(daemon, make_spool, sink, tmp_path):
    running = daemon(sink=sink, dequeue_timeout=3600, log_file=str(tmp_path / "mail.log"))
    sendmail = [sys.executable, str(ROOT / "bin/sendmail"), "-C", str(running.config), "-f", "me@y.example"]
    subprocess.run([*sendmail, "joe@x.example"], input=b"Subject: x\n\nx\n", check=True, env=ENVIRONMENT)
    eventually(lambda: "status=sent" in (tmp_path / "mail.log").read_text())
    running.stop()
    lines = (tmp_path / "mail.log").read_text()
    assert "from=<me@y.example>" in lines, "what sendmail logged"
    assert " mailspool/worker[" in lines
    assert "started" in lines
    assert running.log == ""


def test_hup_moves_the_log_to_another_file(daemon, tmp_path):
    running = daemon(log_file=str(tmp_path / "one"))
    reload(running, log_file=str(tmp_path / "two"))
    eventually(lambda: (tmp_path / "two").exists() and "reloaded" in (tmp_path / "two").read_text())
    assert "reloaded" not in (tmp_path / "one").read_text()


def test_hup_is_refused_if_the_new_log_file_cannot_be(daemon, tmp_path):
    running = daemon()
    reload(running, log_file=str(tmp_path / "nowhere/log"))
    eventually(lambda: "reload refused" in running.log)
    assert f"there is no {tmp_path}/nowhere: mkdir -p {tmp_path}/nowhere" in running.log
    assert "reloaded" not in running.log


class Journald:
    """What came to the journal's socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.entries = []

    def read(self):
        try:
            while True:
                fields = self.socket.recv(65536).decode().splitlines()
                self.entries.append(dict(field.split("=", 1) for field in fields))
        except BlockingIOError:
            return self.entries


IN_THE_JOURNAL = """
import os, sys
from mailspool.log import journal
journal.SOCKET = sys.argv.pop(1)
facts = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{facts.st_dev}:{facts.st_ino}"
from mailspool.cli.admin import main
sys.exit(main(["run", "-c", sys.argv[1]]))
"""


def test_under_systemd_each_field_goes_to_the_journal_by_its_name(daemon, make_spool, sink, tmp_path):
    journald = Journald(tmp_path / "journal")
    config = tmp_path / "mailspool.toml"
    running = daemon(
        sink=sink,
        dequeue_timeout=3600,
        command=[sys.executable, "-c", IN_THE_JOURNAL, str(tmp_path / "journal"), str(config)],
    )
    queue_id = send(make_spool(sink=sink), "joe@x.example")
    eventually(lambda: any(entry.get("EVENT") == "delivery" for entry in journald.read()))
    (entry,) = [entry for entry in journald.entries if entry["EVENT"] == "delivery"]
    assert (entry["QUEUE_ID"], entry["RECIPIENT"], entry["STATUS"]) == (queue_id, "joe@x.example", "sent")
    assert (entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]) == ("mailspool/worker", "6")
    running.stop()
    assert running.log == ""
    journald.socket.close()


def test_a_reader_of_standard_error_that_stops_does_not_stop_the_daemon(properties, make_spool, sink, tmp_path):
    write_config(tmp_path / "own.toml", properties(sink=sink, dequeue_timeout=3600, log_level="info"))
    command = [sys.executable, str(ROOT / "bin/mailspool"), "run", "-c", str(tmp_path / "own.toml")]
    spool = make_spool(sink=sink)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT)
    try:
        process.stderr.readline()
        for number in range(30):
            send(spool, [f"{'r' * 50}{number}x{each}@x.example" for each in range(30)])
        eventually(lambda: len(sink.recipients) == 900, timeout=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        said = process.stderr.read().decode()
        assert said.count("status=sent") < 900, "more than a pipe holds"
    finally:
        process.kill()
        process.communicate()
