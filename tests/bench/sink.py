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
    """Since the last `reset`. Of the monotonic clock, in ns, 0: never: first, last: when these messages came.

    spoken_to: when the first octet came.
    """

    messages: int
    sessions: int
    first: int
    last: int
    spoken_to: int


_SOURCE = Path(__file__).with_name("sink.c")
_FORM = struct.Struct("=5Q")


class Sink:
    """It listens at 127.0.0.1:port until it is closed. See sink.c for what can be asked of it.

    record: the file for the RCPT commands of each message. port: of all addresses; 0: a free one of 127.0.0.1.
    delay: milliseconds that each reply is late. chunking: whether it offers that.
    """

    def __init__(
        self,
        folder: Path,
        processes: int = 1,
        record: Path | None = None,
        *,
        port: int = 0,
        delay: int = 0,
        chunking: bool = False,
    ) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if not compiler:
            raise SystemExit("the sink needs a C compiler; on Debian: apt-get install gcc libc6-dev")
        program, counters = folder / "sink", folder / "counters"
        if not program.exists():
            subprocess.run([compiler, "-O2", "-o", program, _SOURCE], check=True)
        options = [f"-d{delay}", *([f"-p{port}"] if port else []), *(["-c"] if chunking else [])]
        command = [program, *options, *([f"-r{record}"] if record else []), counters, str(processes)]
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
