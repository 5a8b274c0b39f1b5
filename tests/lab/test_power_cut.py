# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A small host accepts mail as fast as it can, and its power is cut: what it had acknowledged is there, whole, once.

Outside is the lab's folder: a line in it outlives the host. The disk keeps what the kernel had written to it by then.
"""

import json
import random
from pathlib import Path

import pytest

from tests.running import eventually, write_config

FILE_SYSTEMS = ("ext4", "xfs")
NOSYNC = Path(__file__).parent / "nosync"
SUBMITTERS = 2  # for each file system
CUTS = 3


class Accepting:
    """A host with a spool on each file system, and what it has told the outside of each."""

    def __init__(self, lab):
        self.host = lab.host("small", disks=[lab.disk(kind) for kind in FILE_SYSTEMS])
        self.host.boot()
        for kind, disk in zip(FILE_SYSTEMS, "ab", strict=True):
            self.host.run(f"mkfs.{kind} -q /dev/ubd{disk}")
            (self.host.folder / kind).mkdir()
            properties = {"dequeue_dir": f"/run/disk/{kind}/spool", "run_dir": "/run/mailspool", "user": "root"}
            write_config(self.host.folder / kind / "mailspool.toml", {**properties, "hostname": "small.test"})

    def mount(self):
        """As after every boot: the journal is played back, then the file system must be sound."""
        for kind, disk, check in zip(FILE_SYSTEMS, "ab", ("e2fsck -fn", "xfs_repair -n"), strict=True):
            mount = f"mkdir -p /run/disk/{kind}; mount /dev/ubd{disk} /run/disk/{kind}"
            self.host.run(f"{mount}; umount /run/disk/{kind}; {check} /dev/ubd{disk} && {mount}")

    def seen(self, kind):
        """What the host sees of its folder for a file system."""
        return f"/run/share/{self.host.name}/{kind}"

    def accept(self, **variables):
        for kind in FILE_SYSTEMS:
            spool = f"{self.seen(kind)}/mailspool.toml"
            self.host.start_python("-m", "tests.lab.accept", spool, self.seen(kind), SUBMITTERS, **variables)

    def acknowledged(self, kind):
        """{node: digest}. What is no whole line, at the end of a file, promised nothing."""
        nodes = {}
        for file in (self.host.folder / kind).glob("acknowledged.*"):
            for line in file.read_text().split("\n")[:-1]:
                queue_id, count, digest = line.split()
                nodes |= {f"{queue_id}.{number}": digest for number in range(int(count))}
        return nodes

    def found(self, kind):
        """A dict for each node, and for what is left in `incoming`; see tests/lab/found.py."""
        text = self.host.python("-m", "tests.lab.found", f"{self.seen(kind)}/mailspool.toml", "recover").text
        return [json.loads(line) for line in text.splitlines()]

    def until_more(self, than, number):
        for kind in FILE_SYSTEMS:
            eventually(lambda kind=kind: len(self.acknowledged(kind)) >= len(than[kind]) + number)


def not_kept(promised, found):
    """{node: its digest now} of those that are missing or are another's. promised, found: {node: digest}."""
    return {node: found.get(node, "missing") for node, digest in promised.items() if found.get(node) != digest}


@pytest.fixture
def accepting(lab):
    made = Accepting(lab)
    made.mount()
    return made


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_power_cuts_while_it_accepts_lose_tear_and_double_nothing_that_was_acknowledged(accepting):
    dice = random.Random(4)
    for _ in range(CUTS):
        before = {kind: accepting.acknowledged(kind) for kind in FILE_SYSTEMS}
        accepting.accept()
        accepting.until_more(before, 50 + dice.randrange(200))
        accepting.host.cut_power()
        accepting.host.boot()
        accepting.mount()
        for kind in FILE_SYSTEMS:
            promised, found = accepting.acknowledged(kind), accepting.found(kind)
            print(f"{kind}: {len(promised)} nodes acknowledged, {len(found)} found")
            assert [each for each in found if each.get("state") != "QUEUED" or "torn" in each] == []
            nodes = {each["node"]: each["digest"] for each in found}
            assert len(nodes) == len(found)
            assert not_kept(promised, nodes) == {}
    for kind in FILE_SYSTEMS:
        accepting.host.python("bin/mailspool", "fsck", "-c", f"{accepting.seen(kind)}/mailspool.toml")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_power_cut_without_fsync_loses_mail_so_that_the_test_is_known_to_bite(accepting):
    nothing = {kind: {} for kind in FILE_SYSTEMS}
    accepting.accept(PYTHONPATH=f"{NOSYNC}:{Path(__file__).parents[2]}")
    accepting.until_more(nothing, 200)
    accepting.host.cut_power()
    accepting.host.boot()
    accepting.mount()
    for kind in FILE_SYSTEMS:
        found = {each.get("node"): each.get("digest") for each in accepting.found(kind)}
        promised = accepting.acknowledged(kind)
        lost = not_kept(promised, found)
        print(f"{kind} without fsync: {len(lost)} of {len(promised)} acknowledged nodes missing or torn")
        assert lost
