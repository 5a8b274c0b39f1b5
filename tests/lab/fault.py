# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One fault befalls a host or the file server while two hosts accept and deliver: nothing is lost.

A claim is sealed from just before its final dot until its end, so those that are sealed when the fault comes are all
that may come twice.
"""

from tests.lab.shared import LOOK
from tests.running import eventually

MESSAGES = 1000
PART = 0.3  # of them have been taken when the fault comes


class Fault:
    """What was accepted meanwhile, and what may come twice."""

    def __init__(self, shared, what, local="joe"):
        self.shared, self.what, self.hosts = shared, what, shared.hosts[:2]
        self.fill = shared.fill(MESSAGES, self.hosts, local)
        self.in_flight = set()  # when the fault came

    def until_under_way(self):
        self.fill.until(MESSAGES * PART)
        self.shared.until_taken(self.fill.accepted(), PART)

    def until_at_final_dots(self, host):
        """With replies held back: until some of a host's workers wait for one."""
        self.shared.hold()
        eventually(lambda: self.at_final_dot(host), pause=LOOK)

    def at_final_dot(self, host=None):
        """The ids of messages that are, at this host or at any."""
        claims = self.shared.claims(host) if host else self.shared.left()
        return {each["node"].partition(".")[0] for each in claims if each.get("sealed")}

    def end(self):
        accepted = self.fill.wait()
        self.shared.until_taken(accepted)
        self.shared.until_empty()
        copies = self.shared.taken()
        doubled = {queue_id for queue_id in accepted if copies[queue_id] > 1}
        print(
            f"NFS {self.shared.version}, {self.what}: {len(accepted)} accepted, all delivered; "
            f"{len(doubled)} twice, {len(self.in_flight)} were at their final dot"
        )
        assert doubled <= self.in_flight
