# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Runs in a host of the lab, as its first process: the commands that `Host.start` puts into <folder>/in, each at once.

It is run by the private root's Python, not by that of the tests, and needs nothing but its standard library.
"""

import json
import os
import subprocess
import sys
import threading
import time

POLL = 0.05  # seconds: nobody tells a host that a file came into a folder of the machine below it


def run(folder, name, command):
    began = time.monotonic()
    with open(f"{folder}/out/{name}.text", "wb") as out:
        done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    put(f"{folder}/out/{name}", {"code": done.returncode, "seconds": time.monotonic() - began})


def put(path, value):
    with open(f"{path}.draft", "w") as draft:
        json.dump(value, draft)
    os.rename(f"{path}.draft", path)


def main(folder):
    put(f"{folder}/up", True)
    while True:
        for name in sorted(os.listdir(f"{folder}/in")):
            if name.endswith(".draft"):
                continue
            with open(f"{folder}/in/{name}") as file:
                command = json.load(file)
            os.unlink(f"{folder}/in/{name}")
            threading.Thread(target=run, args=(folder, name, command), daemon=True).start()
        time.sleep(POLL)


main(sys.argv[1])
