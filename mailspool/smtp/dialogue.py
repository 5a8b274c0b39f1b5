# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The client's rules of SMTP without any I/O: what to say next, and what the replies mean for each recipient.

RFC 5321, with RFC 1870 (SIZE), 2920 (PIPELINING), 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152 (8BITMIME),
6531 (SMTPUTF8), 8314 §3.3 (implicit TLS).
Each talk is a generator of steps. A step is answered by exactly one Reply, sent in; or, where the connection
failed, by the TransientError, thrown in. No rule of SMTP stands anywhere else, so all of them are tested without
a socket.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, TypeVar

from mailspool.errors import DeliveryError, InDoubt, LoginFailed, PermanentError, TransientError, Unreadable
from mailspool.model.credentials import Credentials
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Deferred, Delivered, Failed, Outcome
from mailspool.model.phase import Phase
from mailspool.model.status import NO_LOGIN, NO_UTF8_ADDRESS, PROTOCOL_ERROR, TLS_TROUBLE, TOO_BIG
from mailspool.smtp import auth
from mailspool.smtp.content import END
from mailspool.smtp.extensions import Extensions, parse_extensions
from mailspool.smtp.reply import Judge, Reply, judge_by_code
from mailspool.tls.policy import TlsPolicy

_LOGIN_REQUIRED = 530  # RFC 4954 §6, RFC 3207 §4
WINDOW = 100  # commands in one write: what comes back fits into any socket buffer, so no two sides wait to write


class Say(NamedTuple):
    """Write the octets, if any, then read one reply. No octets: the command went out with an earlier step."""

    phase: Phase
    octets: bytes = b""


class Secure(NamedTuple):
    """Drop what was read ahead (it came in clear), do the TLS handshake, then go on as with Say."""

    phase: Phase
    octets: bytes = b""


class Whisper(NamedTuple):
    """As Say, but nobody but the peer may learn the octets: others are shown something else.

    conceal: takes out of the peer's words what it repeats of them.
    """

    phase: Phase
    octets: bytes
    shown: bytes
    conceal: Callable[[str], str]

    def __repr__(self) -> str:
        return f"Whisper({self.phase!r}, {self.shown!r})"


class SendContent(NamedTuple):
    """Write the blocks of content (as of `content.blocks`) and the final dot, then read one reply."""

    blocks: Iterator[bytes]
    phase: Phase = Phase.FINAL


_POSITIVE = {Phase.DATA: (3,), Phase.AUTH: (2, 3)}  # first digits; 2 after all others

Step = Say | Secure | Whisper | SendContent
Result = TypeVar("Result")
Talk = Generator[Step, Reply, Result]


