# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Submits to a spool without end, in some processes, and tells the outside of each message once it is accepted.

    python -m tests.lab.accept CONFIG FOLDER PROCESSES

Each process of each boot writes a file of its own in FOLDER, a line for each message: ID, number of nodes, digest of
the body. So a line that a power cut has torn (a write that crosses a page is two to the outside) has nothing behind it.
The first process hands in batches.
"""

import os
import random
import sys
from hashlib import sha256

from mailspool.spool import Spool


def submit(spool, acknowledge, dice):
    while True:
        acknowledge(send(spool, dice))


def submit_batches(spool, acknowledge, dice):
    while True:
        with spool.batch() as batch:
            lines = [send(batch, dice) for _ in range(dice.randrange(1, 30))]
        acknowledge("".join(lines))


def send(way_in, dice):
    """The line that tells of it."""
    body = dice.randbytes(dice.choice([100, 2000, 30_000])).hex()
    text = "\n".join(body[at : at + 70] for at in range(0, len(body), 70)) + "\n"
    nodes = dice.choice([1, 1, 3])
    to = [f"joe{number}@x{number}.example" for number in range(nodes)]
    queue_id = way_in.send_mail(to=to, from_="me@y.example", message=f"Subject: {nodes}\n\n{text}")
    return f"{queue_id} {nodes} {digest(text.encode())}\n"


def digest(body):
    return sha256(body.replace(b"\r\n", b"\n")).hexdigest()


def main(config, folder, processes):
    spool = Spool.from_config(config)
    spool.create_dequeue_dirs()
    told = f"{folder}/acknowledged.{spool.store.owner.boot}"
    for number in range(int(processes)):
        if os.fork() == 0:
            # O_SYNC: a line that was written is outside, whatever becomes of this host.
            out = os.open(f"{told}.{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_SYNC)
            way = submit if number else submit_batches
            way(spool, lambda line: os.write(out, line.encode()), random.Random(number))  # noqa: B023 - in a fork
    os.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
