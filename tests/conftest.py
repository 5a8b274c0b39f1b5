# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What tests of more than one room need: servers that take mail, spools, and the real daemon.

How to wait and what else there is to import: tests/running.py and tests/sink.py.
"""

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import hypothesis
import pytest

from mailspool.config.load import make
from mailspool.spool import Spool
from tests.running import Daemon, me
from tests.sink import Sink

# How fast a machine is, no test decides: tests/bench measures it.
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")


LAB = "tests/lab"


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, the lab before all: where several run at a time, none of those is the last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, not item.nodeid.startswith(LAB)))


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config, log):
    """Who runs a file runs all of it; who boots the lab's hosts for a version of NFS runs all that they are for."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file, _, name = nodeid.partition("::")
            _, parameter, version = name.partition("[")
            return f"{LAB}[{version}" if parameter and file.startswith(LAB) else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture
def public_path():
    """A temporary folder that every user can get to: each run of pytest closes the one that its own lie in."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Clock:
    """Seconds that pass only when a test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def sinks():
    """sinks(greeting="hang", …) makes one more `Sink`."""
    made = []

    def start(**behaviour):
        made.append(Sink(**behaviour))
        return made[-1]

    yield start
    for sink in made:
        sink.close()


@pytest.fixture
def sink(sinks):
    """A server that takes all mail."""
    return sinks()


@pytest.fixture
def properties(tmp_path):
    """Options of a spool in tmp_path; properties(sink=sink, …): all of its mail goes to that sink."""

    def make_properties(*, sink=None, **more):
        (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
        smarthost = {"smarthost": sink.address} if sink else {"smarthost": "127.0.0.1:9"}
        return {
            "dequeue_dir": str(tmp_path / "spool"),
            "run_dir": str(tmp_path / "run"),
            "hostname": "mail.test",
            "mail_name": "mail.test",
            "aliases_file": "",
            "user": me(),
            "tls": "none",
            "nameservers": ["127.0.0.1"],
            "dns_timeout": 1.0,
            "first_attempt_timeout": 300.0,  # who hangs on purpose does so as long as the test needs
            **smarthost,
            **more,
        }

    return make_properties


@pytest.fixture
def make_spool(properties):
    """make_spool(sink=…, cls=…, clock=…, **options): a spool with its directories made."""

    def make_one(*, cls=Spool, clock=None, dice=None, **options):
        extras = {name: value for name, value in (("clock", clock), ("dice", dice)) if value is not None}
        spool = cls(make(**properties(**options)), **extras)
        spool.create_dequeue_dirs()
        return spool

    return make_one


@pytest.fixture
def daemon(properties, tmp_path):
    """daemon(sink=…, **options): the real mailspoold, which answers on its control socket; ended after the test."""
    made = []

    def start(*, command=None, **options):
        made.append(Daemon(tmp_path, properties(**options), command))
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A file with a key and its self-signed certificate for mx.example.org."""
    assert shutil.which("openssl"), "these tests need the openssl command: install the package openssl"
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    key_kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=mx.example.org", "-addext", "subjectAltName=DNS:mx.example.org"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(
        ["openssl", "req", "-x509", "-days", "2", *key_kind, *names, *files], check=True, capture_output=True
    )
    both.write_text(key.read_text() + cert.read_text())
    return both


@pytest.fixture
def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
