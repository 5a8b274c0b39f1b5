# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Some processes of each host race for the nodes of one tier.

    python -m tests.lab.race prepare SPOOL NODES
    python -m tests.lab.race rename|claim|fall-back SPOOL PROCESSES GO

rename: bare renames, each process for every name, as the lab's figures were taken before there was a store. claim: the
store's, with names dealt out to the processes of a host as a supervisor does, so that only hosts race. fall-back: each
node that is claimed falls back, all into one folder, which everybody's looks take away whenever it is empty, and is
claimed from there.

Once they are ready, GO.<owner> is there; they begin when the file GO is. Prints a line for each process: its claims,
and the seconds until no node was left.
"""

import os
import random
import sys
import time
from zlib import crc32

from mailspool.errors import ClaimLost
from mailspool.store.base import Location, State
from mailspool.store.claim import Attempts, this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.waiting import Waiting

POLL = 0.01  # seconds
OLD = 1_700_000_000


def prepare(spool, nodes):
    FileStore(spool, this_owner()).create(1)
    for number in range(int(nodes)):
        with open(f"{spool}/0/0-0TOXNU{number:014d}.0-x.example", "xb"):
            pass


def claims(store, serial):
    attempts = Attempts(f"w{serial}")

    def take(name):
        try:
            store.claim(Location(State.QUEUED, 0, name), next(attempts))
        except ClaimLost:
            return False
        return True

    return take


def falls(store, serial):
    store.create(2)
    take, attempts = claims(store, serial), Attempts(f"v{serial}")

    def fall(name):
        if not take(name):
            return False
        (claim,) = store.claims(f"w{serial}.")
        later = store.move(claim, Location(State.QUEUED, 1, f"{OLD}-{name.partition('-')[2]}"))
        store.look(1, Waiting(OLD + 2000, OLD + 3000, 0))
        store.delete(store.claim(later, next(attempts)))
        return True

    return fall


def renames(store, serial):
    mine = f"{store.root}/claimed/{store.owner}.{serial}"
    os.mkdir(mine)

    def take(name):
        try:
            os.rename(f"{store.root}/0/{name}", f"{mine}/{name}")
        except FileNotFoundError:
            return False
        return True

    return take


def race(way, store, serial, processes, go):
    take = {"claim": claims, "rename": renames, "fall-back": falls}[way](store, serial)
    while not os.path.exists(go):
        time.sleep(POLL)
    began, taken = time.monotonic(), 0
    while names := store.names(0):
        random.shuffle(names)
        taken += sum(take(name) for name in names if way == "rename" or crc32(name.encode()) % processes == serial)
    print(taken, time.monotonic() - began, flush=True)


def main(way, spool, number, go=""):
    if way == "prepare":
        return prepare(spool, number)
    store = FileStore(spool, this_owner())
    children = []
    for serial in range(int(number)):
        if not (child := os.fork()):
            race(way, store, serial, int(number), go)
            os._exit(0)
        children.append(child)
    open(f"{go}.{store.owner}", "x").close()
    return sum(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
