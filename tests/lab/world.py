# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The rest of the world, on a host of its own: a server that takes all mail, and tells the outside of each message.

    python -m tests.lab.world FOLDER

FOLDER/taken gets a line for each message at its final dot: its ID, or "bounce:ID" with that of the message it is
about. While FOLDER/hold is there, replies to final dots
wait.
"""

import os
import re
import sys
import time
from pathlib import Path

from tests.sink import Sink

PORT = 25
POLL = 0.05  # seconds: nobody tells a host that a file came into a folder of the machine below it


class Taken(list):
    """The mails of a `Sink`, none of which it remembers. O_SYNC: a line that was written is outside."""

    def __init__(self, path):
        super().__init__()
        self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC, 0o644)

    def append(self, mail):
        ids = [match.decode() for match in re.findall(rb"\tid ([0-9A-Z]+)", mail.content)]
        os.write(self._out, f"{ids[0]}\n".encode() if mail.sender else f"bounce:{ids[-1]}\n".encode())


def main(folder):
    sink = Sink(host="0.0.0.0", port=PORT)
    sink.mails = Taken(f"{folder}/taken")
    hold = Path(folder, "hold")
    while True:
        (sink.hold if hold.exists() else sink.release)()
        time.sleep(POLL)


if __name__ == "__main__":
    main(*sys.argv[1:])
