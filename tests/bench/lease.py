# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a lease costs: the questions before each message's phases, and a beat. Beside the CPU time of a message.

By turns, with and without; medians. It can be told the CPU time of a message, as `run.py W1` measured it here.
"""

import argparse
import statistics
import time
from pathlib import Path

from environment import measure

MESSAGES, BEATS, TURNS = 20_000, 200, 9


def cpu(task) -> float:
    began = time.process_time()
    task()
    return time.process_time() - began


def main(folder: Path, options) -> int:
    from mailspool.model.phase import Phase, guarded, nobody_watches  # only inside of the environment
    from mailspool.store.claim import this_owner
    from mailspool.store.filesystem import BOOT_CLOCK, FileStore
    from mailspool.store.lease import Lease, beat_interval

    store = FileStore(folder / "spool", this_owner())
    store.create(1)
    lease = Lease(store.root, store.owner, 60.0, BOOT_CLOCK)
    lease.create()

    def session(watch):
        for _ in range(MESSAGES):
            for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL):
                watch(phase, "mx.bench.test", 300.0)

    asking = guarded(nobody_watches, lease.check)
    costs = [cpu(lambda: session(asking)) - cpu(lambda: session(nobody_watches)) for _ in range(TURNS)]
    message = statistics.median(costs) / MESSAGES
    beat = cpu(lambda: [lease.beat() for _ in range(BEATS)]) / BEATS
    part = message / (options.cpu_ms / 1e3)
    print("| what | CPU time | part of all |\n|---|---|---|")
    print(f"| the questions, for each message | {message * 1e6:.1f} µs | {part:.2%} of {options.cpu_ms:g} ms |")
    print(f"| a beat | {beat * 1e3:.2f} ms | {beat / beat_interval(60.0):.4%} of one core |")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cpu-ms", type=float, default=0.25, help="CPU time of one message, from run.py (0.25)")
    arguments = parser.parse_args()
    raise SystemExit(measure(lambda folder: main(folder, arguments)))
