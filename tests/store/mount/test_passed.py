# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The result of check-mount is kept for a host and for one way of mounting, and counts for thirty days."""

import msgspec
import pytest

from mailspool.errors import ClaimLost
from mailspool.store import fsops
from mailspool.store.mount import passed
from mailspool.store.mount.mountinfo import Mount

NOW = 1_700_000_000
MOUNT = Mount("/spool", "nfs4", "srv:/export", ("rw", "vers=4.2", "hard", "clientaddr=192.0.2.7"), ("rw",))
PASS = passed.Pass(NOW, "1.0", MOUNT.source, MOUNT.kind, MOUNT.lasting, 1, 0)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "hosts").mkdir()
    return str(tmp_path)


def keep(root, host="a", **changes):
    passed.record(root, host, "me", msgspec.structs.replace(PASS, **changes))


def test_a_pass_is_kept_and_counts_for_this_host_alone(root):
    keep(root)
    assert passed.read(root, "a") == PASS
    assert passed.lack(root, "a", MOUNT, NOW + 1) == ""
    assert passed.lack(root, "b", MOUNT, NOW + 1) == (
        f"shared: {root} on host b has not been found fit to be shared: mailspool check-mount"
    )


def test_it_counts_for_thirty_days(root):
    keep(root)
    assert passed.lack(root, "a", MOUNT, NOW + passed.RECENT) == ""
    assert "more than 30 days ago" in passed.lack(root, "a", MOUNT, NOW + passed.RECENT + 1)
    assert "more than 30 days ago" in passed.lack(root, "a", MOUNT, NOW - passed.RECENT - 1)  # the clock was set back


@pytest.mark.parametrize(
    "change",
    [{"source": "other:/export"}, {"kind": "nfs"}, {"options": (*MOUNT.options[:2], "soft")}],
    ids=["server", "kind", "options"],
)
def test_a_mount_that_has_changed_must_pass_again(root, change):
    keep(root)
    changed = msgspec.structs.replace(MOUNT, **change)
    lack = passed.lack(root, "a", changed, NOW)
    assert f"is mounted from {changed}, and was found fit when it was from {MOUNT}" in lack
    assert lack.endswith(": mailspool check-mount")


def test_another_address_of_the_same_server_is_no_change(root):
    keep(root)
    moved = msgspec.structs.replace(MOUNT, options=("rw", "vers=4.2", "hard", "clientaddr=192.0.2.8", "rsize=4096"))
    assert passed.lack(root, "a", moved, NOW) == ""


def test_the_newest_run_counts_even_if_it_found_a_problem(root):
    keep(root)
    keep(root, problems=2)
    assert "was found not fit to be shared, problems: 2" in passed.lack(root, "a", MOUNT, NOW)
    keep(root)
    assert passed.lack(root, "a", MOUNT, NOW) == ""


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"time": "now"}'])
def test_what_cannot_be_understood_is_no_pass(root, text):
    keep(root)
    with open(passed.path_of(root, "a"), "wb") as file:
        file.write(text)
    assert "has not been found fit" in passed.lack(root, "a", MOUNT, NOW)


def test_a_rename_that_is_denied_though_done_keeps_it(root, monkeypatch):
    rename = fsops.rename

    def deny(source, target):
        rename(source, target)
        raise ClaimLost(f"cannot rename {source}: No such file or directory")

    monkeypatch.setattr(fsops, "rename", deny)
    keep(root)
    assert passed.read(root, "a") == PASS


def test_a_rename_that_was_not_done_is_an_error(root, monkeypatch):
    def fail(source, target):
        raise ClaimLost(f"cannot rename {source}: No such file or directory")

    monkeypatch.setattr(fsops, "rename", fail)
    with pytest.raises(ClaimLost):
        keep(root)
