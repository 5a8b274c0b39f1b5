# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What stands in a spool after this host's owners have died: recovers, then prints a line of JSON for each node.

python -m tests.lab.found CONFIG
"""

import json
import sys
from pathlib import Path

from mailspool.errors import Unreadable
from mailspool.spool import Spool
from mailspool.store import nodename
from tests.lab.accept import digest


def look(store, location):
    found = {"node": nodename.node_id_of(location.name), "state": location.state.name, "digest": ""}
    try:
        with store.open(location).file as file:
            found["digest"] = digest(file.read().partition(b"\r\n\r\n")[2])
    except Unreadable as error:
        found["torn"] = str(error)
    return found


def main(config, recover=""):
    spool = Spool.from_config(config)
    if recover:
        spool.store.recover()
    for location in spool.store.locations():
        print(json.dumps(look(spool.store, location)))
    for path in Path(spool.dequeue_dir, "incoming").glob("*"):
        print(json.dumps({"left": str(path)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
