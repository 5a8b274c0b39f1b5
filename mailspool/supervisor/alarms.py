# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What only an administrator can mend, as workers meet it: said once, again each hour while it lasts, once when over.

However many workers meet it however often, the log has a few loud lines, and the status has one.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from mailspool.log import get_logger

REMIND = 3600.0
"""Seconds between two lines about the same subject."""

log = get_logger()


class _Alarm(NamedTuple):
    text: str
    since: float
    said: float


class Alarms:
    """clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._alarms: dict[str, _Alarm] = {}

    def hear(self, met: Mapping[str, str]) -> None:
        """What one report says, by subject; "": it works."""
        for subject, text in met.items():
            if text:
                self._begin(subject, text)
            elif self._alarms.pop(subject, None):
                log.info("works again", what=subject)

    def _begin(self, subject: str, text: str) -> None:
        now = self._clock()
        known = self._alarms.get(subject)
        say = known is None or now - known.said >= REMIND
        if say:
            log.error("alarm, to be mended here", error=text)
        self._alarms[subject] = _Alarm(text, known.since if known else now, now if known is None or say else known.said)

    def forget(self) -> None:
        """Whatever lasts is met again, and said again."""
        self._alarms.clear()

    def lines(self) -> list[dict[str, object]]:
        """What lasts, for the status. seconds: since when."""
        now = self._clock()
        return [
            {"subject": subject, "text": alarm.text, "seconds": round(now - alarm.since)}
            for subject, alarm in self._alarms.items()
        ]
