# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""All measurements beside Postfix, run after run by turns, and docs/performance.md out of them.

What disturbs the machine disturbs both. Each run begins with a server newly made, in a folder of its own.
"""

import argparse
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import disk
import postfix
from accept import accept, latency
from drain import TWENTY, Drain, drain, drains
from environment import measure, say
from names import NameServer
from server import SMARTHOST, Setup
from sink import Sink
from table import facts, page
from waiting import wait_full

OURS, THEIRS = "mailspool", "Postfix"
_MINUTE, _PATIENCE = 75.0, 600.0  # seconds


class Round(NamedTuple):
    """Runs by turns: (server, what), pair by pair. endless: where Postfix does not come to its end, it is tried once.

    once: the runs take their own medians.
    """

    runs: Sequence[tuple[str, str]]
    endless: bool = False
    once: bool = False


ROUNDS = {
    "W1": Round([(THEIRS, "W1"), (OURS, "W1"), (OURS, "W1 CHUNKING")]),
    "late": Round([(THEIRS, "W1 late"), (OURS, "W1 late"), (OURS, "W1 late CHUNKING")]),
    "W2": Round([(THEIRS, "W2"), (OURS, "W2")]),
    "W3": Round([(THEIRS, "W3"), (OURS, "W3")]),
    "W4": Round([(THEIRS, "W4"), (OURS, "W4"), (OURS, "W4 alone")], endless=True),
    "W4b": Round(
        [(THEIRS, "W4b silent"), (OURS, "W4b silent"), (THEIRS, "W4b stalling"), (OURS, "W4b stalling")], endless=True
    ),
    "W5": Round([(THEIRS, "W5"), (OURS, "W5"), (OURS, "W5 CHUNKING")]),
    "W6": Round([(THEIRS, "W6"), (OURS, "W6")], once=True),
    "latency": Round([(THEIRS, "latency"), (OURS, "latency")]),
}


class Bench:
    """Runs what it is told, each with its own server and sink. place: on the disk where all queues are kept."""

    def __init__(self, folder: Path, place: Path, options) -> None:
        from ours import Mailspool  # only inside of the environment is there a mailspool to import

        self._servers = {OURS: Mailspool, THEIRS: postfix.Postfix}
        self._folder, self._place, self._options = folder, place, options
        self._drains = drains(options.most, options.late)
        self.versions: dict[str, str] = {}

    def run(self, name: str, what: str) -> dict[str, Any]:
        """What one server came to."""
        if one := self._drains.get(what):
            with self._sink(**one.sink) as sink, self._server(name, one.setup) as server:
                return drain(server, sink, one, self._cap(name, one))
        with self._sink() as sink:
            if what == "latency":
                with self._server(name, Setup(SMARTHOST)) as server:
                    return latency(server, sink, self._options.most)
            with self._server(name, Setup(SMARTHOST, TWENTY)) as server:
                return accept(server, self._options.most) if what == "W3" else wait_full(server, self._options.waiting)

    def _cap(self, name: str, one: Drain) -> float:
        """Seconds: ours has a minute to come to an end that Postfix does not, if nothing else was asked for."""
        if one.complete:
            return _PATIENCE
        return float(self._options.cap if name == THEIRS else self._options.our_cap)

    @contextlib.contextmanager
    def _sink(self, **options: Any) -> Iterator[Sink]:
        sink = Sink(self._folder, port=25, **options)
        try:
            yield sink
        finally:
            sink.close()

    @contextlib.contextmanager
    def _server(self, name: str, setup: Setup) -> Iterator[Any]:
        with tempfile.TemporaryDirectory(prefix="bench.", dir=self._place, ignore_cleanup_errors=True) as run:
            os.chmod(run, 0o755)
            server = self._servers[name](Path(run) / "it", setup)
            try:
                self.versions.setdefault(name, server.version)
                yield server
            finally:
                server.close()


def results(bench: Bench, options) -> Iterator[dict[str, Any]]:
    for title in options.rounds:
        one = ROUNDS[title]
        for pair in range(1 if one.once else options.pairs):
            for name, what in one.runs:
                if not (pair and one.endless and name == THEIRS):
                    yield {"what": what, "server": name, "pair": pair, **_try(bench, name, what)}


def _try(bench: Bench, name: str, what: str) -> dict[str, Any]:
    """A run that fails is told of, and costs no other its figures."""
    began = time.monotonic()
    try:
        result = bench.run(name, what)
    except (Exception, SystemExit) as error:
        result = {"failed": f"{type(error).__name__}: {error}"}
    told = ", ".join(f"{key} {value}" for key, value in result.items())
    say(f"{time.monotonic() - began:5.1f} s  {what}, {name}: {told}")
    return {**result, "load": os.getloadavg()[0]}


def main(folder: Path, options) -> int:
    if os.getpid() != 1:
        raise SystemExit("ports 25 and 53 are needed in network namespaces of their own: run it as root")
    measured: list[dict[str, Any]] = []
    place = postfix.ROOT / "srv" / "bench"  # for both: Postfix's root decides
    disk.mount_new(folder / "disk", place)
    bench = Bench(folder, place, options)
    names = NameServer(folder / "nsd")
    try:
        for result in results(bench, options):
            measured.append(result)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    finally:
        names.close()
    text = page(measured, facts(bench.versions, place), options.command)
    if options.page:
        options.page.write_text(text)
    else:
        print(text)
    return int(any("failed" in result for result in measured))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rounds", nargs="*", metavar="ROUND", help=f"which: {', '.join(ROUNDS)} (all)")
    parser.add_argument("--quick", action="store_true", help="in twelve minutes: as --pairs 3 --late 2000 --cap 30")
    parser.add_argument("--pairs", type=int, help="runs of each server (5)")
    parser.add_argument("--most", type=int, default=10**9, help="messages that are left of a larger number, to try it")
    parser.add_argument("--late", type=int, help="messages to the sink that answers late (5000)")
    parser.add_argument("--waiting", type=int, default=100_000, help="messages that wait (100000)")
    parser.add_argument(
        "--cap", type=float, help="seconds for W4 and W4b, then what came counts (Postfix 660, mailspool 75)"
    )
    parser.add_argument("--page", type=lambda name: Path(name).resolve(), help="write this file (standard output)")
    parser.add_argument("--json", type=lambda name: Path(name).resolve(), help="append a line for each run to it")
    options = parser.parse_args()
    if unknown := set(options.rounds) - ROUNDS.keys():
        parser.error(f"there is no round {', '.join(unknown)}: {', '.join(ROUNDS)}")
    options.command = _command(options)
    options.rounds = options.rounds or list(ROUNDS)
    options.our_cap = options.cap or _MINUTE
    for name, thorough, quick in (("pairs", 5, 3), ("late", 5000, 2000), ("cap", 660.0, 30.0)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else thorough)
    return options


def _command(options) -> str:
    """What to say to measure the same again."""
    given = [f"--{name} {value}" for name in ("pairs", "late", "cap") if (value := getattr(options, name)) is not None]
    quick = ["--quick"] if options.quick else []
    return " ".join(["python3 tests/bench/run.py", *quick, *given, *options.rounds, "--page docs/performance.md"])


def prepare() -> None:
    if os.geteuid() != 0:
        raise SystemExit("it wants root: for network namespaces of its own, and for Postfix")
    if not (shutil.which("gcc") or shutil.which("cc")):
        raise SystemExit("the sink needs a C compiler; on Debian: apt-get install gcc libc6-dev")
    postfix.install()


if __name__ == "__main__":
    arguments = parse_arguments()
    raise SystemExit(measure(lambda folder: main(folder, arguments), prepare))
