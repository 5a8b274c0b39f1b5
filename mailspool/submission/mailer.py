# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the ways in ask of the spool above them: the names of Mail::Spool that a subclass may override."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mailspool.submission.prepare import HasAddress


class Mailer(Protocol):
    """See the methods of the same names in `mailspool.spool.Spool`, which is one."""

    def send_mail(self, args: Mapping[str, Any] | None = None, /, **arguments: Any) -> str:
        """Durable when it returns the queue id. Raises MailspoolError."""

    def parse_for_address(self, line: str) -> Sequence[HasAddress]:
        """The mailboxes of an address list, completed with the site's domain. Raises AddressError."""

    def expand_alias(self, address: str, bare: bool = False) -> Mapping[str, str]:
        """Where mail for an address goes, by which sender; bare: without a domain. Raises NoSuchUser, ConfigError."""
