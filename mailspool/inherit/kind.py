# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The mail systems whose queues can be taken over, and which of them a directory belongs to."""

from typing import Protocol

from mailspool.errors import UsageError
from mailspool.inherit import dma, mail_spool, nullmailer
from mailspool.inherit.source import Found, Source


class Kind(Protocol):
    """A module for one mail system."""

    NAME: str

    def is_one(self, source: Source) -> bool:
        """Whether a directory is one of its queues."""

    def names(self, source: Source) -> list[str]:
        """The paths of what may be its messages, in a fixed order. Raises SpoolError."""

    def read(self, source: Source, path: str) -> Found:
        """The message that a path stands for. Raises Unreadable and InputError with the reason why it is none."""


KINDS: dict[str, Kind] = {kind.NAME: kind for kind in (mail_spool, nullmailer, dma)}


def kind_of(source: Source) -> Kind:
    """Whose a directory is, by what is in it. Raises UsageError unless that is one mail system's."""
    if source.has_folder("incoming") and source.has_folder("claimed"):
        raise UsageError(f"{source.path} is a spool of mailspool's own: let mailspoold deliver it")
    found = [kind for kind in KINDS.values() if kind.is_one(source)]
    if len(found) != 1:
        which = " or ".join(KINDS)
        looks = "several kinds of queue" if found else "no queue that is known here"
        raise UsageError(
            f"{source.path} looks like {looks}: name the directory above its tiers or its queue/, or say --from {which}"
        )
    return found[0]
