# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Which mount a directory is on, by what the kernel itself says."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailspool.errors import SpoolError
from mailspool.store.mount.mountinfo import Mount, mount_of, parse
from tests.running import ENVIRONMENT

NFS4 = (
    "61 26 0:45 / /var/spool/mail\\040spool rw,nosuid,relatime shared:31 - nfs4 srv:/export/spool "
    "rw,vers=4.2,rsize=131072,wsize=131072,namlen=255,hard,proto=tcp,timeo=600,clientaddr=192.0.2.7,addr=192.0.2.1"
)
EXT4 = "26 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"


def test_a_line_is_read_with_its_escapes_and_without_the_optional_fields():
    mount = parse(f"{EXT4}\n{NFS4}\n")[61]
    assert mount.point == "/var/spool/mail spool"
    assert (mount.kind, mount.source) == ("nfs4", "srv:/export/spool")
    assert mount.option("vers") == "4.2"
    assert mount.option("hard") == mount.option("absent") == ""
    assert mount.flags == ("rw", "nosuid", "relatime")
    assert parse(EXT4)[26].kind == "ext4"


def test_what_is_settled_anew_at_each_mount_does_not_last():
    (mount,) = parse(NFS4).values()
    assert mount.lasting == ("hard", "proto=tcp", "rw", "timeo=600", "vers=4.2")
    elsewhere = parse(NFS4.replace("192.0.2.", "203.0.113.").replace("rsize=131072", "rsize=4096"))[61]
    assert elsewhere.lasting == mount.lasting
    assert str(mount) == "srv:/export/spool (nfs4: hard, proto=tcp, rw, timeo=600, vers=4.2)"


@pytest.mark.parametrize(
    ("kind", "is_network"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "9p", "fuse", "fuse.sshfs", "ceph")),
        *((kind, False) for kind in ("ext4", "xfs", "tmpfs", "overlay", "fuseblk", "vfat")),
    ],
)
def test_a_file_system_that_other_hosts_may_have_is_known_by_its_kind(kind, is_network):
    assert Mount("/", kind, "x", ("rw",)).is_network is is_network


def test_read_only_is_the_file_system_or_the_mount():
    assert Mount("/", "nfs4", "x", ("ro",), ("rw",)).is_read_only
    assert Mount("/", "nfs4", "x", ("rw",), ("ro",)).is_read_only
    assert not Mount("/", "nfs4", "x", ("rw",), ("rw",)).is_read_only


def test_the_mount_of_a_directory_is_the_kernels_own_word(tmp_path):
    assert mount_of("/proc").kind == "proc"
    device = os.stat(tmp_path).st_dev
    assert os.stat(mount_of(str(tmp_path)).point).st_dev == device
    assert mount_of(str(tmp_path / "not" / "yet")) == mount_of(str(tmp_path))


def test_a_bind_mount_is_found_below_a_link_and_over_another_mount(tmp_path):
    """In a mount namespace of its own."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    look = "from mailspool.store.mount.mountinfo import mount_of; import sys; print(mount_of(sys.argv[1]).source)"
    script = (
        f"cd {tmp_path} && mount -t tmpfs below b && mount -t tmpfs above b && "
        f"mkdir b/inner && {sys.executable} -c '{look}' link/inner"
    )
    ran = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-ec", script],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "above\n"


def test_without_proc_it_says_so(tmp_path):
    with pytest.raises(SpoolError, match=r"cannot tell how .* is mounted"):
        mount_of(str(tmp_path), proc=str(tmp_path))


FIELD = st.text(st.characters(exclude_categories=["C"]), min_size=1)


def escaped(text):
    return "".join(f"\\{ord(c):03o}" if c in " \\\t\n" else c for c in text)


@given(number=st.integers(0, 2**31), point=FIELD, source=FIELD, words=st.lists(st.sampled_from(["a:1", "b"])))
def test_a_line_comes_back_whatever_is_in_it(number, point, source, words):
    line = " ".join(
        [str(number), "1", "0:1", "/", escaped(point), "rw", *words, "-", "nfs", escaped(source), "rw,hard"]
    )
    assert parse(line) == {number: Mount(point, "nfs", source, ("rw", "hard"), ("rw",))}


@given(st.text())
def test_no_text_makes_it_fail(text):
    parse(text)
