# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One talk that is under way on a session, and what is to be known of it if the session ends before it does. No I/O.

Several may be: they began in their order, and replies come in the same order (RFC 2920 §3.1), so the oldest one that
has not ended gets them.
"""

from collections.abc import Sequence
from typing import Any

from mailspool.errors import InDoubt, TransientError
from mailspool.smtp.letter import Letter
from mailspool.smtp.reply import Reply
from mailspool.smtp.steps import Step, Talk


class Flight:
    """step: the one whose replies it waits for; None once it has ended, with its result.

    begun: some of its content was written. committed: its final dot may have been. missed: the peer hung up before
    its turn.
    """

    begun = committed = missed = False
    step: Step | None = None
    result: Any = None

    def __init__(self, talk: Talk[Any], letter: Letter | None = None) -> None:
        self.talk, self.letter = talk, letter

    @property
    def untouched(self) -> bool:
        """Whether the peer cannot have taken anything of it for a message."""
        return self.missed or not (self.begun or self.committed)

    def go_on(self, replies: Sequence[Reply] = ()) -> Step | None:
        """Give it its replies, none to begin. Returns its next step. Raises what the talk raises."""
        try:
            self.step = step = self.talk.send(replies) if replies else next(self.talk)
        except StopIteration as end:
            self.step, self.result = None, end.value
            return None
        return step

    def fail(self, error: TransientError, *, missed: bool = False) -> None:
        """The session has ended. missed: by the peer's 421, in order, so that it has not taken what came behind."""
        self.missed = missed
        if self.committed and not missed:
            text = f"{error.text}; whether the message was delivered is unknown"
            error = InDoubt(error.status, error.host, text)
        self.step = None
        try:
            self.talk.throw(error)
        except StopIteration as end:
            self.result = end.value
