# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The way there and back: looks at every step before it makes the first, and takes back what it made if one fails.

What a power cut leaves is in the manifest: to install again goes on from there, and undo takes it back.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mailspool.cli.setup.found import Failed, Found, Kept, Refused
from mailspool.cli.setup.manifest import Manifest, Step
from mailspool.errors import MailspoolError

Say = Callable[[str], object]


class Survey(NamedTuple):
    """What a look at all steps finds: what is to be made, and what its administrator has changed."""

    missing: list[Step]
    changed: list[Step]


def survey(steps: Sequence[Step], manifest: Manifest) -> Survey:
    """Raises Refused with all that is in the way, one a line."""
    found: dict[Found, list[Step]] = {each: [] for each in Found}
    in_the_way = []
    for step in steps:
        try:
            found[step.look(manifest.get(step))].append(step)
        except Refused as error:
            in_the_way.append(str(error))
    if in_the_way:
        raise Refused("\n".join(in_the_way))
    return Survey(found[Found.MISSING], found[Found.CHANGED])


def install(steps: Sequence[Step], manifest: Manifest, say: Say) -> None:
    """Make what is missing. Raises Failed, with what became of the steps before."""
    new = []
    for step in steps:
        mine = manifest.get(step)
        if not mine:
            new.append(step)
        try:
            manifest.begin(step)
            step.make(mine)
        except (OSError, MailspoolError, KeyboardInterrupt) as error:
            kept = take_back(new[::-1], manifest, say)
            raise Failed(f"{step}: {error or 'interrupted'}\n{_rest(kept)}") from None
    manifest.complete()


def take_back(steps: Sequence[Step], manifest: Manifest, say: Say) -> list[Step]:
    """Unmake them, in this order. What is left, each with the reason said, stays in the manifest."""
    kept = []
    for step in steps:
        try:
            step.take_back()
            manifest.remove(step)
        except Kept as reason:
            say(f"kept: {step}: {reason}")
            kept.append(step)
        except (OSError, Failed) as error:
            say(f"not taken back: {step}: {error}")
            kept.append(step)
    return kept


def _rest(kept: Sequence[Step]) -> str:
    if kept:
        return "the steps before it were taken back, but for those named above: mailspool setup --system --undo"
    return "all steps before it were taken back"
