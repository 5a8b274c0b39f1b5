# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The server that takes all mail, sink.c, compiled and started; its counters are read without asking it anything.

Tests that want more load than the server in tests/sink.py can bear use it too.
"""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple


class Counters(NamedTuple):
    """Since the last `reset`. first, last: when these messages came, ns of the monotonic clock, 0: never."""

    messages: int
    sessions: int
    first: int
    last: int


_SOURCE = Path(__file__).with_name("sink.c")
_FORM = struct.Struct("=4Q")


class Sink:
    """It listens at 127.0.0.1:port until it is closed. record: the file for the RCPT commands of each message."""

    def __init__(self, folder: Path, processes: int = 1, record: Path | None = None) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if not compiler:
            raise SystemExit("the sink needs a C compiler; on Debian: apt-get install gcc libc6-dev")
        program, counters = folder / "sink", folder / "counters"
        subprocess.run([compiler, "-O2", "-o", program, _SOURCE], check=True)
        command = [program, counters, str(processes), *([record] if record else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"
        with counters.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORM.size)

    @property
    def counters(self) -> Counters:
        return Counters(*_FORM.unpack(self._memory))

    def reset(self) -> None:
        self._memory[:] = bytes(_FORM.size)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
