# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One thing that is not as docs/spool-format.md says, and the spool in which it was found."""

import stat
from collections.abc import Callable, Iterator
from functools import partial
from os import stat_result
from typing import NamedTuple

from mailspool.store import fsops
from mailspool.store.claim import has_ended
from mailspool.store.filesystem import FileStore

DIRECTORY, FILE = 0o700, 0o600


class Finding(NamedTuple):
    """path: what it is about. fault: what is wrong with it. cure: what a repair does, or else what a person can do.

    mend: does it; None where nothing can be done without a loss or a guess. It looks again first, and raises ClaimLost
    if the finding is no more, SpoolError on a local fault.
    """

    path: str
    fault: str
    cure: str
    mend: Callable[[], None] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The same for each look that finds it."""
        return self.path, self.fault


class Scene(NamedTuple):
    """The spool that is looked at. uid: to whom all of it belongs. tiers: how many are configured."""

    store: FileStore
    uid: int
    tiers: int

    def place(self, name: str) -> str:
        """The path of what has this name in the spool's directory."""
        return f"{self.store.root}/{name}"

    def has_ended(self, owner: str) -> bool:
        """See `claim.has_ended`."""
        return has_ended(owner, self.store.owner)

    def rights(self, path: str, facts: stat_result, mode: int) -> Iterator[Finding]:
        """Whether a file or directory belongs to the spool's owner and nobody else may touch it."""
        if facts.st_uid != self.uid:
            cure = f"as root: chown -h {self.uid} {path}"
            yield Finding(path, f"belongs to uid {facts.st_uid}, the spool to uid {self.uid}", cure)
        elif stat.S_IMODE(facts.st_mode) != mode:
            mend = partial(fsops.set_mode, path, mode, self.uid)
            yield Finding(path, f"mode {stat.S_IMODE(facts.st_mode):04o} is not {mode:04o}", f"chmod {mode:04o}", mend)


def foreign(path: str, place: str) -> Finding:
    """What nobody here has made. It is never touched: nothing deletes what it does not understand."""
    return Finding(path, f"is no {place}", "left alone: nobody here knows what it is; move it out of the spool")
