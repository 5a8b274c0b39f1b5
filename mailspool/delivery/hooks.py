# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What delivery asks of the spool above it: the names of Mail::Spool that a subclass may override.

`Spool` satisfies `Hooks`, so that a subclass's `lookup_mx` reaches every worker, and this room imports nothing
from above.
"""

from collections.abc import Sequence
from typing import Protocol

from mailspool.smtp.reply import Reply
from mailspool.smtp.session import Session


class Hooks(Protocol):
    """See the methods of the same names in `mailspool.spool.Spool`."""

    def lookup_mx(self, domain: str) -> Sequence[str]:
        """Host names, best first; [] for a null MX. Raises TransientError, or PermanentError for no such domain."""

    def lookup_host(self, host: str) -> Sequence[str] | str:
        """IP addresses of a host name (or one name or address, as in the seed); [] if it has none."""

    def open_smtp_connection(self, host: str, port: int, timeout: float) -> Session:
        """A session that is connected and greeted. Raises DeliveryError."""

    def check_sock_status(self, reply: Reply, host: str) -> None:
        """Raise the DeliveryError that this reply means, if it means one."""
