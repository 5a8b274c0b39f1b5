# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Many messages handed in together: each is checked at once, and all are promised, durably, when the block ends.

Before that nothing is promised, and nobody can see any of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mailspool.errors import UsageError
from mailspool.message.message import Message
from mailspool.model.envelope import Envelope
from mailspool.store.base import Batch as Accepting
from mailspool.submission.submit import Accepted, submit


class Taken(NamedTuple):
    """What is to be told of a message once it is promised."""

    id: str
    sender: str
    user: str
    accepted: Accepted


class Batch:
    """What `Spool.batch` gives. read: the arguments of `send_mail` as a message and its envelope.

    accepting: the store's own batch. max_size: octets in CRLF form, 0 for no limit.
    """

    def __init__(
        self,
        read: Callable[[Mapping[str, Any]], tuple[Message, Envelope]],
        accepting: Accepting,
        max_size: int,
    ) -> None:
        self._read, self._accepting, self._max_size = read, accepting, max_size
        self.taken: list[Taken] = []

    def send_mail(self, args: Mapping[str, Any] | None = None, /, **arguments: Any) -> str:
        """Take one message; returns the queue id that it will have once the block has ended.

        All arguments are those of `Spool.send_mail`, but that `delivery` can only be "Deferred". Raises UsageError,
        InputError and SpoolError: then this message is not in the batch; who catches that goes on with the others.
        """
        given = {**(args or {}), **arguments}
        if given.get("delivery") not in (None, "", "Deferred", "Standard"):
            raise UsageError(f"delivery {given['delivery']!r} is tried at once: a batch can only be spooled")
        message, envelope = self._read(given)
        accepted = submit(self._accepting, message, envelope, max_size=self._max_size)
        self.taken.append(Taken(envelope.id, envelope.sender, envelope.user, accepted))
        return envelope.id
