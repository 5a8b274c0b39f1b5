# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A spool, the hosts that it delivers to, and the law of conservation: what was accepted is in exactly one place.

What a host answers is written in the address: ok1@… is taken, later1@… once the world is well, never1@… is refused.
"""

import os
import re
from collections import Counter
from typing import Any

from mailspool.config.load import make
from mailspool.delivery.work import ALONE, SpoolWork
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Attempt, Deferred, Delivered, Failed
from mailspool.spool import Spool
from mailspool.store.base import State
from mailspool.store.claim import Owner, this_owner
from mailspool.store.filesystem import FileStore
from mailspool.store.nodename import new_id, node_id_of
from mailspool.store.recover import recover_owner
from mailspool.supervisor.job import Job, Look

NOW = 1_800_000_000.0
MESSAGE = b"\r\nhello\r\nworld\r\n"
DEAD = this_owner()._replace(boot="0" * 32)  # who has lived before this machine was started
LONG_DEAD = DEAD._replace(boot="1" * 32)
ELSEWHERE = DEAD._replace(host="elsewhere")

_TOLD_OF = re.compile(rb"^Final-Recipient: rfc822; *(\S+)", re.MULTILINE)


class Outside:
    """What is known outside of the spool, and outlives it. accepted: nodes for which somebody was told yes, and their

    recipients. taken: how often each node was taken by a host. told: how often a sender was told of a recipient.
    """

    def __init__(self, say=lambda _: None) -> None:
        self.accepted: dict[str, str] = {}
        self.taken: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.well = False
        self._say = say

    def hear(self, line: str) -> None:
        """From another process: "accepted A.0 ok@x", "taken A.0", "told never@x"."""
        word, what, *more = line.split()
        if word == "accepted":
            self.accepted[what] = more[0]
        else:
            getattr(self, word)[what] += 1

    def note(self, line: str) -> None:
        self.hear(line)
        self._say(line)

    def answer(self, envelope: Envelope, recipient: Recipient, content: bytes):
        word = recipient.address.partition("@")[0].rstrip("123")
        if word == "never":
            return Failed("5.1.1", "mx", "550 no such user", (_attempt("5.1.1"),))
        if word == "later" and not self.well:
            return Deferred("4.2.1", "mx", "450 later", (_attempt("4.2.1"),))
        if envelope.sender:
            assert content.endswith(MESSAGE), content  # which `send_mail` completes
        for told in _TOLD_OF.findall(content):
            self.note(f"told {told.decode()}")
        self.note(f"taken {envelope.id}.{envelope.recipients.index(recipient)}")
        return Delivered("2.0.0", "mx", "250 taken", silent=bool(recipient.notify))


class Connection:
    """What the spool takes for a session: it has three messages past their final dots before it tells of the first."""

    host, names, locked_out, alive, over, untouched, room, widest = "mx", frozenset(), "", True, False, False, 3, 3

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._begun = []  # letters, and what was answered

    def exchange(self, letters):
        for letter in letters[len(self._begun) :]:
            try:
                self._begun.append((letter, self._answers(letter)))
            except Exception:
                if not self._begun:
                    raise
                break
        first, answers = self._begun.pop(0)
        assert first is letters[0]
        return answers

    def _answers(self, letter):
        content = letter.file.read()
        if any(not recipient.address.startswith("never") for recipient in letter.recipients):
            letter.seal()
        return [self._outside.answer(letter.envelope, recipient, content) for recipient in letter.recipients]

    def past_dot(self, letter):
        return any(letter is begun for begun, _ in self._begun)

    has_begun = past_dot

    def is_next(self, letter):
        return not self._begun or self._begun[0][0] is letter

    def close(self):
        pass

    quit = close


class Here(Spool):
    """A spool in `root` whose owner is `owner`. `outside`: all there is else."""

    outside: Outside

    @classmethod
    def at(cls, root: str, owner: Owner, outside: Outside, now: float = NOW) -> "Here":
        spool = cls(_settings(root), store=FileStore(root, owner), clock=lambda: now)
        spool.outside = outside
        return spool

    def open_smtp_connection(self, host: str, port: int = 25, timeout: float = 0.0) -> Any:
        return Connection(self.outside)

    def accept(self, *to: str, sender: str = "me@y.example", state: State = State.QUEUED) -> str:
        """As `send_mail`, without all that is done before the spool is touched."""
        message_id = new_id(NOW, os.urandom)
        recipients = [Recipient(each, ("SUCCESS",) if each.startswith("curious") else ()) for each in to]
        envelope = Envelope(message_id, sender, tuple(recipients), NOW)
        self.store.accept(envelope, [b"Subject: hello\r\n", MESSAGE], int(NOW), state)
        for n, address in enumerate(to):
            self.outside.note(f"accepted {message_id}.{n} {address}")
        return message_id

    def deliver(self) -> bool:
        """Whether anything was due. All that is, message by message, as a worker does."""
        work = SpoolWork(self)
        jobs = sorted(work.jobs(Look.ALL), key=lambda job: (job.destination, job.group, job.key))
        for destination in dict.fromkeys(job.destination for job in jobs):
            work.perform([job for job in jobs if job.destination == destination], ALONE)
        return bool(jobs)

    def jobs(self) -> list[Job]:
        return list(SpoolWork(self).jobs(Look.ALL))

    def places(self) -> dict[str, list[State]]:
        """By node: where it stands."""
        found: dict[str, list[State]] = {}
        for at in self.store.locations():
            found.setdefault(node_id_of(at.name), []).append(at.state)
        return found


_made: dict[str, Any] = {}


def _settings(root: str):
    """Of a world in which everything is tried at once."""
    if root not in _made:
        _made[root] = make(
            dequeue_dir=root, run_dir=os.path.dirname(root), hostname="mail.test", mail_name="mail.test",
            aliases_file="", tls="none", nameservers=["127.0.0.1"], smarthost="127.0.0.1:9", delay_notice=0,
            dequeue_periods=[0] * 4, dequeue_priority=[1] * 4, postmaster_address="",
        )  # fmt: skip
    return _made[root]


def _attempt(status: str) -> Attempt:
    return Attempt(NOW, 0, "mx", status, "as the address says")


def recovered(root: str, outside: Outside) -> Here:
    """The next life: what the dead have left is recovered, and everything is tried until nothing is due."""
    outside.well = True
    spool = Here.at(root, this_owner(), outside, NOW + 3600)
    spool.create_dequeue_dirs()
    SpoolWork(spool).recover()
    list(recover_owner(spool.store, root, str(ELSEWHERE), NOW))
    for _ in range(9):
        if not spool.deliver():
            break
    SpoolWork(spool).recover()  # also what it sweeps
    return spool
