# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Domains that are measured with, and the name server that knows them: nsd at 127.0.0.1:53.

Each has an MX of its own, and that an address of its own, but for good.test. What a host is like follows from its
address: see sink.c.
"""

import contextlib
import shutil
import socket
import subprocess
from pathlib import Path

from processes import eventually

MANY = [f"d{number}.test" for number in range(500)]
HEALTHY = [f"h{number}.test" for number in range(200)]
SILENT = [f"t{number}.test" for number in range(200)]
STALLING = [f"s{number}.test" for number in range(200)]  # half of them at MAIL, half at DATA

_ADDRESSES = {
    **{name: f"127.0.{1 + number // 250}.{1 + number % 250}" for number, name in enumerate(MANY)},
    **{name: f"127.0.5.{1 + number}" for number, name in enumerate(HEALTHY)},
    **{name: f"127.0.10.{1 + number}" for number, name in enumerate(SILENT)},
    **{name: f"127.0.{11 + number % 2}.{1 + number}" for number, name in enumerate(STALLING)},
    "good.test": "127.0.4.1",
    "bench.test": "127.0.0.1",
}

_CONFIGURATION = """\
server:
    ip-address: 127.0.0.1
    username: ""
    database: ""
    zonesdir: "{folder}"
    zonelistfile: "{folder}/zonelist"
    xfrdfile: "{folder}/xfrd"
    xfrdir: "{folder}"
    pidfile: "{folder}/pid"
    logfile: "{folder}/log"
    server-count: 1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: test
    zonefile: zone
"""

_HEAD = (
    "$ORIGIN .\n$TTL 3600\ntest SOA ns.test. root.test. 1 3600 600 86400 3600\ntest NS ns.test.\nns.test A 127.0.0.1\n"
)


class NameServer:
    """It answers until it is closed. Needs port 53."""

    def __init__(self, folder: Path) -> None:
        nsd = shutil.which("nsd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if not nsd:
            raise SystemExit("the domains need a name server; on Debian: apt-get install nsd")
        folder.mkdir()
        records = "".join(f"{name} MX 10 mx.{name}.\nmx.{name} A {address}\n" for name, address in _ADDRESSES.items())
        (folder / "zone").write_text(_HEAD + records)
        (folder / "conf").write_text(_CONFIGURATION.format(folder=folder))
        self._process = subprocess.Popen([nsd, "-d", "-c", folder / "conf"], stderr=subprocess.DEVNULL)
        eventually(_answers, "nsd answers")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def _answers() -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 53), 1).close()
        return True
    return False
