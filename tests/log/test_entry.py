# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Every form of an event is one line, and the structured ones give back what went in."""

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.log.entry import MAX_CHARACTERS, MAX_OCTETS, make_entry

NOW = 1795475897.25

FIELDS = st.dictionaries(
    st.sampled_from(["id", "to", "relay", "text", "other", "pid", "level", "process"]),
    st.one_of(st.text(), st.text(st.characters(categories=["Cs", "Cc"])), st.integers(), st.none(), st.booleans()),
)


def entry(name="x", level="info", **fields):
    return make_entry(level, "mailspool/worker", NOW, {"event": name, **fields})


@given(FIELDS, st.sampled_from(["delivery", "submission", "x"]))
def test_a_json_line_is_one_line_of_ascii_that_reads_back(fields, name):
    line = entry(name, **fields).json
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert found["event"] == name
    for key in fields.keys() - {"level", "process"}:
        assert found[key] == json.loads(json.dumps(fields[key]))


def test_a_json_line_says_when_what_and_who():
    found = json.loads(entry("delivery", id="a1.0", to="joe@example.org", delay=1.5, status="sent").json)
    assert re.fullmatch(r"2026-11-2\dT\d\d:\d\d:17\.250000[+-]\d\d:\d\d", found.pop("time"))
    assert found == {
        "level": "info",
        "ident": "mailspool/worker",
        "process": os.getpid(),
        "event": "delivery",
        "id": "a1.0",
        "to": "joe@example.org",
        "delay": 1.5,
        "status": "sent",
    }


def test_no_field_can_pass_for_the_head_of_a_json_line():
    assert json.loads(entry(ident="forged", process=1, level="error", time="now").json)["process"] == os.getpid()


@pytest.mark.parametrize("text", ["a" * 100_000, "\U0001f600" * 100_000, "\x00" * 100_000])
def test_a_json_line_is_short_enough_for_syslogd(text):
    line = entry("delivery", text=text, to=text, relay=text).json
    assert len(line) <= MAX_OCTETS
    assert json.loads(line)["to"]


def test_an_exception_is_a_field_of_its_own():
    try:
        int("x\ny")
    except ValueError:
        found = entry("settling failed", exc_info=True, id="a1.0")
    assert "ValueError: invalid literal" in json.loads(found.json)["exception"]
    assert found.line.startswith(f"mailspool/worker[{os.getpid()}]: a1.0: settling failed: ValueError: ")
    assert len(found.text) <= MAX_CHARACTERS


def test_a_line_for_a_file_is_as_syslogd_writes_it():
    line = entry("delivery", id="a1.0", to="joe@example.org", status="sent", text="ok").dated_line
    assert re.fullmatch(
        rf"2026-11-2\dT\d\d:\d\d:17\.250000[+-]\d\d:\d\d {re.escape(os.uname().nodename)} "
        rf"mailspool/worker\[{os.getpid()}\]: a1\.0: to=<joe@example\.org>, relay=none, delay=0, dsn=, "
        r"status=sent \(ok\)",
        line,
    )
