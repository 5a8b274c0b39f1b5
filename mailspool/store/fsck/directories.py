# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The spool's directories: all there, real ones, of the right mode and owner, and nothing foreign between them."""

import stat
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from mailspool.errors import ClaimLost
from mailspool.store import folders, fsops, imported, recover
from mailspool.store.claim import is_owner
from mailspool.store.filesystem import DIRECTORIES, tiers_in
from mailspool.store.fsck.finding import DIRECTORY, Finding, Scene, foreign

_OTHERS = frozenset({"usage", "lost+found", imported.FILE})  # an operator's, the file system's own, a file


def directories(scene: Scene) -> Iterator[Finding]:
    """The spool itself, what must be in it, and what is in it besides."""
    yield from _directory(scene, scene.store.root)
    expected = {*DIRECTORIES, *map(str, range(scene.tiers))}
    for name in sorted(expected):
        yield from _directory(scene, scene.place(name), make=True)
    yield from _inside(scene, scene.store.root, lambda name: not _is_tier(name), "part of a spool", expected | _OTHERS)
    yield from _inside(scene, scene.place("held"), lambda name: not _is_tier(name), "tier's number")
    yield from _inside(scene, scene.place("claimed"), lambda name: not is_owner(name), "owner")
    for owner in filter(is_owner, fsops.read_names(scene.place("claimed"))):
        yield from _inside(scene, scene.place(f"claimed/{owner}"), lambda name: not _is_tier(name), "tier's number")
    for tier in tiers_in(scene.store.root):
        for folder in sorted(folders.within(scene.place(str(tier)))):
            yield from _folder(scene, scene.place(str(tier)), folder)


def beyond(scene: Scene) -> Iterator[Finding]:
    """Tiers beyond the configured ones hold nothing: a start or a reload moves it into the last one."""
    last = scene.tiers - 1
    for tier in tiers_in(scene.store.root):
        if tier > last and scene.store.names(tier):

            def shorten() -> None:
                deque(recover.shorten(scene.store, last), maxlen=0)

            yield Finding(
                scene.place(str(tier)),
                f"holds nodes beyond tier {last}, the last that is configured",
                f"move them into tier {last}",
                shorten,
            )


def _inside(
    scene: Scene,
    directory: str,
    is_foreign: Callable[[str], bool],
    kind: str,
    known: frozenset[str] | set[str] = frozenset(),
) -> Iterator[Finding]:
    """What stands in a directory that ought to hold directories only."""
    for name in sorted({*fsops.read_names(directory)} - known):
        path = f"{directory}/{name}"
        if is_foreign(name):
            yield foreign(path, kind)
        else:
            yield from _directory(scene, path)


def _folder(scene: Scene, tier: str, folder: str) -> Iterator[Finding]:
    """A folder of a tier, and what nobody finds there."""
    yield from _directory(scene, f"{tier}/{folder}")
    for name in sorted(folders.strays(tier, folder)):
        path = f"{tier}/{folder}/{name}"
        lead_out = partial(fsops.rename_to_new, path, f"{tier}/{name}")
        yield Finding(
            path, "stands in a folder of other nodes, where nobody looks for it", f"move it to {tier}", lead_out
        )


def _directory(scene: Scene, path: str, *, make: bool = False) -> Iterator[Finding]:
    facts = fsops.facts(path)
    if facts is None:
        if make:
            yield Finding(path, "is missing", "make it", lambda: _make(path))
    elif stat.S_ISDIR(facts.st_mode):
        yield from scene.rights(path, facts, DIRECTORY)
    else:
        then = "; mailspool fsck --repair then makes one" if make else ""
        yield Finding(path, "is no directory", f"left alone: move it away{then}")


def _make(path: str) -> None:
    if not fsops.make_directory(path):
        raise ClaimLost(f"{path} is there")


def _is_tier(name: str) -> bool:
    return name.isdecimal() and str(int(name)) == name
