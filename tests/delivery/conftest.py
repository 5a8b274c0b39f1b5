# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A clock that stands still, a station that can be told to interrupt, a DNS server, a spool with domains of its own."""

import runpy
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailspool.delivery.work import SpoolWork
from mailspool.spool import Spool
from mailspool.supervisor.job import NOTHING

DnsServer = runpy.run_path(str(Path(__file__).parent.parent / "dns" / "conftest.py"))["DnsServer"]


@pytest.fixture
def server():
    server = DnsServer()
    yield server
    server.close()


class Clock:
    """Unix seconds that pass only when told."""

    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Station:
    """A worker's place without a worker. interrupt: (phase, n, error): raise it when that phase begins the nth time."""

    serial = 7
    order = NOTHING

    def __init__(self, interrupt=None):
        self.finishing = False
        self.phases = []
        self.waits = {}  # seconds, by phase
        self.alarms = []
        self.refusals = []
        self.counted = ()  # the patterns of hosts that the batch counts for
        self.slowed = []
        self.appointed = []
        self.rules = []  # those that were asked for
        self._interrupt = interrupt

    def watch(self, phase, host, seconds):
        self.phases.append(phase)
        self.waits[phase] = seconds
        if self._interrupt and (phase, self.phases.count(phase)) == self._interrupt[:2]:
            raise self._interrupt[2]

    def slower(self, text, seconds):
        self.slowed.append((text, seconds))

    def lost(self):
        self.order = self.order._replace(careful=True)

    def appoint(self, job, seconds):
        self.appointed.append((job, seconds))

    def counts_for(self, rule):
        self.rules.append(rule)
        return rule in self.counted

    def connection_to(self, address, port):
        return None

    def refused(self, text):
        self.refusals.append(text)

    def alarm(self, subject, text):
        self.alarms.append((subject, text))

    @contextmanager
    def deadline(self, seconds, about=""):
        self.budget = seconds
        yield


class ManyHosts(Spool):
    """`hosts`: the MX of every domain."""

    hosts: tuple[str, ...] = ()

    def lookup_mx(self, domain):
        return self.hosts


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def station():
    return Station


@pytest.fixture
def two_hosts(sinks, make_spool):
    """two_hosts(first={…}, second={…}): a spool, and the two hosts that each domain of it has."""

    def make(first, second, **options):
        one = sinks(**first)
        two = sinks(host="127.0.0.2", port=one.port, **second)
        spool = make_spool(cls=ManyHosts, smarthost="", smtp_port=one.port, **options)
        spool.hosts = (one.host, two.host)
        return spool, one, two

    return make


@pytest.fixture
def jobs_of():
    """What a look of the supervisor into every tier finds."""
    from mailspool.supervisor.job import Look

    return lambda spool: list(SpoolWork(spool).jobs(Look.ALL))
