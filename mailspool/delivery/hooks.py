# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What delivery asks of the spool above it: the names of Mail::Spool that a subclass may override.

`Spool` satisfies `Hooks`, so that a subclass's `lookup_mx` reaches every worker, and this room imports nothing
from above.
"""

from collections.abc import Sequence
from typing import Protocol

from mailspool.message.message import Message
from mailspool.model.credentials import Keyring
from mailspool.smtp.reply import Reply
from mailspool.smtp.session import Session
from mailspool.store.base import Location, Store
from mailspool.store.handle import Node
from mailspool.store.lease import Lease


class Hooks(Protocol):
    """See the methods of the same names in `mailspool.spool.Spool`."""

    @property
    def store(self) -> Store:
        """Where the nodes are."""

    lease: Lease | None
    """What our claims rest on; None where nobody else would deliver."""

    @property
    def credentials(self) -> Keyring:
        """What to log in with, and where. Raises ConfigError."""

    def now(self) -> float:
        """Unix seconds."""

    def lookup_mx(self, domain: str) -> Sequence[str]:
        """Host names, best first. Raises TransientError, or PermanentError for no such domain, null MX, a loop."""

    def lookup_host(self, host: str) -> Sequence[str] | str:
        """IP addresses of a host name (or one name or address, as in the seed); [] if it has none."""

    def open_smtp_connection(self, host: str, port: int, timeout: float) -> Session:
        """A session that is connected and greeted. Raises DeliveryError."""

    def check_sock_status(self, reply: Reply, host: str) -> None:
        """Raise the DeliveryError that this reply means, if it means one."""

    def node_at(self, location: Location) -> Node:
        """The node at a location. Raises Unreadable."""

    def quarantine(self, location: Location, reason: str) -> None:
        """Put it aside, loudly."""

    def spool_report(self, to: str, message: Message) -> str:
        """The way in for a report, from the null sender: durable when it returns its queue id."""

    def log_usage(self, size: int, purpose: str) -> None:
        """A line for the usage log."""
