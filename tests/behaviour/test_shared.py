# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A spool that is said to be shared is used only on a mount that this host found fit; one that may be, is told."""

import json
import subprocess
import sys
import time

import msgspec
import pytest

from mailspool.cli.admin import main
from mailspool.delivery import daemon as daemon_module
from mailspool.errors import ConfigError
from mailspool.store.claim import this_owner
from mailspool.store.mount import mountinfo, passed
from mailspool.store.mount.mountinfo import Mount
from tests.running import ENVIRONMENT, ROOT, write_config

HOST = this_owner().host
NFS = Mount("/spool", "nfs4", "srv:/export", ("rw", "vers=4.2", "hard"), ("rw",))


@pytest.fixture
def config(properties, tmp_path):
    path = tmp_path / "shared.toml"
    write_config(path, properties(shared=True))
    return str(path)


@pytest.fixture
def call(config):
    def run(program, *words):
        return subprocess.run(
            [sys.executable, str(ROOT / "bin" / program), *words, "-c", config],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def lack(spool):
    return f"shared: {spool} on host {HOST} has not been found fit to be shared: mailspool check-mount"


def test_the_daemon_does_not_start_before_check_mount_has_passed(call, tmp_path, daemon):
    spool = tmp_path / "spool"
    for words in ([], ["-f"]):
        refused = call("mailspoold", *words)
        assert refused.returncode == 78
        assert lack(spool) in refused.stderr
    assert not (tmp_path / "run" / "pid").exists()
    checked = call("mailspool", "check-mount")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert daemon(shared=True).answers()


def test_check_and_doctor_tell_it_too(call, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    checked = call("mailspool", "check")
    assert (checked.returncode, checked.stderr) == (78, f"mailspool: {lack(spool)}\n")
    told = json.loads(call("mailspool", "doctor", "--json").stdout)["findings"]
    (one,) = [finding for finding in told if finding["check"] == "permissions"]
    assert one == {
        "check": "permissions",
        "level": "problem",
        "text": lack(spool).removesuffix(": mailspool check-mount"),
        "fix": "mailspool check-mount",
    }
    assert call("mailspool", "check-mount").returncode == 0
    assert call("mailspool", "check").returncode == 0


def test_a_pass_that_is_too_old_or_of_another_mount_counts_no_more(make_spool, monkeypatch):
    spool = make_spool(shared=True)
    root = spool.settings.dequeue_dir
    kept = passed.Pass(int(time.time()), "1", NFS.source, NFS.kind, NFS.lasting, 1, 0)
    passed.record(root, HOST, "me", kept)
    monkeypatch.setattr(mountinfo, "mount_of", lambda _: NFS)
    daemon_module._look_at_mount(spool)  # as it was
    monkeypatch.setattr(mountinfo, "mount_of", lambda _: msgspec.structs.replace(NFS, source="other:/export"))
    with pytest.raises(ConfigError, match="is mounted from other:/export"):
        daemon_module._look_at_mount(spool)
    monkeypatch.setattr(mountinfo, "mount_of", lambda _: NFS)
    passed.record(root, HOST, "me", msgspec.structs.replace(kept, time=kept.time - passed.RECENT - 60))
    with pytest.raises(ConfigError, match="more than 30 days ago: mailspool check-mount"):
        daemon_module._look_at_mount(spool)


def test_on_a_network_file_system_it_warns_that_nobody_else_may_use_it(make_spool, monkeypatch, tmp_path):
    monkeypatch.setattr(mountinfo, "mount_of", lambda _: NFS)
    spool = make_spool()
    told = []
    monkeypatch.setattr(daemon_module.log, "get_logger", lambda: Told(told))
    daemon_module._look_at_mount(spool)
    ((text, facts),) = told
    assert text == "not shared: no other host may use this spool"
    assert facts == {"spool": spool.settings.dequeue_dir, "mount": str(NFS)}


class Told:
    def __init__(self, told):
        self.warning = lambda text, **facts: told.append((text, facts))


@pytest.mark.parametrize(
    ("mount", "shared", "level", "words"),
    [
        (NFS, False, "warning", "shared is not set: no other host may use it"),
        (NFS, True, "ok", "is on srv:/export (nfs4), shared"),
        (Mount("/", "ext4", "/dev/sda", ("rw",)), True, "warning", "which other hosts do not have"),
        (Mount("/", "ext4", "/dev/sda", ("rw",)), False, "ok", "is on /dev/sda (ext4)"),
    ],
)
def test_doctor_tells_what_the_spool_is_on(mount, shared, level, words, properties, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mountinfo, "mount_of", lambda _: mount)
    write_config(tmp_path / "doctor.toml", properties(shared=shared))
    main(["doctor", "--json", "-c", str(tmp_path / "doctor.toml")])
    told = json.loads(capsys.readouterr().out)["findings"]
    (one,) = [finding for finding in told if finding["check"] == "mount"]
    assert one["level"] == level
    assert words in one["text"]


def test_a_shared_spool_that_root_may_not_look_into_is_for_the_daemon_to_judge(make_spool, monkeypatch, capsys, config):
    """Root is squashed: only the daemon's user can read the result."""
    make_spool(shared=True)
    from mailspool.store import fsops

    def refuse(path, octets=-1):
        with fsops._Step("read", path):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fsops, "read", refuse)
    assert main(["check", "-c", config]) == 0
