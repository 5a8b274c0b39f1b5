# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What stands beside nodes: histories, reasons, what is being written, and the files of owners.

Each belongs to something. What has lost it can go; what never had it is foreign, and left alone.
"""

import stat
from collections.abc import Generator, Iterable, Iterator
from functools import cache, partial

from mailspool.errors import ClaimLost, Unreadable
from mailspool.store import fsops, imported, nodename, recover
from mailspool.store.base import Location, State
from mailspool.store.claim import is_owner
from mailspool.store.fsck.finding import FILE, Finding, Scene, foreign
from mailspool.store.mount import folder, passed


def histories(scene: Scene, names: Iterable[str], node_ids: frozenset[str]) -> Iterator[Finding]:
    """names: of the histories, read before the nodes were."""

    @cache
    def swept() -> frozenset[str]:
        return frozenset(recover.sweep_histories(scene.store, scene.store.root))

    def sweep(node_id: str) -> None:
        if node_id not in swept():
            raise ClaimLost(f"{node_id} has a node")

    for name in sorted(names):
        path = scene.place(f"history/{name}")
        if not nodename.is_node_id(name):
            yield foreign(path, "node's ID.N")
        elif (yield from _file(scene, path)) and name not in node_ids:
            yield Finding(path, "is the history of a node that is in no state", "remove it", partial(sweep, name))


def reasons(scene: Scene, names: Iterable[str]) -> Iterator[Finding]:
    """names: all that stand in quarantine."""
    known = frozenset(names)
    for name in sorted(known):
        path = scene.place(f"quarantine/{name}")
        if not name.endswith(nodename.REASON):
            if name + nodename.REASON not in known:
                explain = partial(_explain, scene, name)
                yield Finding(path, "is in quarantine, and nobody wrote down why", "write what can be said", explain)
        elif (yield from _file(scene, path)) and name.removesuffix(nodename.REASON) not in known:
            yield Finding(path, "is the reason for something that is not there", "remove it", partial(_forget, path))


def drafts(scene: Scene) -> Iterator[Finding]:
    """What is being written in `incoming/`."""
    for name in sorted(fsops.read_names(scene.place("incoming"))):
        written, _, owner = name.partition("~")
        path = scene.place(f"incoming/{name}")
        if not (is_owner(owner) and (nodename.is_node_id(written) or nodename.is_node_id(f"{written}.0"))):
            yield foreign(path, "ID~owner")
        elif (yield from _file(scene, path)):
            fault = "was being written by an owner that has ended"
            yield from _of_the_dead(scene, path, owner, fault)


def hosts(scene: Scene) -> Iterator[Finding]:
    """What owners say of themselves: OWNER, or OWNER~ and what it is."""
    for name in sorted(fsops.read_names(scene.place("hosts"))):
        owner, path = name.partition("~")[0], scene.place(f"hosts/{name}")
        if name.startswith((folder.PREFIX, passed.PREFIX)):
            yield from _of_check_mount(scene, name, path)
        elif not is_owner(owner):
            yield foreign(path, "owner")
        elif (yield from _file(scene, path)):
            yield from _of_the_dead(scene, path, owner, "is of an owner that has ended")


def _of_check_mount(scene: Scene, name: str, path: str) -> Iterator[Finding]:
    """A run's private folder, a host's pass, the summary of several hosts' runs; or a draft of these, ~OWNER."""
    written, _, owner = name.rpartition("~")
    if not is_owner(owner) and not (name == folder.SUMMARY or (name.startswith(passed.PREFIX) and not written)):
        yield foreign(path, "owner")
    elif scene.has_ended(owner):
        yield Finding(path, "is of a check-mount that was killed", "remove it", partial(folder.remove, path))
    elif f"{written}~" != folder.PREFIX:
        yield from _file(scene, path)


def record(scene: Scene) -> Iterator[Finding]:
    """What `mailspool import` took over."""
    yield from _file(scene, scene.place(imported.FILE))


# --- what is common to them


def _file(scene: Scene, path: str) -> Generator[Finding, None, bool]:
    """Findings about a file as such; returns whether it is one."""
    facts = fsops.facts(path)
    if facts is None:
        return False
    if not stat.S_ISREG(facts.st_mode):
        yield Finding(path, "is no regular file", "left alone: nobody here makes such; move it out of the spool")
        return False
    yield from scene.rights(path, facts, FILE)
    return True


def _of_the_dead(scene: Scene, path: str, owner: str, fault: str) -> Iterator[Finding]:
    def remove() -> None:
        if not scene.has_ended(owner):
            raise ClaimLost(f"{owner} lives")
        fsops.unlink(path)

    if scene.has_ended(owner):
        yield Finding(path, fault, "remove it", remove)


def _explain(scene: Scene, name: str) -> None:
    at = Location(State.QUARANTINED, 0, name)
    reason = "nobody wrote down why it was put aside; it can be read now"
    try:
        scene.store.open(at).file.close()
    except Unreadable as error:
        reason = str(error)
    try:
        scene.store.explain(at, reason)
    except fsops.Exists as error:
        raise ClaimLost(str(error)) from error


def _forget(path: str) -> None:
    if fsops.is_there(path.removesuffix(nodename.REASON)):
        raise ClaimLost(f"{path} has its node")
    fsops.unlink(path)