class Dialogue:
    """What one session knows. host: for outcomes and errors, as "mx.example.org[192.0.2.1]:25".

    extensions: as last announced. over: nothing may be said any more, not even QUIT. judge: says what a refusal,
    and the last reply of all, means for a recipient; it cannot make a refusal a delivery. credentials: to log in
    with, which a peer that does not let us do so must not be sent mail without. locked_out: what a peer said that wants
    a login, or TLS, before it takes any mail.
    """

    def __init__(
        self, host: str, helo_name: str, judge: Judge = judge_by_code, credentials: Credentials | None = None
    ) -> None:
        self.host = host
        self.extensions = Extensions()
        self.over = False
        self.locked_out = ""
        self.names: set[str] = set()
        self._helo_name = helo_name
        self._judge = judge
        self._credentials = credentials
        self._transaction_open = False  # the peer still holds what was left of a mail transaction

    # --- opening

    def greet(self, tls: TlsPolicy) -> Talk[None]:
        """From the greeting until mail may be sent.

        Raises PermanentError or TransientError: by the peer's refusal, for TLS that is required but not to be had;
        LoginFailed.
        """
        greeting = Secure(Phase.GREETING) if tls.wrap else Say(Phase.GREETING)
        self._note_name((yield from self._command(greeting)))
        yield from self._hello(Say)
        if tls.wanted and not tls.wrap:
            yield from self._secure(tls)
        if self._credentials:
            yield from self._log_in(self._credentials)

    def _secure(self, tls: TlsPolicy) -> Talk[None]:
        refusal = yield from self._start_tls()
        if not refusal:
            yield from self._hello(Secure)
        elif tls.required:
            raise TransientError(TLS_TROUBLE, "", f"TLS is required with {self.host}: {refusal}")

    def _start_tls(self) -> Talk[str]:
        """Why TLS is not to be had; "" if the handshake may begin."""
        if not self.extensions.starttls:
            return "STARTTLS is not offered"
        reply = yield from self._ask(Say(Phase.STARTTLS, b"STARTTLS\r\n"))
        return str(reply) if reply.refused else ""

    def _hello(self, step: type[Say] | type[Secure]) -> Talk[None]:
        """EHLO, and HELO for a peer that does not know it (RFC 5321 §3.2)."""
        reply = yield from self._ask(step(Phase.EHLO, _line(f"EHLO {self._helo_name}")))
        if reply.code >= 500:
            self.extensions = Extensions()
            reply = yield from self._command(Say(Phase.EHLO, _line(f"HELO {self._helo_name}")))
        elif reply.refused:
            raise reply.as_error(self.host)
        else:
            self.extensions = parse_extensions(reply)
        self._note_name(reply)

    def _log_in(self, credentials: Credentials) -> Talk[None]:
        """With the strongest mechanism offered; with the next one only if it is the mechanism that is refused.

        A temporary failure is the host's trouble (RFC 4954 §6, 454); any other is ours, so that it is not permanent.
        """
        refusal = "it offers no AUTH that is known here"
        for mechanism in auth.choose(self.extensions.auth):
            reply = yield from self._authenticate(mechanism, credentials)
            if not reply.refused:
                return
            refusal = f"AUTH {mechanism.name} was refused: {reply}"
            if reply.code not in auth.TRY_ANOTHER:
                if reply.code < 500:
                    raise reply.as_error(self.host)
                break
        raise LoginFailed(NO_LOGIN, "", f"no login at {self.host}: {refusal}")

    def _authenticate(self, mechanism: auth.Mechanism, credentials: Credentials) -> Talk[Reply]:
        """The last reply of the exchange, 2yz or a refusal. What we cannot answer is cancelled (RFC 4954 §4)."""
        said = auth.initial_response(mechanism, credentials)
        command = f"AUTH {mechanism.name}"
        opening = _whisper(f"{command} ", said, credentials) if said else Say(Phase.AUTH, _line(command))
        reply = yield from self._ask(opening)
        for answer in mechanism.answers[1:] if said else mechanism.answers:
            challenge = auth.read_challenge(reply)
            if challenge is None:
                break
            reply = yield from self._ask(_whisper("", auth.encode(answer(credentials, challenge)), credentials))
        if reply.code == auth.CONTINUE:
            reply = yield from self._ask(Say(Phase.AUTH, auth.CANCEL))
            if not reply.refused:
                raise TransientError(PROTOCOL_ERROR, self.host, f"out of place after AUTH was cancelled: {reply}")
        return reply

    def _note_name(self, reply: Reply) -> None:
        """The first word is the peer's name (RFC 5321 §4.2)."""
        self.names.add(reply.lines[0].partition(" ")[0].lower())

    # --- one message

    def transaction(
        self, envelope: Envelope, recipients: Sequence[Recipient], blocks: Iterator[bytes]
    ) -> Talk[list[Outcome]]:
        """One mail transaction (RFC 5321 §3.3): an outcome for each of the recipients, in their order.

        Raises Unreadable if the envelope holds what no envelope can hold.
        """
        refusals = [self._refuse_locally(envelope, recipient) for recipient in recipients]
        willing = [recipient for recipient, refusal in zip(recipients, refusals, strict=True) if not refusal]
        settled = iter((yield from self._deliver(envelope, willing, blocks)) if willing else ())
        return [refusal or next(settled) for refusal in refusals]

    def _refuse_locally(self, envelope: Envelope, recipient: Recipient) -> Failed | None:
        limit, size = self.extensions.size, envelope.facts.size
        if limit and size > limit:
            return Failed(TOO_BIG, self.host, f"the message has {size} octets, {self.host} takes at most {limit}")
        if not self.extensions.smtputf8 and not (envelope.sender + recipient.address).isascii():
            text = f"{self.host} does not offer SMTPUTF8, which an address needs (RFC 6531 §3.5)"
            return Failed(NO_UTF8_ADDRESS, self.host, text)
        return None

    def _deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], blocks: Iterator[bytes]
    ) -> Talk[list[Outcome]]:
        """What the replies to MAIL and RCPT leave open is settled by the last reply, or by the end of the session."""
        heard: list[Reply] = []
        try:
            last = yield from self._converse(self._writes(envelope, recipients), blocks, heard)
            rest = self._outcome(last)
        except TransientError as error:
            self.over = True
            rest = Deferred(error.status, self.host, error.text, refused=True, in_doubt=isinstance(error, InDoubt))
        if heard and heard[0].refused:
            return [self._outcome(heard[0])] * len(recipients)
        replies = [*heard[1:], *[None] * len(recipients)][: len(recipients)]
        return [self._outcome(reply) if reply and reply.refused else rest for reply in replies]

    def _converse(self, steps: Iterator[Say], blocks: Iterator[bytes], heard: list[Reply]) -> Talk[Reply]:
        """Fill `heard` with the replies to MAIL and RCPT. Returns the reply that decides for all accepted ones."""
        if self._transaction_open:
            yield from self._reset()
        self._transaction_open = True
        for step in steps:
            if step.octets and _in_vain(step.phase, heard):
                break
            reply = yield from self._ask(step)
            if step.phase is not Phase.DATA:
                heard.append(reply)
            elif not reply.refused:
                reply = yield from self._ask(
                    Say(Phase.CONTENT, END)  # RFC 2920 §3.1: nobody was accepted, but content was asked for
                    if _in_vain(step.phase, heard)
                    else SendContent(blocks)
                )
                self._transaction_open = False
        return reply

    def _reset(self) -> Talk[None]:
        """No reason to give up a message: a peer that refuses RSET loses the session, not the mail."""
        reply = yield from self._ask(Say(Phase.MAIL, b"RSET\r\n"))
        if reply.refused:
            raise TransientError(PROTOCOL_ERROR, self.host, f"RSET was refused: {reply}")

    def _writes(self, envelope: Envelope, recipients: Sequence[Recipient]) -> Iterator[Say]:
        """MAIL, each RCPT, DATA: with PIPELINING up to WINDOW commands go out with the first of them."""
        lines = [self._mail(envelope, recipients), *map(self._rcpt, recipients), b"DATA\r\n"]
        phases = [Phase.MAIL, *[Phase.RCPT] * len(recipients), Phase.DATA]
        window = WINDOW if self.extensions.pipelining else 1
        for start in range(0, len(lines), window):
            octets = b"".join(lines[start : start + window])
            for phase in phases[start : start + window]:
                yield Say(phase, octets)
                octets = b""

    def _mail(self, envelope: Envelope, recipients: Sequence[Recipient]) -> bytes:
        peer, facts = self.extensions, envelope.facts
        command = f"MAIL FROM:<{envelope.sender}>"
        if peer.size is not None:
            command += f" SIZE={facts.size}"
        if facts.eight_bit and peer.eight_bit_mime:
            command += " BODY=8BITMIME"
        if peer.smtputf8 and (facts.utf8_headers or not _all_ascii(envelope, recipients)):
            command += " SMTPUTF8"
        if peer.dsn and envelope.ret:
            command += f" RET={envelope.ret}"
        if peer.dsn and envelope.envid:
            command += f" ENVID={envelope.envid}"
        return _line(command)

    def _rcpt(self, recipient: Recipient) -> bytes:
        command = f"RCPT TO:<{recipient.address}>"
        if self.extensions.dsn and recipient.notify:
            command += f" NOTIFY={','.join(recipient.notify)}"
        if self.extensions.dsn and recipient.orcpt.isascii() and recipient.orcpt:
            command += f" ORCPT={recipient.orcpt}"
        return _line(command)

    # --- closing

    def quit(self) -> Talk[None]:
        """Whatever the answer is, it changes nothing."""
        self.over = True
        yield Say(Phase.QUIT, b"QUIT\r\n")

    # --- replies

    def _ask(self, step: Step) -> Talk[Reply]:
        """A reply that can follow the step. Raises TransientError for any other, and for 421 (RFC 5321 §3.8)."""
        reply = yield step
        if reply.code == _LOGIN_REQUIRED:
            self.locked_out = str(reply)
        kind = reply.code // 100
        if reply.code == 421:
            raise reply.as_error(self.host)
        if kind < 4 and kind not in _POSITIVE.get(step.phase, (2,)):
            raise TransientError(PROTOCOL_ERROR, self.host, f"out of place after {step.phase.name}: {reply}")
        return reply

    def _command(self, step: Step) -> Talk[Reply]:
        """A positive reply. Raises the error that any other means."""
        reply = yield from self._ask(step)
        if error := self._verdict(reply):
            raise error
        return reply

    def _outcome(self, reply: Reply) -> Outcome:
        error = self._verdict(reply)
        if not error:
            return Delivered(reply.status, self.host, str(reply))
        kind = Failed if isinstance(error, PermanentError) else Deferred
        return kind(error.status, error.host, error.text)

    def _verdict(self, reply: Reply) -> DeliveryError | None:
        try:
            self._judge(reply, self.host)
        except DeliveryError as error:
            return error
        return reply.as_error(self.host) if reply.refused else None


def _in_vain(phase: Phase, heard: Sequence[Reply]) -> bool:
    """Whether a command of this phase cannot lead to a delivery any more."""
    if heard and heard[0].refused:
        return True
    return phase is Phase.DATA and all(reply.refused for reply in heard[1:])


def _whisper(prefix: str, said: bytes, credentials: Credentials) -> Whisper:
    shown = _line(f"{prefix}***")
    return Whisper(Phase.AUTH, prefix.encode() + said + b"\r\n", shown, auth.concealer(credentials, said))


def _all_ascii(envelope: Envelope, recipients: Sequence[Recipient]) -> bool:
    return envelope.sender.isascii() and all(recipient.address.isascii() for recipient in recipients)


def _line(command: str) -> bytes:
    """Addresses were checked at the door; a line end in one now would be somebody else's command."""
    if "\r" in command or "\n" in command:
        raise Unreadable(f"envelope would make more than one command: {command!r}")
    return command.encode() + b"\r\n"
