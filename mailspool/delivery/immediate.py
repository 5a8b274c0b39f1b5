# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Delivering a message that is in no spool, while its sender waits: `delivery="Interactive"` and `"Background"`.

Until it returns nothing is promised. Every destination has its try before anything is raised.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from tempfile import TemporaryFile
from typing import IO

from msgspec.structs import replace

from mailspool.delivery.agent import DeliveryAgent
from mailspool.delivery.door import cut
from mailspool.errors import DeliveryError, PermanentError, TransientError
from mailspool.message.message import Message
from mailspool.model.envelope import Envelope, Recipient, Survey
from mailspool.model.outcome import Deferred, Delivered, Failed, Outcome

_BLOCK = 65536

Case = tuple[Recipient, Outcome]


def deliver_now(
    agent: DeliveryAgent,
    message: Message,
    envelope: Envelope,
    max_recipients: int,
    spool_message: Callable[[Message, Envelope], object] | None,
) -> None:
    """Deliver to one destination after the other, at most `max_recipients` in one transaction.

    spool_message: takes what fails for now; None: that is raised too. Raises PermanentError if anything failed for
    good, else TransientError, with all that failed in its text; SpoolError.
    """
    with TemporaryFile() as file:
        survey = Survey(message.chunks())
        file.writelines(survey)
        cases = _everywhere(agent, replace(envelope, facts=survey.facts()), file, max_recipients)
        agent.close()
        later = [case for case in cases if spool_message and isinstance(case[1], Deferred)]
        if later and spool_message:
            file.seek(0)
            rest = replace(envelope, recipients=tuple(recipient for recipient, _ in later))
            spool_message(Message(iter(lambda: file.read(_BLOCK), b"")), rest)
    failures = [case for case in cases if case not in later and not isinstance(case[1], Delivered)]
    if failures:
        raise _as_error(failures)


def _everywhere(agent: DeliveryAgent, envelope: Envelope, file: IO[bytes], most: int) -> list[Case]:
    """The outcome for each recipient, by destination and sender."""

    def way(recipient: Recipient) -> tuple[str, str]:
        return recipient.address.rpartition("@")[2], envelope.sender_to(recipient)

    cases: list[Case] = []
    for (domain, sender), group in groupby(sorted(envelope.recipients, key=way), key=way):
        for together in cut(group, most):
            file.seek(0)
            delivery = agent.prepare(replace(envelope, sender=sender), together, file, domain, 0)
            cases += zip(together, agent.deliver(delivery), strict=True)
    return cases


def _as_error(failures: Sequence[Case]) -> DeliveryError:
    worst = next((outcome for _, outcome in failures if isinstance(outcome, Failed)), failures[0][1])
    text = "; ".join(f"<{recipient.address}>: {outcome.text}" for recipient, outcome in failures)
    kind = PermanentError if isinstance(worst, Failed) else TransientError
    return kind(worst.status, worst.host, text)
