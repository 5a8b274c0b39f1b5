# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A worker that hangs in a system call, since the file server is dead, is killed in time; its slot is free again."""

import time

import pytest

from tests.running import eventually

BUDGET = 4.0  # seconds that a delivery may take
GONE = 5.0 + 3.0  # seconds after that, by which it must be; and what a busy machine adds


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_stuck_on_a_dead_file_server_is_gone_soon_after_its_deadline(shared):
    host = shared.hosts[0]
    # The supervisor does not look just now: it stops looking only once the lease's beats are late.
    with shared.delivering([host], delivery_timeout=BUDGET, max_dequeue_processes=1, dequeue_timeout=3600.0):
        seen = host.folder / "seen"
        watcher = host.start_python("-m", "tests.lab.gone", "/run/mailspool", f"{shared.seen(host)}/seen")
        shared.hold()
        accepted = shared.fill(1, [host], local="wait").wait()
        eventually(seen.exists)
        began = time.monotonic()
        shared.server.freeze()
        shared.release()
        try:
            host.wait(watcher, timeout=3 * (BUDGET + GONE))
            seconds = time.monotonic() - began
        finally:
            shared.server.thaw()
        print(f"NFS {shared.version}: gone {seconds:.1f} s after the file server, with a budget of {BUDGET:g} s")
        assert seconds < BUDGET + GONE
        shared.until_taken(accepted)
        shared.until_empty()
