# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Who hears of what became of one recipient: its sender, the postmaster, or nobody (RFC 3461 §4.1, RFC 5321 §6.1).

It decides and does nothing. No report ever goes to the null sender and none about the postmaster's own mail
goes to the postmaster, so that reports cannot loop: a message is followed by a report to its sender, that by one
to the postmaster, and that by quarantine.
"""

from enum import StrEnum

import msgspec

from mailspool.model.envelope import Recipient


class Kind(StrEnum):
    """What a report says, in the words of its Action field (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"  # handed to a host that sends no reports of its own (RFC 3461 §5.2.2)


_WISH = {Kind.FAILED: "FAILURE", Kind.DELAYED: "DELAY", Kind.RELAYED: "SUCCESS"}
_UNASKED = ("FAILURE", "DELAY")  # what a recipient without NOTIFY stands for (RFC 3461 §4.1)


class Notify(msgspec.Struct, frozen=True):
    """Send a report to this address, from the null sender."""

    to: str


class Silence(msgspec.Struct, frozen=True):
    """Nobody wants to hear of it."""


class Quarantine(msgspec.Struct, frozen=True):
    """Nobody is left to tell: keep the message where an operator finds it, with this reason beside it."""

    reason: str


Verdict = Notify | Silence | Quarantine


def whom_to_tell(kind: Kind, sender: str, recipient: Recipient, postmaster_address: str) -> Verdict:
    """Who hears that a message from `sender` ("" for the null sender) to `recipient` is failed, delayed or relayed.

    postmaster_address: who hears of a bounce that failed; "" for nobody, which leaves quarantine. The wishes in
    NOTIFY come first, whoever would have been told.
    """
    if _WISH[kind] not in (recipient.notify or _UNASKED):
        return Silence()
    if sender:
        return Notify(sender)
    if kind is not Kind.FAILED:
        return Silence()
    if not postmaster_address:
        return Quarantine("it has the null sender, it failed, and no postmaster_address is configured")
    # Upper and lower case are the same postmaster (RFC 5321 §4.5.1): a difference in case must not make a loop.
    if recipient.address.casefold() == postmaster_address.casefold():
        return Quarantine("it has the null sender, and the postmaster to be told cannot be reached either")
    return Notify(postmaster_address)
