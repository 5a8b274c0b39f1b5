# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a look at a step finds, and why one is refused, fails, or is kept."""

from enum import Enum, auto

from mailspool.errors import MailspoolError


class Refused(MailspoolError):
    """Something is in the way, or this is not the place; nothing was changed."""

    exit_code = 73  # EX_CANTCREAT


class Failed(MailspoolError):
    """A step did not succeed."""


class Kept(MailspoolError):
    """It is not taken back; the text is the reason."""


class Found(Enum):
    """What a look finds. CHANGED: made by setup, and then changed by somebody else."""

    MISSING = auto()
    THERE = auto()
    CHANGED = auto()
