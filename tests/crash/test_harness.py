# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The crash harness bites: a spool that is built wrong is found out, and no call gets past it."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from mailspool.delivery.settle import Settler, unless_lost
from mailspool.store import fsops
from mailspool.store.filesystem import FileStore
from tests.crash.conservation import Case, cases_of
from tests.crash.operations import OPERATIONS
from tests.crash.shim import DENY, KILL, Disk, Fault


@pytest.fixture
def wrong(tmp_path):
    """wrong(operation, fault): all that is found, over all calls."""

    def find(operation, fault):
        def case():
            return Case(OPERATIONS[operation], f"{tmp_path}/spool")

        calls = cases_of(fault, case().run().calls)
        return [each for n in range(1, len(calls) + 1) for each in case().run(fault, n).wrong()]

    return find


def unlink_first(source, target):
    content = Path(source).read_bytes()
    os.unlink(source)
    with fsops.create(target) as file:
        file.write(content)


def link_first(source, target):
    os.link(source, target)
    os.unlink(source)


def test_a_move_that_unlinks_before_it_links_loses_a_node(wrong, monkeypatch):
    monkeypatch.setattr(fsops, "rename", unlink_first)
    assert [each for each in wrong("claim", KILL) if "is []" in each]
    assert [each for each in wrong("claim", Fault("ENOSPC")) if "is []" in each]


def test_a_move_that_links_before_it_unlinks_has_a_node_in_two_places(wrong, monkeypatch):
    monkeypatch.setattr(fsops, "rename", link_first)
    assert [each for each in wrong("claim", KILL) if "there already" in each]


def test_a_bounce_that_comes_after_the_end_of_its_node_may_never_come(wrong, monkeypatch):
    give_up = Settler._give_up

    def end_first(self, failed):
        for node, _ in failed:
            node.open()
            unless_lost(node, lambda node=node: node.msh.spool.store.delete(node.location))
        give_up(self, failed)

    monkeypatch.setattr(Settler, "_give_up", end_first)
    assert [each for each in wrong("bounce", KILL) if "is [], 0 times taken, 0 times bounced" in each]


def test_a_delivered_node_that_is_given_back_at_a_fault_is_sent_twice(wrong, monkeypatch):
    monkeypatch.setattr(Settler, "_end_delivered", lambda self, node: node.release())
    assert [each for each in wrong("deliver", DENY) if "was taken" in each]


def test_a_worker_that_believes_a_false_error_forgets_its_claim(wrong, monkeypatch):
    def believe(self, source, claim):
        target = self._path_made(claim)
        fsops.rename(self.path(source), target)
        return claim

    monkeypatch.setattr(FileStore, "_take", believe)
    assert [each for each in wrong("deliver", DENY) if "claimed, and nobody knows" in each]


def test_an_accept_that_takes_nothing_back_leaves_what_was_refused(wrong, monkeypatch):
    unlink = fsops.unlink
    monkeypatch.setattr(fsops, "unlink", lambda path: unlink(path) if "/claimed/" in path else None)
    assert [each for each in wrong("accept", Fault("EIO")) if "refused, and left" in each]


AUDITED = {"open": "open", "os.rename": "rename", "os.link": "link", "os.remove": "unlink", "os.mkdir": "mkdir",
           "os.rmdir": "rmdir", "os.listdir": "listdir"}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_call_gets_past_the_harness(operation, tmp_path):
    """Python tells of each itself, wherever it is made from."""
    root = f"{tmp_path}/spool"
    Case(OPERATIONS[operation], root).run()  # imports what there is to import
    assert in_child(lambda: counted(operation, root)) == 0


def counted(operation, root):
    told = Counter()
    case = Case(OPERATIONS[operation], root)
    watching = False

    def hear(event, arguments):
        if watching and event in AUDITED:
            path = str(arguments[0])
            told[AUDITED[event]] += path.startswith(os.path.dirname(root)) or "/" not in path

    sys.addaudithook(hear)
    enter, leave = Disk.__enter__, Disk.__exit__

    def watch(disk):
        nonlocal watching
        watching = True
        return enter(disk)

    def rest(disk, *exc_info):
        nonlocal watching
        watching = False
        leave(disk, *exc_info)

    Disk.__enter__, Disk.__exit__ = watch, rest
    seen = Counter(call.partition(" ")[0] for call in case.run().calls)
    assert +told == Counter({name: seen[name] for name in AUDITED.values() if seen[name]}), (told, seen)


def in_child(action):
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
