# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What it costs a program to hand a message to `sendmail`, beside a Python that does nothing.

Commands by turns, in a clean virtual environment: `python -c pass`; a Python that imports all that one submission
imports, and nothing more; and the whole `sendmail`, a message of 4 KiB in, durable when it returns: without a daemon,
and with one, whose listener takes the message; as pip installs it, and as `mailspool setup --system` does.
"""

import argparse
import contextlib
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from environment import measure

GOAL = 40.0  # ms that the imports may cost

_REPORT = """
import sys
before = set(sys.modules)
from mailspool.cli.sendmail import main
code = main(["sendmail", *sys.argv[1:]])
print(*(name for name in sys.modules if name not in before))
sys.exit(code)
"""


class Case:
    """A command that is timed."""

    def __init__(self, words: str, command: list[str], text: bytes = b"", **environment: str) -> None:
        self.words, self.command, self.text = words, command, text
        given = {name: value for name, value in os.environ.items() if not name.startswith("MAILSPOOL_")}
        self.environment = {**given, **environment}
        self.clear()

    def clear(self) -> None:
        self.wall: list[float] = []  # ms of each run
        self.cpu: list[float] = []

    def run(self) -> None:
        cpu, began = _children_cpu(), time.perf_counter()
        subprocess.run(self.command, input=self.text, check=True, env=self.environment)
        self.wall.append((time.perf_counter() - began) * 1e3)
        self.cpu.append((_children_cpu() - cpu) * 1e3)

    @property
    def figures(self) -> tuple[float, float, float]:
        return statistics.median(self.wall), min(self.wall), statistics.median(self.cpu)

    def row(self, bare: "Case") -> str:
        cells = (f"{mine:.1f} ({mine - other:+.1f})" for mine, other in zip(self.figures, bare.figures, strict=True))
        return f"| {self.words} | {' | '.join(cells)} |"


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(folder: Path, options) -> int:
    from server import message

    from mailspool.cli.setup.sendmail import program

    config, text = make_config(folder), message(4096)
    python, sendmail = sys.executable, str(Path(sys.executable).with_name("sendmail"))
    of_setup = folder / "sendmail"
    of_setup.write_text(program())
    of_setup.chmod(0o755)
    there = str(folder / "there/run")
    hand_in = ["-C", str(config), "-f", "sender@bench.test", "user@good.test"]
    imported = modules([python, "-c", _REPORT, *hand_in], text)
    bare = Case("`python -c pass`", [python, "-c", "pass"])
    cases = [
        bare,
        Case("the imports of a submission", [python, "-c", f"import {', '.join(imported)}"]),
        Case("`sendmail` without a daemon", [sendmail, *hand_in], text),
        Case("`sendmail` with a daemon", [sendmail, *hand_in[2:]], text, MAILSPOOL_RUN_DIR=there),
        Case("the same, as `setup` installs it", [str(of_setup), *hand_in[2:]], text, MAILSPOOL_RUN_DIR=there),
    ]
    with daemon(folder / "there"):
        time_all(cases, options.runs)
    print(f"| ms (over bare Python), {options.runs} runs each by turns | median | least | CPU time, median |")
    print("|---|---|---|---|", *(case.row(bare) for case in cases), sep="\n")
    print(f"\nThe goal: the imports cost at most {GOAL:g} ms over bare Python.")
    show_imports([python, "-X", "importtime", sendmail, *hand_in], text, options.top)
    return 0


def time_all(cases: list[Case], runs: int) -> None:
    for _ in range(3):  # bytecode is written, files are in memory
        for case in cases:
            case.run()
    for case in cases:
        case.clear()
    for _ in range(runs):
        for case in cases:
            case.run()


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[None]:
    """One that takes messages in and, as nobody listens where they go, delivers none."""
    folder.mkdir()
    config = make_config(folder)
    with config.open("a") as file:
        file.write('user = "root"\nsmarthost = "127.0.0.1:9"\ndequeue_timeout = 3600\n')
    mailspoold = str(Path(sys.executable).with_name("mailspoold"))
    with subprocess.Popen([sys.executable, mailspoold, "-f", "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not (folder / "run/submit").exists() and time.monotonic() < until:
            time.sleep(0.05)
        try:
            yield
        finally:
            process.terminate()


def make_config(folder: Path) -> Path:
    """Of a spool that only takes mail in: no daemon runs."""
    config = folder / "mailspool.toml"
    (folder / "run").mkdir()
    config.write_text(
        f'dequeue_dir = "{folder}/spool"\nrun_dir = "{folder}/run"\nhostname = "bench.test"\nmail_name = "bench.test"\n'
    )
    from mailspool.spool import Spool

    Spool.from_config(str(config)).create_dequeue_dirs()
    return config


def modules(command: list[str], text: bytes) -> list[str]:
    """What one submission imports beyond what Python itself has imported, in that order."""
    return subprocess.run(command, input=text, check=True, capture_output=True).stdout.decode().split()


def show_imports(command: list[str], text: bytes, top: int) -> None:
    """Which modules cost most by themselves, in one run (-X importtime makes all of them slower)."""
    report = subprocess.run(command, input=text, check=True, capture_output=True, text=False).stderr.decode()
    rows = re.findall(r"(?m)^import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)$", report)
    print(f"\nus by itself | with its own imports | module ({len(rows)} in all, {sum(int(r[0]) for r in rows)} us)")
    for alone, together, _, name in sorted(rows, key=lambda row: -int(row[0]))[:top]:
        print(f"{alone:>12} | {together:>21} | {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=41, help="runs of each command (41)")
    parser.add_argument("--top", type=int, default=25, help="modules to list (25)")
    arguments = parser.parse_args()
    raise SystemExit(measure(lambda folder: main(folder, arguments)))
