# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The server's side of an SMTP session, without any I/O: octets in, replies out, a site's policy asked in between.

RFC 5321, with RFC 1870 (SIZE), 2034 (ENHANCEDSTATUSCODES), 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 3461
(DSN), 6152 (8BITMIME), 6531 (SMTPUTF8). However the octets are cut, the replies are the same. The 250 to the end of
content is given only when `Policy.accept` has returned. It never holds a message in memory, and whatever a client sends
memory stays bounded. A line of a command may end with a bare LF; content ends with CRLF . CRLF only.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Generic, TypeVar

from mailspool import log
from mailspool.errors import MailspoolError, TooLarge
from mailspool.model.address import control_character
from mailspool.submission.command import Transaction, read_mail, read_rcpt
from mailspool.submission.content import Chunk, Dotted, Frame, Intake
from mailspool.submission.policy import C, Limits, Policy
from mailspool.submission.reply import Refused, Reply, reply_for

MAX_LINE = 2048  # octets of a command; RFC 5321 §4.5.3.1.4 asks for 512, extensions add up to 1,500 to it

_CLIENT = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")  # a domain or an address literal, and what others take for one
_CHUNK = re.compile(r"([0-9]{1,19})( +LAST)?", re.IGNORECASE)
_SYNTAX = frozenset({500, 501, 502, 503, 504, 555})
_ANSWERS = {  # to commands that change nothing
    "NOOP": Reply(250, "2.0.0", "ok"),
    "VRFY": Reply(252, "2.5.0", "send it and see"),
    "HELP": Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"),
    "QUIT": Reply(221, "2.0.0", "goodbye"),
}

R = TypeVar("R")


class State(Enum):
    """What a session waits for; SECURING: that the TLS handshake is done and `secured` called."""

    COMMAND = "a command"
    CONTENT = "content"
    SECURING = "the TLS handshake"
    ENDED = "nothing more: hang up when all is said"


_HEARING = frozenset({State.COMMAND, State.CONTENT})


