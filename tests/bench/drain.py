# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Draining a full spool into one sink, beside Postfix in the same run: run after run by turns, then medians and ratios.

The clock runs from the release of the held queue to the last message at the sink. Prints a Markdown table.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import postfix
from environment import measure, say
from processes import cpu_seconds, eventually, proportional, resident
from sink import Sink

MEBI = 1 << 20
_POLL, _SAMPLE = 0.01, 0.25  # seconds between looks at the sink's counters, and at the processes' memory


def one_run(server, sink, options):
    """One server, filled while held, then released. What it took."""
    server.hold()
    began = time.monotonic()
    server.fill(options.messages, options.size)
    filled = time.monotonic() - began
    if (queued := server.queued()) != options.messages:
        raise SystemExit(f"{server.name}: {queued} messages in the queue instead of {options.messages}")
    os.sync()
    time.sleep(1)  # whatever filled it comes to rest
    sink.reset()
    cpu = cpu_seconds(server.processes)
    released = time.monotonic()
    server.release()
    memory = wait_and_watch(server, sink, options, released + options.timeout)
    counters = sink.counters
    eventually(lambda: not server.queued(), f"{server.name} has settled all")
    if sink.counters.messages != options.messages:
        raise SystemExit(f"{server.name}: {sink.counters.messages} messages at the sink instead of {options.messages}")
    seconds = counters.last / 1e9 - released
    return {
        "server": server.name,
        "messages": options.messages,
        "size": options.size,
        "seconds": round(seconds, 3),
        "rate": round(options.messages / seconds, 1),
        "rate_from_first": round((options.messages - 1) / (counters.last - counters.first) * 1e9, 1),
        "first_after": round(counters.first / 1e9 - released, 3),
        "cpu_ms": round((cpu_seconds(server.processes) - cpu) / options.messages * 1e3, 4),
        "rss_mib": round(memory / MEBI, 1),
        "pss_mib": round(proportional(server.deliverers) / MEBI, 1),
        "processes": len(server.deliverers),
        "sessions": counters.sessions,
        "fill_rate": round(options.messages / filled, 1),
        "load": os.getloadavg()[0],
    }


def wait_and_watch(server, sink, options, until):
    """Returns the most octets that all its processes had in memory at once, when the last message is at the sink."""
    most, next_sample = 0, 0.0
    while (done := sink.counters.messages) < options.messages:
        now = time.monotonic()
        if now > until:
            raise SystemExit(f"{server.name}: only {done} of {options.messages} messages came:\n{server.log[-3000:]}")
        if now >= next_sample:
            most, next_sample = max(most, resident(server.deliverers)), now + _SAMPLE
        time.sleep(_POLL)
    return max(most, resident(server.deliverers))


def runs(options, folder: Path) -> Iterator[dict]:
    """By turns: what disturbs the machine disturbs both."""
    from ours import Mailspool  # only inside of the environment is there a mailspool to import

    servers = (postfix.Postfix, Mailspool)
    sink = Sink(folder, options.sinks)
    place = postfix.ROOT / "srv" if options.only != "mailspool" else folder  # one disk for both: Postfix's root decides
    try:
        for pair in range(options.pairs):
            for kind in servers:
                if options.only in (None, kind.name):
                    with tempfile.TemporaryDirectory(prefix="bench.", dir=place, ignore_cleanup_errors=True) as run:
                        os.chmod(run, 0o755)
                        server = kind(Path(run) / "it", sink.port)
                        try:
                            yield {"pair": pair, **one_run(server, sink, options)}
                        finally:
                            server.stop()
    finally:
        sink.close()


def table(results: list[dict]) -> str:
    """The medians of each server; ratio: the median of the pairs' ratios, with the least and the most."""
    by_name = {name: [r for r in results if r["server"] == name] for name in ("mailspool", "Postfix")}
    ours, theirs = by_name["mailspool"], by_name["Postfix"]
    first = results[0]
    what = f"draining {first['messages']:,} × {first['size'] / 1024:g} KiB to one sink, {len(ours or theirs)} runs each"
    lines = [f"| {what} | mailspool | Postfix | ratio (least … most) |", "|---|---|---|---|"]
    for words, key, form in (
        ("messages per second", "rate", "{:,.0f}"),
        ("the same from the first message on", "rate_from_first", "{:,.0f}"),
        ("CPU time per message, all processes", "cpu_ms", "{:.2f} ms"),
        ("memory, sum over all processes (RSS)", "rss_mib", "{:.0f} MiB"),
        ("memory, shared pages counted once (PSS)", "pss_mib", "{:.0f} MiB"),
    ):
        cells = [_cell([r[key] for r in one], form) for one in (ours, theirs)]
        ratios = [mine[key] / other[key] for mine, other in zip(ours, theirs, strict=False)]
        lines.append(f"| {words} | {' | '.join(cells)} | {_cell(ratios, '{:.2f}')} |")
    return "\n".join(lines)


def _cell(values: list[float], form: str) -> str:
    if not values:
        return "–"
    middle, *ends = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({' … '.join(ends)})"


def main(folder: Path, options) -> int:
    results = []
    for result in runs(options, folder):
        results.append(result)
        say(f"{result['server']:>9}: {result['rate']:8.1f} messages/s, {result['cpu_ms']:.3f} ms CPU each")
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(result) + "\n")
    print(table(results))
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5, help="runs of each server (5)")
    parser.add_argument("--messages", type=int, default=5000, help="messages in a run (5000)")
    parser.add_argument("--size", type=int, default=4096, help="octets of a message (4096)")
    parser.add_argument("--only", choices=("mailspool", "Postfix"), help="measure one of them; mailspool needs no root")
    parser.add_argument("--sinks", type=int, default=1, help="processes of the sink (1)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that a run may take (600)")
    parser.add_argument(
        "--json", type=lambda name: Path(name).resolve(), help="append a line for each run to this file"
    )
    return parser.parse_args()


def prepare(options) -> None:
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        raise SystemExit("the sink needs a C compiler; on Debian: apt-get install gcc libc6-dev")
    if options.only != "mailspool":
        postfix.install()


if __name__ == "__main__":
    arguments = parse_arguments()
    raise SystemExit(measure(lambda folder: main(folder, arguments), lambda: prepare(arguments)))
