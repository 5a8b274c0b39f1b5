# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What grows with the nodes that wait and are not due: a look, a delivered message, the supervisor's memory."""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from environment import measure, say
from processes import cpu_seconds, eventually, own, peak
from server import Setup, message
from sink import Sink

MEBI = 1 << 20
TIER = 3  # eight hours: none of the nodes gets due while they are looked at
WAITED = 3600  # seconds, at most
DESTINATIONS = 500
SETTLING = 3  # seconds: what has changed later is counted anew by each look
LOOKS, MESSAGES, TRIES = 5, 300, 15


class Waiting:
    """A daemon beside so many nodes in one tier, all links to one file."""

    def __init__(self, folder: Path, sink: Sink, count: int) -> None:
        from ours import Mailspool

        self.sink, self.folder = sink, folder
        self.server = Mailspool(folder, Setup(sink.address, {"mailspool": {"dequeue_timeout": 3600}}))
        fill(self.spool_folder, names(count))

    @property
    def spool_folder(self) -> Path:
        return self.folder / "spool"

    def status(self) -> dict:
        from mailspool.supervisor import control

        return json.loads(control.ask(str(self.folder / "run"), "status"))

    def lookout(self) -> int:
        return next((each["pid"] for each in self.status()["services"] if each["role"] == "lookout"), 0)

    def look(self) -> None:
        """Into every tier; when this returns it is over."""
        from mailspool.supervisor import control

        control.ask(str(self.folder / "run"), "look")
        eventually(self._is_over, "a look is over", 600)

    def _is_over(self) -> bool:
        status = self.status()
        return status["next_look"] > 1 and not status["looking"]

    def a_look(self) -> dict[str, float]:
        """CPU seconds, and those that pass; what the processes hold afterwards."""
        self.look()  # the first one warms the kernel's caches
        parts: dict[str, list[float]] = {"supervisor": [], "lookout": [], "passed": []}
        for _ in range(LOOKS):
            pids = {"supervisor": self.server.main.pid, "lookout": self.lookout()}
            before = {role: cpu_seconds([pid]) for role, pid in pids.items()}
            began = time.monotonic()
            self.look()
            parts["passed"].append(time.monotonic() - began)
            for role, pid in pids.items():
                parts[role].append(cpu_seconds([pid]) - before[role])
        found = {role: statistics.median(each) for role, each in parts.items()}
        for role, pid in pids.items():
            found[f"{role}'s memory"] = own([pid]) / MEBI
            found[f"{role}'s peak"] = peak(pid) / MEBI
        return found

    def a_message(self) -> float:
        """CPU seconds of all processes for each of some messages, handed in one by one."""
        before, pids = cpu_seconds(self.server.processes), set(self.server.processes)
        self.sink.reset()
        for _ in range(MESSAGES):
            self.server.send(message(4096))
        eventually(lambda: self.sink.counters.messages == MESSAGES, "all are delivered")
        return (cpu_seconds({*pids, *self.server.processes}) - before) / MESSAGES

    def poke(self) -> float:
        """Seconds from the beginning of send_mail() until the peer gets the first octet, on a daemon that was idle."""
        taken = []
        for _ in range(TRIES):
            time.sleep(0.3)
            self.sink.reset()
            began = time.monotonic_ns()
            self.server.send(message(1024))
            eventually(lambda: self.sink.counters.messages == 1, "it is delivered")
            taken.append((self.sink.counters.spoken_to - began) / 1e9)
        return statistics.median(taken)


def names(count: int) -> list[str]:
    """Of nodes that have entered their tier in the last hour."""
    from mailspool.store import nodename

    now, dice = int(time.time()), random.Random(count)
    return [
        f"{now - dice.randrange(WAITED)}-{nodename.new_id(now - 86400, dice.randbytes)}.0-d{number % DESTINATIONS}.test"
        for number in range(count)
    ]


def fill(spool: Path, some: list[str]) -> None:
    from mailspool.store.nodename import folder_of

    message, tier = spool / "incoming" / "bench", spool / str(TIER)
    message.touch()
    for folder in set(map(folder_of, some)):
        (tier / folder).mkdir(mode=0o700)
    for name in some:
        os.link(message, tier / folder_of(name) / name)
    time.sleep(SETTLING)


def row(folder: Path, sink: Sink, count: int) -> str:
    say(f"{count} nodes …")
    one = Waiting(folder, sink, count)
    try:
        look = one.a_look()
        message, poke = one.a_message(), one.poke()
    finally:
        one.server.close()
        shutil.rmtree(folder)
    return (
        f"| {count:,} | {look['lookout'] * 1e3:.1f} | {look['supervisor'] * 1e3:.1f} | {look['passed'] * 1e3:.0f} "
        f"| {message * 1e3:.2f} | {poke * 1e3:.1f} | {look['supervisor' + chr(39) + 's memory']:.1f} "
        f"| {look['lookout' + chr(39) + 's memory']:.1f} | {look['lookout' + chr(39) + 's peak']:.1f} |"
    )


def main(folder: Path, options: argparse.Namespace) -> int:
    where = Path(tempfile.mkdtemp(dir=options.where)) if options.where else folder
    sink = Sink(folder)
    try:
        rows = [row(where / str(count), sink, count) for count in options.counts]
        print(
            "| nodes that wait | a look: lookout, ms CPU | supervisor, ms CPU | passed, ms | a message, ms CPU "
            "| send_mail() to first octet, ms | supervisor, MiB its own | lookout | its peak, RSS |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        print("\n".join(rows))
    finally:
        sink.close()
        if options.where:
            shutil.rmtree(where)
    return 0


def counts(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--counts", type=counts, default=[1000, 10_000, 100_000, 1_000_000], help="of nodes, N,N,…")
    parser.add_argument("--where", help="folder for the spool, as /dev/shm; without it a disk")
    arguments = parser.parse_args()
    raise SystemExit(measure(lambda folder: main(folder, arguments)))
