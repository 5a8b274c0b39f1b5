# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real thing: Postfix and Exim take the mail, nsd has the MX records, the real daemon delivers at once.

All of them are started once for the tests of this folder. `daemon` is the one that must leave its spool empty.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.peers import server
from tests.running import ENVIRONMENT, ROOT, Daemon, eventually


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.peer)


@pytest.fixture(scope="session")
def private_root():
    """What this run of the tests may write to, in the root that install.sh made: the path outside and inside of it."""
    if os.geteuid() != 0:
        server.missing("only root can start servers in a private root")
    if not (server.ROOT.parent / "installed").exists():
        server.missing("tests/peers/install.sh has not unpacked Postfix and Exim yet")
    outside = Path(tempfile.mkdtemp(dir=server.ROOT / "srv"))
    outside.chmod(0o755)
    inside = f"/srv/{outside.name}"
    for name in ("postfix", "exim"):
        server.make_directory(outside / name)
        server.make_directory(outside / name / "etc")
        _make_certificate(outside / name / "etc" / "key+certificate.pem", f"mx.{name}.peers.test")
    yield outside, inside
    shutil.rmtree(outside)


def _make_certificate(file, name):
    openssl = [server.program("openssl", "openssl"), "req", "-x509", "-days", "2", "-subj", f"/CN={name}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "-"]
    made = subprocess.run([*openssl, *key], capture_output=True, check=True)
    file.touch(mode=0o600)
    file.write_bytes(made.stdout)


@pytest.fixture(scope="session")
def smtp_port():
    """Both peers' port, on their own addresses. Nobody listens at the dead host's."""
    return server.free_port(server.POSTFIX, server.EXIM, server.DEAD, *server.POSTFIX_WITH_LOGIN.values())


@pytest.fixture(scope="session")
def postfix(private_root, smtp_port):
    outside, inside = private_root
    peer = server.start_postfix(outside / "postfix", f"{inside}/postfix", smtp_port)
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def exim(private_root, smtp_port):
    outside, inside = private_root
    peer = server.start_exim(outside / "exim", f"{inside}/exim", smtp_port)
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def name_server(tmp_path_factory):
    nsd = server.start_nsd(tmp_path_factory.mktemp("nsd"))
    yield nsd
    nsd.stop()


@pytest.fixture(scope="session")
def peers(postfix, exim):
    """Each peer by its name, which is its domain's too."""
    return {"postfix": postfix, "exim": exim}


@pytest.fixture(scope="session")
def daemon(peers, name_server, smtp_port, tmp_path_factory):
    """The real mailspoold. At the end its spool is empty, its log holds no error, and its idle workers stop at once."""
    folder = tmp_path_factory.mktemp("mailspool")
    (folder / "run").mkdir(mode=0o700)
    properties = {
        "dequeue_dir": str(folder / "spool"),
        "run_dir": str(folder / "run"),
        "user": "root",
        "hostname": "sender.peers.test",
        "mail_name": "exim.peers.test",
        "nameservers": [f"127.0.0.1:{name_server.port}"],
        "smtp_port": smtp_port,
    }
    one = Daemon(folder, properties)
    yield one
    try:
        nodes = lambda: [str(file) for file in (folder / "spool").glob("[0-9]/**/*") if file.is_file()]  # noqa: E731
        eventually(lambda: not nodes(), what="an empty spool")
        assert one.stop(timeout=10) == 0, one.log
        assert not [line for line in one.log.splitlines() if "error:" in line]
    finally:
        one.end()


@pytest.fixture
def environment(daemon):
    """Of a program that calls `sendmail`: the path to ours, and its configuration."""
    path = f"{ROOT}/bin:{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"
    return {**ENVIRONMENT, "PATH": path, "MAILSPOOL_CONFIG": str(daemon.config)}


@pytest.fixture
def sendmail(environment):
    """sendmail(*arguments, text=…): call it as a program does."""

    def call(*arguments, text):
        ended = subprocess.run(["sendmail", *arguments], input=text, env=environment, capture_output=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")

    return call
