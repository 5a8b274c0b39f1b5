# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import os
import select
import signal

from mailspool.supervisor.signals import QUEUED, Signals


def test_signals_are_queued_in_order_each_once_and_wake_a_selector():
    with Signals() as signals:
        assert select.select([signals], [], [], 0)[0] == []
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        assert select.select([signals], [], [], 5)[0] == [signals]
        assert signals.take() == [signal.SIGUSR1, signal.SIGHUP]
        assert signals.take() == []
        assert select.select([signals], [], [], 0)[0] == []


def test_at_its_end_every_signal_does_what_it_did_before():
    before = [signal.getsignal(number) for number in (*QUEUED, signal.SIGPIPE)]
    with Signals():
        pass
    assert [signal.getsignal(number) for number in (*QUEUED, signal.SIGPIPE)] == before
