# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The station of a process that delivers by itself, without a supervisor."""

from contextlib import AbstractContextManager, nullcontext

from mailspool.delivery.network import no_connection
from mailspool.log import get_logger
from mailspool.model.phase import nobody_watches
from mailspool.supervisor.job import NOTHING, Job

log = get_logger()


class Alone:
    """The station of a process that delivers by itself: no SIGALRM, no supervisor."""

    serial = 0
    finishing = False
    watch = staticmethod(nobody_watches)
    connection_to = staticmethod(no_connection)

    def __init__(self) -> None:
        self.order = NOTHING

    def alarm(self, subject: str, text: str) -> None:
        """Nobody collects them here."""
        if text:
            log.error("alarm", subject=subject, error=text)

    def refused(self, _text: str) -> None:
        """There are no other jobs."""

    def slower(self, _text: str, _seconds: float) -> None:
        """There are no other jobs."""

    def lost(self) -> None:
        """Nobody else says to whom it was."""
        self.order = self.order._replace(careful=True)

    def appoint(self, _job: Job, _seconds: float) -> None:
        """Nobody would keep it: the node is tried when it is due."""

    def counts_for(self, _rule: str) -> bool:
        """There are no other workers."""
        return True

    def deadline(self, _seconds: float, _about: str = "") -> AbstractContextManager[None]:
        """The timeouts of the session are all there is: SIGALRM belongs to the program that called us."""
        return nullcontext()
