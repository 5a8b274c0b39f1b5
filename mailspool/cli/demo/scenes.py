# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What the demo sends, to whom, and what it is held to: the law that nothing accepted is ever lost.

Every recipient's copy of a message, a node, must have come to exactly one end: taken by its host with each octet of
its body, or bounced with a report that has arrived or is on its way, or still in the spool. No I/O.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from email import message_from_bytes
from email.message import Message
from typing import NamedTuple

from mailspool.cli.sink.faults import Fault, Stage
from mailspool.cli.sink.host import NEVER
from mailspool.submission.reply import Reply

HOME = "home.test"
"""The domain that all of it is sent from, and where reports arrive."""

HOSTS: Mapping[str, float] = {HOME: 0.0, "good.test": 0.0, "grey.test": 0.0, "full.test": 0.0} | {
    "slow.test": 0.004,
    "silent.test": NEVER,
}
"""The host of each domain, by its pace (`Sink.listen`)."""

GREYLISTED = ("grey.test",)
FAULTS = (
    Fault(Stage.RCPT, Reply(452, "4.2.2", "the mailbox is full"), where="full.test"),
    Fault(Stage.RCPT, Reply(550, "5.1.1", "there is no such user here"), where="nobody@good.test"),
)


class Scene(NamedTuple):
    """One message. body: in CRLF form."""

    title: str
    recipients: tuple[str, ...]
    body: bytes = b"Hello!\r\n"
    sender: str = f"ada@{HOME}"

    @property
    def message_id(self) -> str:
        """By which it is known again, in what arrives and in reports."""
        return f"<{self.title.lower().replace(' ', '-')}@{HOME}>"

    @property
    def message(self) -> bytes:
        """Header and body."""
        header = f"From: {self.sender}\r\nTo: {', '.join(self.recipients)}\r\nSubject: {self.title}\r\n"
        form = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        return f"{header}Message-ID: {self.message_id}\r\n{form}\r\n".encode() + self.body


BY_SEND_MAIL = (
    Scene("A silent host", ("dora@silent.test",), b"Are you there?\r\n"),
    Scene("A slow host", ("emil@slow.test",), b"No hurry.\r\n"),
    Scene("Good morning", ("bob@good.test",), "Good morning, Bob! Schöne Grüße.\r\n".encode()),
    Scene("Three friends", ("bob@good.test", "cleo@good.test", "gus@grey.test"), b"One message, three nodes.\r\n"),
    Scene("Lines of dots", ("cleo@good.test",), b".\r\n..\r\n...and so on\r\n.\r\n"),
    Scene("Greylisted", ("hal@grey.test",), b"The second try gets in.\r\n"),
    Scene("A wrong address", ("nobody@good.test",), b"Whoever you are.\r\n"),
    Scene("A long one", ("bob@good.test",), b"All work and no play makes a long message.\r\n" * 5000),
)
"""Put in by `Spool.send_mail`, days ago."""

BY_SENDMAIL = (
    Scene("Cron says hello", ("root@home.test",), b"The backup is done.\r\n", f"cron@{HOME}"),
    Scene("Build finished", ("cleo@good.test",), b"All tests pass.\r\n", f"ci@{HOME}"),
    Scene("A wrong user", ("bob@good.test", "nobody@good.test"), b"One of you gets this.\r\n"),
    Scene("A full mailbox", ("ines@full.test",), b"It waits until there is room.\r\n"),
)
"""Put in today, by the program `sendmail`."""


class Sent(NamedTuple):
    """A scene that was accepted, and when."""

    queue_id: str
    scene: Scene
    time: float


class Arrived(NamedTuple):
    """A message that a host has taken, or a report that waits in the spool."""

    time: float
    recipients: tuple[str, ...]
    content: bytes


class Waiting(NamedTuple):
    """A node that is in the spool. seconds: until its next look."""

    tier: int
    seconds: float


class Fate(NamedTuple):
    """What became of one node.

    copies: seconds until it was taken, for each time; whole: whether each copy has its very body. bounced: seconds
    until a report on its failure arrived, None if there is none. waiting: None where it is not in the spool.
    """

    sent: Sent
    recipient: str
    attempts: int
    copies: tuple[float, ...]
    whole: bool
    bounced: float | None
    waiting: Waiting | None

    @property
    def fault(self) -> str:
        """How the law was broken; "" if it was kept."""
        ends = [*self.copies, *(end for end in (self.bounced, self.waiting) if end is not None)]
        if not ends:
            return "LOST"
        if not self.whole:
            return "DAMAGED"
        return "" if len(ends) == 1 else "TWICE"


NodeKey = tuple[str, str]
"""Queue id and recipient."""


def fates(
    sent: Iterable[Sent],
    arrived: Sequence[Arrived],
    waiting: Mapping[NodeKey, Waiting],
    attempts: Mapping[NodeKey, int],
) -> Iterator[Fate]:
    """The fate of each node of all that was accepted. arrived: in the order of time."""
    failures = {key: one.time for one in reversed(arrived) for key in failures_in(one.content)}
    for one in sent:
        for recipient in one.scene.recipients:
            copies = [copy for copy in arrived if recipient in copy.recipients and is_copy(copy.content, one.scene)]
            failed = failures.get((one.scene.message_id, recipient))
            yield Fate(
                one,
                recipient,
                attempts.get((one.queue_id, recipient), 0),
                tuple(copy.time - one.time for copy in copies),
                all(copy.content.partition(b"\r\n\r\n")[2] == one.scene.body for copy in copies),
                None if failed is None else failed - one.time,
                waiting.get((one.queue_id, recipient)),
            )


def is_copy(content: bytes, scene: Scene) -> bool:
    """Whether this is the scene's message: not a report on it, which has another Message-ID."""
    return f"\r\nMessage-ID: {scene.message_id}\r\n".encode() in content.partition(b"\r\n\r\n")[0] + b"\r\n"


def failures_in(content: bytes) -> Iterable[tuple[str, str]]:
    """(message id, recipient) of all that a report says has failed (RFC 3464 §2.3.3); none if it is no report."""
    report = message_from_bytes(content)
    if report.get_content_type() != "multipart/report":
        return
    for part in report.walk():
        if part.get_content_type() == "message/delivery-status":
            for fields in part.get_payload():
                if isinstance(fields, Message) and fields["Action"] == "failed":
                    yield report["In-Reply-To"], fields["Final-Recipient"].partition(";")[2].strip()
