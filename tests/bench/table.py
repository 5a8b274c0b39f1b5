# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""docs/performance.md, written out of what was measured: medians and spread, beside what was to be reached."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

OURS, THEIRS = "mailspool", "Postfix"
Results = Sequence[Mapping[str, Any]]


class Row(NamedTuple):
    """figure: a key of the results of `what`. beside: whose figure it is divided by, "" for none, and in which run.

    goal: of the quotient, or of the figure if there is none; negative: at most so much.
    """

    words: str
    what: str
    figure: str
    form: str
    goal: float = 0.0
    beside: tuple[str, str] = ("", "")

    @property
    def wanted(self) -> str:
        if not self.goal:
            return ""
        number = f"{abs(self.goal):.3g}" if self.beside[0] else self.form.format(abs(self.goal))
        return f"{'≥' if self.goal > 0 else '≤'} {number}{' ×' if self.beside[0] else ''}"

    def reached(self, value: float) -> bool:
        return value >= self.goal if self.goal > 0 else value <= -self.goal


PER_SECOND, MILLISECONDS, SECONDS, MB = "{:,.0f}/s", "{:.2f} ms", "{:.2f} s", "{:.0f} MB"


def _beside(what: str) -> tuple[str, str]:
    return THEIRS, what


SECTIONS = {
    "W1: 5,000 messages of 4 KiB to one host": [
        Row("messages", "W1", "rate", PER_SECOND, 4, _beside("W1")),
        Row("the same, to a host that offers CHUNKING", "W1 CHUNKING", "rate", PER_SECOND, 5, _beside("W1")),
        Row("CPU time of each, all processes", "W1", "cpu_ms", MILLISECONDS, -0.25, _beside("W1")),
        Row("the same, with CHUNKING", "W1 CHUNKING", "cpu_ms", MILLISECONDS, -0.25, _beside("W1")),
    ],
    "W1, each reply 20 ms late, 20 connections": [
        Row("messages", "W1 late", "rate", PER_SECOND, 2.3, _beside("W1 late")),
        Row("with CHUNKING", "W1 late CHUNKING", "rate", PER_SECOND, 12, _beside("W1 late")),
    ],
    "W2: 5,000 messages of 4 KiB to 500 domains, each with its MX": [
        Row("messages", "W2", "rate", PER_SECOND, 3, _beside("W2")),
        Row("CPU time of each, all processes", "W2", "cpu_ms", MILLISECONDS, -1 / 3, _beside("W2")),
    ],
    "W3: handing in, durably; messages of 4 KiB": [
        Row("`sendmail`, one after another", "W3", "sendmail", PER_SECOND, 0.8, _beside("W3")),
        Row("SMTP, 1 session", "W3", "smtp1", PER_SECOND, 1, _beside("W3")),
        Row("SMTP, 20 sessions", "W3", "smtp20", PER_SECOND, 1.5, _beside("W3")),
        Row("`send_mail()`, one process", "W3", "send_mail", PER_SECOND, 1500),
        Row("`batch.send_mail()`, 500 in a batch", "W3", "batch", PER_SECOND, 5000),
    ],
    "W4: 200 silent domains first, then 1,000 messages to a healthy one; 20 workers": [
        Row("until the 1,000 are out", "W4", "seconds", SECONDS, -1.5),
        Row("the 1,000 alone", "W4 alone", "seconds", SECONDS),
        Row("the one divided by the other", "W4", "seconds", SECONDS, -3, (OURS, "W4 alone")),
    ],
    "W4b: 200 bad domains first, then 200 healthy ones with a message each; 20 workers": [
        Row("the bad ones are silent", "W4b silent", "seconds", SECONDS, -5),
        Row("they greet, and say nothing to MAIL, or to DATA", "W4b stalling", "seconds", SECONDS, -60),
    ],
    "W5: 100 messages of 10 MiB to one host": [
        Row("with CHUNKING", "W5 CHUNKING", "mb_rate", "{:,.0f} MB/s", 1, _beside("W5")),
        Row("with DATA", "W5", "mb_rate", "{:,.0f} MB/s", 0.5, _beside("W5")),
        Row("CPU time of each, with CHUNKING", "W5 CHUNKING", "cpu_ms", MILLISECONDS, 0, _beside("W5")),
    ],
    "W6: 100,000 messages wait, none is due": [
        Row("listing them", "W6", "list_s", SECONDS, -0.5, _beside("W6")),
        Row("CPU time of a look through all of them", "W6", "scan_cpu_s", SECONDS, -0.1),
    ],
    "Memory, with 20 deliveries at once": [
        Row("sum over all processes (RSS)", "W1 late", "rss_mb", MB, -200),
        Row("their own (anonymous, what is shared counts once)", "W1 late", "own_mb", MB, -40),
    ],
    "An idle server": [
        Row("from handing a message in to the first octet at the peer", "latency", "ms", MILLISECONDS, -10),
    ],
}

