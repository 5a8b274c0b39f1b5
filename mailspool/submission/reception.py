# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The policy of a session whose messages go into the spool: addresses are checked as they come, and yes means durable.

Whoever can reach it may send: who that is, is the business of whoever opens the session. Bare line ends in content
become CRLF when it is spooled (`message.message`), so nothing can be smuggled past a later host.
"""

from tempfile import SpooledTemporaryFile
from typing import IO

from mailspool.errors import AddressError, NoSuchUser
from mailspool.model.envelope import Recipient
from mailspool.submission.command import Transaction
from mailspool.submission.mailer import Mailer
from mailspool.submission.prepare import HasAddress, as_written, is_bare
from mailspool.submission.reply import Refused

IN_MEMORY = 1 << 16  # octets of a message; of a larger one nothing is held


class Reception:
    """One session's policy. local: the client is a program on this host, which the Received field tells."""

    def __init__(self, spool: Mailer, *, local: bool = False) -> None:
        self._spool, self._local = spool, local

    def check_client(self) -> None:
        """Everybody is welcome."""

    def check_hello(self, name: str) -> None:
        """As whoever."""

    def check_sender(self, transaction: Transaction) -> str:
        """Completed with the site's domain. Refuses what is no address."""
        try:
            return self._address(transaction.sender) if transaction.sender else ""
        except AddressError as error:
            raise Refused(553, "5.1.7", str(error)) from error

    def check_recipient(self, transaction: Transaction, recipient: Recipient) -> Recipient:  # noqa: ARG002  # of Policy
        """Completed with the site's domain. Raises AddressError; refuses a name that no alias knows."""
        mailbox = self._mailbox(recipient.address)
        bare = is_bare(mailbox)
        try:
            targets = self._spool.expand_alias(mailbox.address, bare)
        except NoSuchUser as error:
            raise Refused(550, "5.1.1", str(error)) from error
        here = bare and list(targets) != [mailbox.address]  # as spooled it is to be looked up again, as a name of ours
        address = f"{as_written(mailbox)}@localhost" if here else mailbox.address
        return Recipient(address, recipient.notify, recipient.orcpt)

    def open_content(self, transaction: Transaction) -> IO[bytes]:  # noqa: ARG002  # of Policy
        """A file without a name: it is gone with the process."""
        return SpooledTemporaryFile(IN_MEMORY)

    def accept(self, transaction: Transaction, content: IO[bytes]) -> str:
        """Into the spool."""
        protocol = f"local-{transaction.protocol.lower()}" if self._local else transaction.protocol
        content.seek(0)
        queue_id = self._spool.send_mail(
            to=transaction.recipients,
            from_=transaction.sender,
            filehandle=content,
            ret=transaction.ret,
            envid=transaction.envid,
            client=transaction.client,
            protocol=protocol,
        )
        return f"accepted as {queue_id}"

    def _address(self, path: str) -> str:
        return self._mailbox(path).address

    def _mailbox(self, path: str) -> HasAddress:
        mailboxes = self._spool.parse_for_address(f"<{path}>")
        if len(mailboxes) != 1:
            raise AddressError(f"{path!r} is not one address")
        return mailboxes[0]