class Session(Generic[C]):
    """One session. name: this host's.

    `begin`, then `receive` what comes; after each, `replies` is what is to be sent and `state` what comes next.
    `close` in the end, in whatever way that came. What a policy raises that is no Exception passes through.
    """

    def __init__(self, policy: Policy[C], name: str, limits: Limits = Limits(), *, starttls: bool = False) -> None:  # noqa: B008  # a constant
        self._policy, self._name, self._limits, self._starttls = policy, name, limits, starttls
        self.state = State.COMMAND
        self._unread = bytearray()
        self._unsaid: list[bytes] = []
        self._overlong = self._turned_away = self._tls = False
        self._hear: Callable[[], bool] = self._hear_command
        self._client = self._protocol = ""
        self._errors = self._commands = 0
        self._frame: Frame = Dotted()
        self._at_end: Callable[[], Reply] = self._finish
        self._content: C | None = None
        self._intake: Intake | None = None
        self._transaction: Transaction | None = None
        self._verbs: dict[str, Callable[[str], Reply | None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "STARTTLS": self._start_tls,
            "RSET": self._rset,
        }

    # --- for whoever has the connection

    def begin(self) -> None:
        """The client is there: greet it, or turn it away (RFC 5321 §3.1)."""
        reply = self._ask(self._greet)
        self._turned_away = reply.code != 220
        self._say(reply)

    def receive(self, octets: bytes) -> None:
        """What the client has sent, cut anywhere."""
        if self.state in _HEARING:
            self._unread += octets
        while self.state in _HEARING and self._hear():
            pass

    def replies(self) -> bytes:
        """All that is to be said since it was last asked for."""
        octets, self._unsaid = b"".join(self._unsaid), []
        return octets

    def secured(self) -> None:
        """The connection is in TLS now: all is forgotten that was said in clear (RFC 3207 §4.2)."""
        self._reset()
        self._client, self._tls, self.state = "", True, State.COMMAND

    def end(self, status: str, text: str) -> None:
        """Say goodbye unasked (RFC 5321 §3.8): a timeout, a shutdown."""
        self._say(Reply(421, status, text))

    def close(self) -> None:
        """The connection is gone: what was not accepted leaves nothing behind."""
        self._reset()
        self.state = State.ENDED

    # --- lines and replies

    def _hear_command(self) -> bool:
        """Obey one line; False if there is no whole one."""
        end = self._unread.find(b"\n")
        if end < 0:
            if len(self._unread) > MAX_LINE:
                self._overlong = True
                self._unread.clear()
            return False
        line = bytes(self._unread[:end]).removesuffix(b"\r")
        overlong, self._overlong = self._overlong or end > MAX_LINE, False
        del self._unread[: end + 1]
        if overlong:
            self._say(Reply(500, "5.5.2", f"a line has at most {MAX_LINE} octets"))
        elif reply := self._obey(line):
            self._say(reply)
        return True

    def _obey(self, line: bytes) -> Reply | None:
        self._commands += 1
        if self._commands > self._limits.commands:
            return Reply(421, "4.7.0", f"{self._limits.commands} commands and no message: goodbye")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return Reply(500, "5.5.2", "a command is ASCII, or UTF-8 (RFC 6531)")
        if fault := control_character(text):
            return Reply(500, "5.5.2", f"the command holds {fault}")
        word, _, argument = text.partition(" ")
        verb = word.upper()
        if self._turned_away and verb != "QUIT":
            return Reply(503, "5.5.1", "no mail is taken from you; say QUIT")
        if verb in _ANSWERS:
            return _ANSWERS[verb]
        return self._ask(lambda: self._verbs.get(verb, self._unknown)(argument.strip()))

    def _ask(self, question: Callable[[], R]) -> R | Reply:
        """The answer; an error's reply instead of it."""
        try:
            return question()
        except MailspoolError as error:
            return reply_for(error)
        except Exception as error:  # noqa: BLE001  # our own bug must not cost a client its session, nor the message
            if not isinstance(error, OSError):
                log.record("session fault", "error", exc_info=error)
            return reply_for(error)

    def _say(self, reply: Reply) -> None:
        self._unsaid.append(reply.octets)
        self._errors += reply.code in _SYNTAX
        if reply.code in {221, 421}:
            self.state = State.ENDED
        elif self._errors > self._limits.errors:
            self.end("4.7.0", "too many errors")

    # --- commands

    def _greet(self) -> Reply:
        self._policy.check_client()
        return Reply(220, "", f"{self._name} ESMTP mailspool")

    def _ehlo(self, argument: str) -> Reply:
        self._begin_session(argument, "ESMTPS" if self._tls else "ESMTP")
        return Reply(250, "", self._name, tuple(self._extensions()))

    def _helo(self, argument: str) -> Reply:
        self._begin_session(argument, "SMTP")
        return Reply(250, "", self._name)

    def _begin_session(self, argument: str, protocol: str) -> None:
        client = argument.partition(" ")[0]
        if not _CLIENT.fullmatch(client):
            raise Refused(501, "5.5.4", "say your name: a domain, or an address such as [192.0.2.1]")
        self._policy.check_hello(client)
        self._reset()
        self._client, self._protocol = client, protocol

    def _extensions(self) -> Iterator[str]:
        yield from ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING")
        yield f"SIZE {self._limits.size}".removesuffix(" 0")
        if self._starttls and not self._tls:
            yield "STARTTLS"

    def _mail(self, argument: str) -> Reply:
        if not self._client:
            raise Refused(503, "5.5.1", "say EHLO or HELO first")
        if self._transaction:
            raise Refused(503, "5.5.1", "there is a sender already")
        transaction = read_mail(argument, self._client, self._protocol)
        if 0 < self._limits.size < transaction.size:
            raise TooLarge(f"the message would have more than the {self._limits.size} octets that are taken")
        transaction.sender = self._policy.check_sender(transaction)
        self._transaction = transaction
        return Reply(250, "2.1.0", "sender ok")

    def _rcpt(self, argument: str) -> Reply:
        transaction = self._need_transaction()
        recipient = read_rcpt(argument, transaction)
        if len(transaction.recipients) >= self._limits.recipients:
            raise Refused(452, "4.5.3", f"a message has at most {self._limits.recipients} recipients")
        transaction.recipients.append(self._policy.check_recipient(transaction, recipient))
        return Reply(250, "2.1.5", "recipient ok")

    def _need_transaction(self) -> Transaction:
        if not self._transaction:
            raise Refused(503, "5.5.1", "MAIL comes first")
        if self._intake:
            raise Refused(503, "5.5.1", "BDAT has begun")
        return self._transaction

    def _data(self, argument: str) -> Reply:
        transaction = self._need_transaction()
        if argument:
            raise Refused(501, "5.5.4", "DATA takes no argument")
        self._open(transaction)
        self._await_content(Dotted(), self._finish)
        return Reply(354, "", "go on, and end with a line that is a dot")

    def _open(self, transaction: Transaction) -> None:
        if not transaction.recipients:
            raise Refused(503, "5.5.1", "there is no recipient")
        self._content = self._policy.open_content(transaction)
        self._intake = Intake(self._content, self._limits.size)

    def _start_tls(self, argument: str) -> Reply:
        if not self._starttls:
            return self._unknown(argument)
        if self._tls:
            raise Refused(503, "5.5.1", "TLS is there already")
        if argument:
            raise Refused(501, "5.5.4", "STARTTLS takes no argument")
        self._unread.clear()  # what came ahead in clear may be anybody's (RFC 3207 §6)
        self.state = State.SECURING
        return Reply(220, "2.0.0", "go ahead")

    def _rset(self, _argument: str) -> Reply:
        self._reset()
        return Reply(250, "2.0.0", "forgotten")

    def _unknown(self, _argument: str) -> Reply:
        return Reply(500, "5.5.2", "there is no such command; HELP lists all")

    # --- content

    def _await_content(self, frame: Frame, at_end: Callable[[], Reply]) -> None:
        self._frame, self._at_end = frame, at_end
        self._hear, self.state = self._hear_content, State.CONTENT

    def _hear_content(self) -> bool:
        """Take what there is; False if it has not come to its end."""
        content, rest = self._frame.take(bytes(self._unread))
        self._unread = bytearray(rest or b"")
        if self._intake:
            self._intake.write(content)
        if rest is None:
            return False
        self._hear, self.state = self._hear_command, State.COMMAND
        self._say(self._ask(self._at_end))
        return True

    def _bdat(self, argument: str) -> Reply | None:
        """The chunk comes in any case: it is heard out, and answered behind its end (RFC 3030 §2)."""
        found = _CHUNK.fullmatch(argument)
        if not found:
            raise Refused(501, "5.5.4", "that is: BDAT octets [LAST]")
        refusal = None if self._intake else self._ask(self._begin_chunks)
        end_chunk = partial(self._end_chunk, int(found[1]), last=bool(found[2]))
        self._await_content(Chunk(int(found[1])), (lambda: refusal) if refusal else end_chunk)
        return None

    def _begin_chunks(self) -> None:
        self._open(self._need_transaction())

    def _end_chunk(self, size: int, *, last: bool) -> Reply:
        if last:
            return self._finish()
        if self._intake and (fault := self._intake.fault):
            self._reset()
            raise fault
        return Reply(250, "2.0.0", f"{size} octets received")

    def _finish(self) -> Reply:
        """All content has come: it is accepted now, or refused and gone."""
        assert self._transaction
        assert self._intake
        assert self._content is not None
        try:
            if self._intake.fault:
                raise self._intake.fault
            said = self._policy.accept(self._transaction, self._content)
        finally:
            self._reset()
        self._errors = self._commands = 0
        return Reply(250, "2.0.0", said)

    def _reset(self) -> None:
        """No transaction is open."""
        content, self._content, self._intake, self._transaction = self._content, None, None, None
        if content is not None:
            with suppress(OSError, MailspoolError):  # what was accepted must not look refused
                content.close()
