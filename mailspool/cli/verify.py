# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`sendmail -bv`: what would become of mail for each recipient. It asks no name server, and sends nothing."""

import sys
from collections.abc import Iterator

from mailspool.errors import MailspoolError, UsageError
from mailspool.model.address import parse_address
from mailspool.spool import Spool
from mailspool.submission.arguments import Options


def verify(options: Options) -> int:
    """One line for each recipient, and one for each address that an alias leads to; the first refusal's exit code."""
    if not options.recipients:
        raise UsageError("there is no recipient to verify: name one")
    spool = Spool.from_config(options.config)
    codes = [_verify(spool, text) for text in options.recipients]
    return next(filter(None, codes), 0)


def _verify(spool: Spool, text: str) -> int:
    try:
        lines = list(_fates(spool, text))
    except MailspoolError as error:
        sys.stdout.write(f"{text}: refused: {'; '.join(str(error).splitlines())}\n")
        return error.exit_code
    sys.stdout.writelines(lines)
    return 0


def _fates(spool: Spool, text: str) -> Iterator[str]:
    for mailbox in spool.parse_for_address(text):
        for address in spool.expand_alias(mailbox.address, mailbox.completed):
            through = "" if address == text else f"{address}: "
            way = spool.door.route.destination(parse_address(address).domain)
            yield f"{text}: {through}deliverable by way of {way}\n"
