# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the daemon loads before its first fork is in the memory of each of its processes."""

import subprocess
import sys

CODE = """
import sys
import mailspool.cli.mailspoold, mailspool.delivery.daemon
from mailspool.delivery.door import preload
preload()
print(*sys.modules)
"""


def test_what_no_process_of_the_daemon_needs_is_in_the_memory_of_none():
    loaded = {*subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()}
    assert "mailspool.supervisor.supervisor" in loaded
    assert not {"attr", "difflib", "html", "http", "multiprocessing", "pygments", "rich", "tomllib"} & loaded
    assert not {"mailspool.cli.check", "mailspool.config.complaint", "mailspool.config.explain"} & loaded
