# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The real logrotate with the file that setup installs, while the daemon writes."""

import pytest

from tests.running import eventually

LOG = "/var/log/mailspool/mailspool.log"
USAGE = "/var/spool/mailspool/usage"


@pytest.fixture
def rotating(host, sink):
    """host with a rotation by force."""
    host.deliver_to(sink, f'log_file = "{LOG}"')
    host.start()
    host.rotate = lambda: host.run("logrotate", "--force", "--state=/tmp/state", "/etc/logrotate.d/mailspool")
    return host


def delivered(host, name):
    """It is said in the log file, as it is called now."""
    assert host.sendmail(f"{name}@example.net").returncode == 0
    eventually(lambda: host.at(LOG).exists() and f"to=<{name}@example.net>" in host.at(LOG).read_text(), what=name)


def listed(host):
    return sorted(path.name for path in host.at(USAGE).iterdir())


def test_after_a_rotation_the_daemon_goes_on_in_a_new_file(rotating):
    delivered(rotating, "before")
    rotating.rotate()
    old = rotating.at(f"{LOG}.1")
    assert "to=<before@example.net>" in old.read_text()
    delivered(rotating, "after")
    assert "to=<after@example.net>" not in old.read_text()
    assert "to=<before@example.net>" not in rotating.at(LOG).read_text()
    rotating.rotate()
    assert rotating.at(f"{LOG}.2.gz").exists()


def test_a_rotation_without_a_daemon_or_a_log_is_no_error(rotating):
    delivered(rotating, "before")
    rotating.init("stop")
    rotating.rotate()
    assert rotating.at(f"{LOG}.1").exists()
    rotating.rotate()


def test_the_usage_log_is_rotated_once_and_what_is_rotated_is_left_alone(rotating):
    rotating.run("install", "-d", "-m", "0700", "-o", "mailspool", "-g", "mailspool", USAGE)
    delivered(rotating, "before")
    (name,) = eventually(lambda: listed(rotating), what="the daemon's")
    file = rotating.at(f"{USAGE}/{name}")
    eventually(lambda: len(file.read_text().splitlines()) == 2, what="a line of the listener and one of a worker")
    for _ in range(2):
        rotating.rotate()
        assert listed(rotating) == [f"{name}.1.gz"]
