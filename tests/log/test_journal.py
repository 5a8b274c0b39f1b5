# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The journal's native protocol, read back as systemd's documentation of it says."""

import os
import re
import socket
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from mailspool import log
from mailspool.log import journal
from mailspool.log.entry import make_entry
from mailspool.log.writer import Nowhere
from tests.running import ENVIRONMENT, ROOT


def decode(octets):
    """https://systemd.io/JOURNAL_NATIVE_PROTOCOL/"""
    fields = []
    while octets:
        line, _, octets = octets.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(octets[:8], "little")
            value, end, octets = octets[8 : 8 + size], octets[8 + size : 9 + size], octets[9 + size :]
            assert end == b"\n"
        fields.append((name.decode(), value.decode()))
    return fields


def encoded(name, level="info", /, **fields):
    return decode(journal.encode(make_entry(level, "mailspool/worker", 0.0, {"event": name, **fields})))


def test_a_delivery_can_be_asked_for_by_its_fields():
    found = dict(
        encoded(
            "delivery",
            id="a1.0",
            to="joe@example.org",
            relay="mx.example.org[192.0.2.1]:25",
            delay=2,
            dsn="2.0.0",
            status="sent",
            text="250 ok",
        )
    )
    assert found == {
        "MESSAGE": "a1.0: to=<joe@example.org>, relay=mx.example.org[192.0.2.1]:25, delay=2, dsn=2.0.0,"
        " status=sent (250 ok)",
        "PRIORITY": "6",
        "SYSLOG_FACILITY": "2",
        "SYSLOG_IDENTIFIER": "mailspool/worker",
        "SYSLOG_PID": str(os.getpid()),
        "EVENT": "delivery",
        "QUEUE_ID": "a1.0",
        "RECIPIENT": "joe@example.org",
        "RELAY": "mx.example.org[192.0.2.1]:25",
        "DELAY": "2",
        "DSN": "2.0.0",
        "STATUS": "sent",
        "REPLY": "250 ok",
    }


@given(st.dictionaries(st.text(min_size=1), st.text()), st.sampled_from(["delivery", "x"]))
def test_no_value_can_forge_a_field_and_no_name_is_one_that_journald_refuses(fields, name):
    fields.pop("event", None)
    fields.pop("exc_info", None)
    found = encoded(name, **fields)
    assert len(found) == 6 + len(fields)
    assert all(re.fullmatch("[A-Z][A-Z0-9_]{0,63}", key) for key, _ in found)
    assert [key for key, _ in found[:5]] == [
        "MESSAGE",
        "PRIORITY",
        "SYSLOG_FACILITY",
        "SYSLOG_IDENTIFIER",
        "SYSLOG_PID",
    ]
    assert not {"MESSAGE", "PRIORITY"} & {key for key, _ in found[5:]}


def test_a_value_of_several_lines_arrives_whole():
    text = "250-one\r\nMESSAGE=forged\n\nPRIORITY=0\n"
    assert ("REPLY", text) in encoded("delivery", text=text)


def test_entries_arrive_at_the_journal_s_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "socket"))
        writer = journal.Journal(Nowhere(), str(tmp_path / "socket"))
        writer.write(make_entry("warning", "mailspool", 0.0, {"event": "fell over", "tier": 2}))
        found = dict(decode(journald.recv(65536)))
        writer.close()
    assert (found["MESSAGE"], found["PRIORITY"], found["TIER"]) == ("fell over tier=2", "4", "2")


def test_only_a_standard_error_that_leads_to_the_journal_does():
    code = (
        "import os, sys; from mailspool.log import journal; f = os.fstat(2);"
        "said = {'JOURNAL_STREAM': f'{f.st_dev}:{f.st_ino + int(sys.argv[1])}'};"
        "print(journal.is_standard_error(said), journal.is_standard_error({}))"
    )
    for offset, expected in (0, "True False"), (1, "False False"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(offset)], capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
        )
        assert done.stdout.strip() == expected, done.stderr


def test_without_a_journal_it_says_so_on_standard_error(capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "none"))
    log.configure(stream="journal")
    log.record("hello")
    log.configure(stream="stderr")
    notice, hello = capfd.readouterr().err.splitlines()
    assert "warning: no journal (" in notice
    assert hello.endswith("]: hello")
