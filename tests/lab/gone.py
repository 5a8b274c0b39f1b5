# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Waits until a daemon has one worker, and then until it has none, by what its supervisor says; touches no spool.

Run as `python -m tests.lab.gone RUN_DIR SEEN`. The file SEEN is made in between.
"""

import json
import sys
import time
from pathlib import Path

from mailspool.supervisor import control

POLL = 0.05  # seconds


def workers(run_dir):
    return [each["phase"] for each in json.loads(control.ask(run_dir, "status"))["workers"]]


def main(run_dir, seen):
    while "RCPT" not in workers(run_dir):
        time.sleep(POLL)
    Path(seen).touch()
    while workers(run_dir):
        time.sleep(POLL)


if __name__ == "__main__":
    main(*sys.argv[1:])
