# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One mail transaction without any I/O (RFC 5321 §3.3): what to say for a message, and what comes of it for whom.

RFC 1870 (SIZE), 2920 (PIPELINING), 3030 (CHUNKING), 3461 (DSN), 6152 (8BITMIME), 6531 (SMTPUTF8). With PIPELINING
a small message goes out whole behind its BDAT, in one write with its commands; a large one, and any that goes by
DATA, only once somebody was accepted for it. So does the first message of a session: from a host that hangs, or
refuses us, we go on to the next one, and after a final dot we could not.
"""

from collections.abc import Sequence

from mailspool.errors import InDoubt, TransientError, Unreadable
from mailspool.model.envelope import Envelope, Recipient
from mailspool.model.outcome import Deferred, Failed, Outcome
from mailspool.model.phase import Phase
from mailspool.model.status import NO_UTF8_ADDRESS, PROTOCOL_ERROR, TOO_BIG
from mailspool.smtp.content import END, Content
from mailspool.smtp.peer import OutOfPlace, Peer
from mailspool.smtp.reply import Reply
from mailspool.smtp.steps import Say, SendContent, Step, Talk

WINDOW = 100
"""Commands in one write: what comes back fits into any socket buffer, so that no two sides wait to write."""

Command = tuple[Phase, bytes]
"""A line, and the phase of its reply."""

_RESET: Command = (Phase.MAIL, b"RSET\r\n")
_DATA: Command = (Phase.DATA, b"DATA\r\n")


class Transaction:
    """behind: it is said while replies to the one before it are still due, so that nobody knows how that one ended."""

    def __init__(
        self, peer: Peer, envelope: Envelope, recipients: Sequence[Recipient], content: Content, *, behind: bool = False
    ) -> None:
        self._peer, self._envelope, self._content, self._behind = peer, envelope, content, behind
        self._recipients = recipients
        self._reset = False  # RSET comes first
        self._sender: Reply | None = None  # the reply to MAIL
        self._heard: list[Reply] = []  # those to RCPT
        self._sent = False  # the content is on its way

    def talk(self) -> Talk[list[Outcome]]:
        """An outcome for each of the recipients, in their order.

        Raises Unreadable if the envelope holds what no envelope can hold.
        """
        refusals = [self._refuse_locally(recipient) for recipient in self._recipients]
        if not any(refusals):
            return self._deliver()
        self._recipients = [r for r, refusal in zip(self._recipients, refusals, strict=True) if not refusal]
        return self._deliver_rest(refusals)

    def _deliver_rest(self, refusals: Sequence[Failed | None]) -> Talk[list[Outcome]]:
        settled = (yield from self._deliver()) if self._recipients else []
        rest = iter(settled)
        return [refusal or next(rest) for refusal in refusals]

    def _refuse_locally(self, recipient: Recipient) -> Failed | None:
        host, peer, size = self._peer.host, self._peer.extensions, self._envelope.facts.size
        if peer.size and size > peer.size:
            return Failed(TOO_BIG, host, f"the message has {size} octets, {host} takes at most {peer.size}")
        if not peer.smtputf8 and not (self._envelope.sender + recipient.address).isascii():
            text = f"{host} does not offer SMTPUTF8, which an address needs (RFC 6531 §3.5)"
            return Failed(NO_UTF8_ADDRESS, host, text)
        return None

    def _deliver(self) -> Talk[list[Outcome]]:
        """What the replies to MAIL and RCPT leave open is settled by the last reply, or by the end of the session."""
        peer = self._peer
        try:
            rest = peer.outcome((yield from self._converse()))
        except TransientError as error:
            peer.over = True
            # A reply out of place may be anybody's: the one to the content may have been read before, or never come.
            in_doubt = isinstance(error, InDoubt) or (self._sent and isinstance(error, OutOfPlace))
            rest = Deferred(error.status, peer.host, error.text, refused=True, in_doubt=in_doubt)
        if self._sender and self._sender.refused:
            return [peer.outcome(self._sender)] * len(self._recipients)
        outcomes = [peer.outcome(reply) if reply.refused else rest for reply in self._heard]
        return outcomes + [rest] * (len(self._recipients) - len(outcomes))

    # --- what is said

    def _converse(self) -> Talk[Reply]:
        """Returns the reply that decides for all accepted recipients; any, if there are none.

        With PIPELINING up to WINDOW commands are one write, and a small message to a proven peer goes out with them.
        """
        peer = self._peer.extensions
        whole = peer.chunking and peer.pipelining and self._peer.proven and self._content.small
        commands = self._commands()
        window = WINDOW if peer.pipelining else 1
        for start in range(0, len(commands), window):
            phases, lines = zip(*commands[start : start + window], strict=True)
            if self._in_vain(phases[0]):
                break
            if whole and start + window >= len(commands):
                return (yield from self._finish(self._chunk(phases, b"".join(lines))))
            reply = yield from self._peer.ask(Say(phases, b"".join(lines)), self._note)
        if self._in_vain(Phase.FINAL):
            if reply.code // 100 == 3:  # RFC 2920 §3.1: nobody was accepted, but content was asked for
                reply = yield from self._finish(Say((Phase.CONTENT,), END))
            return reply
        if peer.chunking:
            return (yield from self._finish(self._chunk()))
        return reply if reply.refused else (yield from self._finish(SendContent(self._content.dotted())))

    def _commands(self) -> list[Command]:
        """All that come before the content."""
        self._reset = self._needs_reset()
        commands = [_RESET] if self._reset else []
        commands += [self._mail(), *map(self._rcpt, self._recipients)]
        return commands if self._peer.extensions.chunking else [*commands, _DATA]

    def _needs_reset(self) -> bool:
        """Behind an unknown end, or an open transaction, else its recipients could get this message.

        Not behind a final dot: whatever the answer, it has cleared all (RFC 5321 §4.1.1.4). A BDAT that was refused, or
        had no recipients, leaves a state of which RFC 3030 §2 knows only that RSET ends it.
        """
        return self._peer.extensions.chunking if self._behind else self._peer.transaction_open

    def _chunk(self, phases: tuple[Phase, ...] = (), lead: bytes = b"") -> SendContent:
        """Behind commands that go out with it."""
        size, blocks = self._content.chunk()
        return SendContent(blocks, b"%bBDAT %d LAST\r\n" % (lead, size), (*phases, Phase.FINAL))

    def _finish(self, step: Step) -> Talk[Reply]:
        """The reply to the content, with which the transaction ends."""
        self._sent = True
        reply = yield from self._peer.ask(step, self._note)
        self._peer.transaction_open = self._peer.extensions.chunking and reply.refused
        self._peer.proven |= not reply.refused
        return reply

    def _note(self, phase: Phase, reply: Reply) -> None:
        """Raises OutOfPlace where RSET is refused: that is no reason to give up a message, but the session."""
        if phase is Phase.RCPT:
            self._heard.append(reply)
        elif phase is Phase.MAIL and self._reset:
            self._reset = False
            if reply.refused:
                raise OutOfPlace(PROTOCOL_ERROR, self._peer.host, f"RSET was refused: {reply}")
        elif phase is Phase.MAIL:
            self._sender = reply
            self._peer.transaction_open = True

    def _in_vain(self, phase: Phase) -> bool:
        """Whether what belongs to this phase cannot lead to a delivery any more."""
        if self._sender and self._sender.refused:
            return True
        return phase > Phase.RCPT and all(reply.refused for reply in self._heard)

    def _mail(self) -> Command:
        peer, envelope = self._peer.extensions, self._envelope
        facts = envelope.facts
        line = f"MAIL FROM:<{envelope.sender}>"
        if peer.size is not None:
            line += f" SIZE={facts.size}"
        if facts.eight_bit and peer.eight_bit_mime:
            line += " BODY=8BITMIME"
        if peer.smtputf8 and (facts.utf8_headers or not self._all_ascii()):
            line += " SMTPUTF8"
        if peer.dsn and envelope.ret:
            line += f" RET={envelope.ret}"
        if peer.dsn and envelope.envid:
            line += f" ENVID={envelope.envid}"
        return Phase.MAIL, as_line(line)

    def _rcpt(self, recipient: Recipient) -> Command:
        line = f"RCPT TO:<{recipient.address}>"
        if self._peer.extensions.dsn and recipient.notify:
            line += f" NOTIFY={','.join(recipient.notify)}"
        if self._peer.extensions.dsn and recipient.orcpt.isascii() and recipient.orcpt:
            line += f" ORCPT={recipient.orcpt}"
        return Phase.RCPT, as_line(line)

    def _all_ascii(self) -> bool:
        return self._envelope.sender.isascii() and all(each.address.isascii() for each in self._recipients)


def as_line(command: str) -> bytes:
    """Addresses were checked at the door; a line end in one now would be somebody else's command: raises Unreadable."""
    if "\r" in command or "\n" in command:
        raise Unreadable(f"envelope would make more than one command: {command!r}")
    return command.encode() + b"\r\n"
