# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A file system as distributions make it, new for each run of the drivers: ext4 with a journal, in an image file.

What is underneath may have been made otherwise, and virtual machines' root often is. Without a journal ext4 looks, for
each new file, at all that were deleted in the last minutes (`recently_deleted` in the kernel's fs/ext4/ialloc.c), so
that each run is slower for the one before it; mounted with `discard` it waits for the device at each deletion.
"""

import os
import subprocess
from pathlib import Path

from environment import say

_SIZE = 6 << 30  # octets, taken at once: else each sync would wait for the blocks beneath it
_WHOLE = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"  # else the kernel goes on making it while others measure


def mount_new(image: Path, place: Path) -> None:
    """Make the image and mount it at place, in this mount namespace. Where no image can be mounted, it is left out."""
    place.mkdir(exist_ok=True)
    make = ["mkfs.ext4", "-q", "-F", "-E", _WHOLE, str(image)]
    try:
        with image.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _SIZE)
        for command in (make, ["mount", "-o", "loop", str(image), str(place)]):
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        image.unlink(missing_ok=True)
        say(f"queues are kept on the disk as it is: {error} {getattr(error, 'stderr', '')}")
