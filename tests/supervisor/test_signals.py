# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import os
import select
import signal
import sys

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


def test_of_those_that_count_each_is_taken():
    with Signals() as signals:
        for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGHUP, signal.SIGTTOU, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert signals.take() == [signal.SIGTTIN, signal.SIGTTIN, signal.SIGHUP, signal.SIGTTOU]


def test_at_its_end_every_signal_does_what_it_did_before():
    before = [signal.getsignal(number) for number in (*QUEUED, signal.SIGPIPE)]
    with Signals():
        pass
    assert [signal.getsignal(number) for number in (*QUEUED, signal.SIGPIPE)] == before


def test_a_signal_that_comes_while_others_are_taken_is_not_lost():
    for number in range(200):  # the nth step of `take` is interrupted
        sent, steps = [], iter(range(number + 1))

        def once(frame, event, _argument, sent=sent, steps=steps):
            if frame.f_code is not Signals.take.__code__:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode" and next(steps, None) is None and not sent:
                sent.append(signal.SIGHUP)
                signal.raise_signal(signal.SIGHUP)
            return once

        with Signals() as signals:
            signal.raise_signal(signal.SIGUSR1)
            sys.settrace(once)
            try:
                taken = signals.take()
            finally:
                sys.settrace(None)
            assert sorted(taken + signals.take()) == sorted([signal.SIGUSR1, *sent])
        if not sent:
            return
