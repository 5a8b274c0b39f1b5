# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Accepts a number of messages, each to one recipient, and tells the outside of each of them at once.

    python -m tests.lab.fill CONFIG MESSAGES FILE [LOCALPARTS]

FILE gets a line for each: its ID. LOCALPARTS: of the recipients, in turn, with commas; they say what `tests.sink` does.
"""

import os
import sys
from itertools import cycle

from mailspool.spool import Spool

MESSAGE = "Subject: hello\n\n" + "world\n" * 50


def main(config, messages, file, locals_="joe"):
    spool = Spool.from_config(config)
    spool.create_dequeue_dirs()
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC)
    for number, local in zip(range(int(messages)), cycle(locals_.split(",")), strict=False):
        to = f"{local}+{number}@x{number % 10}.example"
        os.write(out, f"{spool.send_mail(to=to, from_='me@y.example', message=MESSAGE)}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