_INTRODUCTION = """\
# How fast it is

Measured beside Postfix in Debian's default configuration, on the same machine in the same minutes, run after run by
turns, each with a new server and an empty queue. One server takes all mail for both (`tests/bench/sink.c`); queues are
on one disk, in an ext4 made for the run; there is no network but loopback. Every figure includes all that each server
does for a message in production: for mailspool claim, seal, log line, statistics and deadlines. What was not reached
stands here as it is. `tests/bench/README.md` tells how each figure is taken.

    {command}

{facts}

Medians, with the least and the most of all runs; the ratio is the median of the ratios of runs that were neighbours.
"""


def page(results: Results, facts: Mapping[str, str], command: str) -> str:
    """The whole of it, in Markdown."""
    described = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    parts = [_INTRODUCTION.format(command=command, facts=described)]
    for title, rows in SECTIONS.items():
        lines = [line for row in rows if (line := _line(row, results))]
        if lines:
            head = "| | mailspool | Postfix | ratio | to reach | reached |\n|---|---|---|---|---|---|"
            parts.append("\n".join([f"## {title}\n", head, *lines]) + "\n")
    failed = [f"- {run['what']}, {run['server']}: {run['failed']}" for run in results if "failed" in run]
    if failed:
        parts.append("\n".join(["## Runs that failed\n", *failed]) + "\n")
    return "\n".join(parts)


def _line(row: Row, results: Results) -> str:
    ours = _runs(results, OURS, row.what, row.figure)
    theirs = _runs(results, THEIRS, row.beside[1] or row.what, row.figure)
    if not ours and not theirs:
        return ""
    ratios = [] if any(map(_broken_off, ours)) else _ratios(row, ours, results)
    decides = statistics.median(ratios or [run[row.figure] for run in ours]) if ours else None
    cells = [_cell(ours, row), _cell(theirs, row), _spread(ratios, "{:.2f}"), row.wanted, _verdict(row, ours, decides)]
    return f"| {row.words} | {' | '.join(cells)} |"


def _runs(results: Results, server: str, what: str, figure: str) -> list[Mapping[str, Any]]:
    return [run for run in results if (run["server"], run["what"]) == (server, what) and figure in run]


def _ratios(row: Row, ours: Results, results: Results) -> list[float]:
    server, what = row.beside
    beside = {run["pair"]: run[row.figure] for run in _runs(results, server, what, row.figure)}
    return [run[row.figure] / beside[run["pair"]] for run in ours if beside.get(run["pair"])]


def _verdict(row: Row, ours: Results, value: float | None) -> str:
    if not row.goal:
        return ""
    if value is None:
        return "not measured"
    return "yes" if row.reached(value) and not any(map(_broken_off, ours)) else "**no**"


def _broken_off(run: Mapping[str, Any]) -> bool:
    return "came" in run and bool(run["came"] < run["messages"])


def _cell(runs: Results, row: Row) -> str:
    cut = [run for run in runs if _broken_off(run)]
    if cut:
        worst = min(cut, key=lambda run: run["came"])
        return f"{worst['came']:,} of {worst['messages']:,} in {worst['seconds']:g} s"
    return _spread([run[row.figure] for run in runs], row.form)


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    middle, number = form.format(statistics.median(values)), form[: form.index("}") + 1]
    return middle if len(values) == 1 else f"{middle} ({number.format(min(values))} … {number.format(max(values))})"


def facts(versions: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What it was measured on. folder: on the disk of the queues."""
    cpu = [line.partition(":")[2].strip() for line in _text("/proc/cpuinfo").splitlines() if "model name" in line]
    memory = int(_text("/proc/meminfo").split()[1]) / 1e6
    find = ["findmnt", "-n", "-o", "FSTYPE", "-T", str(folder)]
    kind = subprocess.run(find, check=False, capture_output=True, text=True).stdout.strip()
    servers = [f"{name} {version}" for name, version in sorted(versions.items())]
    python = f"Python {platform.python_version()} ({Path(sys.executable).resolve()})"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "machine": f"{os.cpu_count()} × {cpu[0] if cpu else platform.machine()}, {memory:.0f} GB, {kind}",
        "versions": ", ".join([*servers, python, f"Linux {platform.release().partition('-')[0]}"]),
        "load when it had ended": f"{os.getloadavg()[0]:.1f}",
    }


def _text(path: str) -> str:
    return Path(path).read_text()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the page again, out of the lines that run.py --json wrote.")
    parser.add_argument("file", type=Path)
    lines = parser.parse_args().file.read_text().splitlines()
    print(page([json.loads(line) for line in lines], facts({}, Path.cwd()), "python3 tests/bench/run.py"))
