# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Every driver runs, with a handful of messages, and the page has a line for each figure that is wanted."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import server

HERE = Path(__file__).parent


@pytest.fixture
def root_with_peers():
    if os.geteuid() != 0:
        server.missing("only root can make network namespaces, and start servers in a private root")
    if not (server.ROOT.parent / "installed").exists():
        server.missing("tests/peers/install.sh has not unpacked Postfix yet")
    if not shutil.which("gcc"):
        server.missing("there is no gcc (gcc, libc6-dev)")
    server.program("nsd", "nsd")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("table")


def run(script, *arguments):
    environment = {**os.environ, "BENCH_PYTHON": sys.executable}
    return subprocess.run(
        [sys.executable, HERE / script, *map(str, arguments)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.timeout(600)
def test_every_driver_runs_beside_postfix_and_the_page_tells_what_came_of_it(root_with_peers, table, tmp_path):
    few = ("--most", 6, "--waiting", 20, "--late", 6, "--cap", 2, "--pairs", 1)
    done = run("run.py", *few, "--page", tmp_path / "page.md", "--json", tmp_path / "lines")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert len(results) == 24
    page = (tmp_path / "page.md").read_text()
    print(page)
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == sum(1 + len(section) for section in table.SECTIONS.values())
    missing = [words.strip() for words, ours, *_ in rows if ours.strip() == "–"]
    assert missing == ["SMTP, 1 session", "SMTP, 20 sessions"]
    again = run("table.py", tmp_path / "lines")
    assert again.stdout.partition("\n## ")[2].strip() == page.partition("\n## ")[2].strip()


def test_a_row_is_reached_by_the_median_of_its_pairs_and_never_by_a_run_that_was_broken_off(table):
    row = table.Row("messages", "W1", "rate", "{:,.0f}/s", 4, ("Postfix", "W1"))

    def line(*rates, came=10):
        ours = [
            {"server": "mailspool", "what": "W1", "pair": n, "rate": rate, "came": came, "messages": 10, "seconds": 3}
            for n, rate in enumerate(rates)
        ]
        theirs = [{"server": "Postfix", "what": "W1", "pair": n, "rate": 1000} for n in range(len(rates))]
        return table._line(row, ours + theirs)

    assert (
        line(3000, 4100, 9000)
        == "| messages | 4,100/s (3,000 … 9,000) | 1,000/s (1,000 … 1,000) | 4.10 (3.00 … 9.00) | ≥ 4 × | yes |"
    )
    assert line(3000, 3900, 9000).endswith("| **no** |")
    assert line(9000, came=7) == "| messages | 7 of 10 in 3 s | 1,000/s | – | ≥ 4 × | **no** |"
