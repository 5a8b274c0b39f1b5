# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What stands in a spool: prints a line of JSON for each node, and for each file in `incoming`.

Run as `python -m tests.lab.found CONFIG [recover]`. With "recover" the claims of this host's dead owners are returned
first, and what they had not accepted is swept.
"""

import json
import sys
from pathlib import Path

from mailspool.errors import ClaimLost, Unreadable
from mailspool.spool import Spool
from mailspool.store import nodename
from tests.lab.accept import digest


def look(store, location):
    node = nodename.node_id_of(location.name)
    found = {"node": node, "state": location.state.name, "sealed": location.sealed, "owner": location.owner}
    try:
        with store.open(location).file as file:
            return {**found, "digest": digest(file.read().partition(b"\r\n\r\n")[2])}
    except Unreadable as error:
        return {**found, "torn": str(error)}


def main(config, recover=""):
    spool = Spool.from_config(config)
    if recover:
        spool.store.recover()
    for location in spool.store.locations():
        try:
            print(json.dumps(look(spool.store, location)))
        except ClaimLost:  # it has moved meanwhile
            print(json.dumps({"moved": location.name}))
    for path in Path(spool.dequeue_dir, "incoming").glob("*"):
        print(json.dumps({"left": str(path)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
