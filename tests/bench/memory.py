# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a large message costs in memory on its way in and out: each process's peak, beside that for a small one."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from environment import measure
from processes import eventually, family, peak
from sink import Sink

MEBI, SMALL = 1 << 20, 1 << 10

# `peak` of the process itself, when it is done; VmHWM, since ru_maxrss begins with the memory of who started it.
_PEAK = "import os; from processes import peak; print(peak(os.getpid()))"
_SEND_MAIL = f"""
import sys
from mailspool.spool import Spool
Spool.from_config(sys.argv[1]).send_mail(to="user@good.test", from_="sender@bench.test", filename=sys.argv[2])
{_PEAK}
"""
_SENDMAIL = f"""
import sys
from mailspool.cli.sendmail import main
assert main(["sendmail", "-i", "-C", sys.argv[1], "-f", "sender@bench.test", "user@good.test"]) == 0
{_PEAK}
"""


def way_in(code: str, config: Path, file: Path) -> int:
    """The peak of a Python that runs `code`, with the file as its input."""
    with file.open("rb") as text:
        done = subprocess.run(
            [sys.executable, "-c", code, str(config), str(file)],
            stdin=text,
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
    return int(done.stdout)


def peaks(folder: Path, sink: Sink, size: int) -> dict[str, int]:
    """By process, for one message of so many octets."""
    from ours import Mailspool
    from server import Setup, message

    file = folder / f"{size}.eml"
    file.write_bytes(message(size))
    server = Mailspool(folder / str(size), Setup(sink.address, {"mailspool": {"max_dequeue_processes": 1}}))
    try:
        sink.reset()
        found = {"`send_mail(filename=…)`": way_in(_SEND_MAIL, server.config, file)}
        eventually(lambda: sink.counters.messages == 1 and not server.queued(), "the first is delivered")
        found["`sendmail -i < file`"] = way_in(_SENDMAIL, server.config, file)
        eventually(lambda: sink.counters.messages == 2 and not server.queued(), "the second is delivered")
        supervisor, *workers = family(server.main.pid)
        found["the worker that delivers it"] = max(map(peak, workers))
        found["the supervisor"] = peak(supervisor)
        return found
    finally:
        server.close()


def main(folder: Path, options) -> int:
    sink = Sink(folder)
    try:
        small, large = (peaks(folder, sink, size) for size in (SMALL, options.megabytes * 10**6))
    finally:
        sink.close()
    print(
        f"| peak memory in MiB, by process | message of 1 KiB | of {options.megabytes} MB | more |\n|---|---|---|---|"
    )
    for process, most in large.items():
        least = small[process]
        print(f"| {process} | {least / MEBI:.1f} | {most / MEBI:.1f} | {(most - least) / MEBI:+.1f} |")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=100, help="size of the large message (100)")
    arguments = parser.parse_args()
    raise SystemExit(measure(lambda folder: main(folder, arguments)))
