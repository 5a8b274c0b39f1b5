# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a session with a client asks the site, and the limits that it keeps to: all that a door in may decide."""

from typing import NamedTuple, Protocol, TypeVar

from mailspool.model.envelope import Recipient
from mailspool.submission.command import Transaction
from mailspool.submission.content import Content


class Limits(NamedTuple):
    """size: octets of a message, 0 for any. recipients: of one message (RFC 5321 §4.5.3.1.8 asks for 100 at least).

    errors: malformed commands, and commands: of all kinds, until a message is accepted.
    """

    size: int = 0
    recipients: int = 1000
    errors: int = 20
    commands: int = 5000


C = TypeVar("C", bound=Content)


class Policy(Protocol[C]):
    """What the site says to one client.

    Each question is answered no by an error: Refused is a reply word by word, any other says it by its status. Reply
    code 421 ends the session.
    """

    def check_client(self) -> None:
        """Before the greeting."""

    def check_hello(self, name: str) -> None:
        """At EHLO and HELO; name: what the client calls itself."""

    def check_sender(self, transaction: Transaction) -> str:
        """At MAIL. Returns the sender as it is to be noted, "" for the null sender."""

    def check_recipient(self, transaction: Transaction, recipient: Recipient) -> Recipient:
        """At each RCPT. Returns the recipient as it is to be noted."""

    def open_content(self, transaction: Transaction) -> C:
        """At DATA, and at the first BDAT: where the content goes."""

    def accept(self, transaction: Transaction, content: C) -> str:
        """When all content has come. Once it returns, the message is safe; the words for the client."""
