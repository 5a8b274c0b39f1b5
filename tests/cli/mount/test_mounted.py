# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is said of a mount's kind and options, and of what cannot be seen from here."""

import pytest

from mailspool.cli.mount import mounted
from mailspool.store.mount.mountinfo import Mount

GOOD = ("rw", "vers=4.2", "hard", "proto=tcp", "timeo=600", "sec=sys")


def found(kind="nfs4", options=GOOD, flags=("rw",), shared=True):
    return list(mounted.kind(Mount("/mnt", kind, "srv:/export", options, flags), "/mnt/spool", shared=shared))


def test_a_hard_mount_of_nfs_is_what_is_recommended():
    ((level, text, fix),) = found()
    assert (level, fix) == ("ok", "")
    assert text.startswith("/mnt/spool is on srv:/export (nfs4: ")
    assert found(kind="nfs", options=("rw", "vers=3", "hard", "nolock"))[0][0] == "ok"


@pytest.mark.parametrize("option", mounted._BAD)
def test_an_option_that_loses_mail_is_a_problem_with_its_fix(option):
    level, text, fix = found(options=(*GOOD, option))[0]
    assert level == "problem"
    assert text.startswith(f"/mnt is mounted with {option}: ")
    assert fix


@pytest.mark.parametrize("option", [*mounted._DOUBTFUL, "sec=krb5p"])
def test_an_option_that_may_do_harm_is_a_warning(option):
    level, text, fix = found(options=(option, *GOOD))[0]
    assert level == "warning"
    assert option in text
    assert fix


@pytest.mark.parametrize("where", ["options", "flags"])
def test_read_only_is_a_problem(where):
    level, text, fix = found(**{where: ("ro", "hard")})[0]
    assert (level, text) == ("problem", "/mnt/spool is mounted read-only")
    assert fix == "mount -o remount,rw /mnt"


def test_memory_is_no_place_for_a_spool():
    assert found(kind="tmpfs", shared=False)[0][:1] == ("warning",)
    assert "survives a power cut" in found(kind="tmpfs", shared=False)[0][1]


def test_what_was_never_tried_is_told():
    assert "cifs was never tried" in found(kind="cifs")[0][1]


def test_shared_on_a_disk_of_this_host_is_told():
    level, text, _ = found(kind="ext4", options=("rw",))[0]
    assert level == "warning"
    assert "no other host has" in text
    assert [level for level, _, _ in found(kind="ext4", options=("rw",), shared=False)] == ["ok"]


def test_what_no_client_can_see_is_said_with_how_to_look():
    server, cache = mounted.unseen(Mount("/mnt", "nfs4", "srv:/export", GOOD))
    assert server[0] == cache[0] == "warning"
    assert "async" in server[1]
    assert "exportfs -v" in server[2]
    assert "write cache" in cache[1]
    ((level, text, fix),) = mounted.unseen(Mount("/", "ext4", "/dev/sda", ("rw",)))
    assert level == "warning"
    assert "the disk's write cache" in text
    assert fix
