# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One mail transaction without any I/O (RFC 5321 §3.3): what to say for a message, and what comes of it for whom.

RFC 1870 (SIZE), 2920 (PIPELINING), 3030 (CHUNKING), 3461 (DSN), 6152 (8BITMIME), 6531 (SMTPUTF8). With PIPELINING
a small message goes out whole behind its BDAT, in one write with its commands; a large one, and any that goes by
DATA, only once somebody was accepted for it. So does the first message of a session: from a host that hangs, or
refuses us, we go on to the next one, and after a final dot we could not.
"""

from collections.abc import Iterator, Sequence

from mailspool.errors import InDoubt, TransientError, Unreadable
from mailspool.model.envelope import Recipient
from mailspool.model.outcome import Deferred, Failed, Outcome
from mailspool.model.phase import Phase
from mailspool.model.status import NO_UTF8_ADDRESS, PROTOCOL_ERROR, TOO_BIG
from mailspool.smtp.letter import END, Letter
from mailspool.smtp.peer import OutOfPlace, Peer
from mailspool.smtp.reply import Reply
from mailspool.smtp.steps import Say, SendContent, Step, Talk

WINDOW = 100
"""Commands in one write: what comes back fits into any socket buffer, so that no two sides wait to write."""


class Transaction:
    """behind: it is said while replies to the one before it are still due, so that nobody knows how that one ended."""

    _smooth = True  # each reply was what it most often is
    _sent = False  # the content is on its way

    def __init__(self, peer: Peer, letter: Letter, *, behind: bool = False) -> None:
        self._peer, self._letter = peer, letter
        # Behind an unknown end, or an open transaction, else its recipients could get this message. Not behind a final
        # dot: whatever the answer, it has cleared all (RFC 5321 §4.1.1.4). A BDAT that was refused, or had no
        # recipients, leaves a state of which RFC 3030 §2 knows only that RSET ends it.
        self._reset = peer.extensions.chunking if behind else peer.transaction_open
        self._recipients = letter.recipients
        self._ascii = letter.envelope.sender.isascii()
        for recipient in letter.recipients:
            self._ascii = self._ascii and recipient.address.isascii()
        self._heard: list[Reply] = []  # to RSET, if that is said, to MAIL, to each RCPT, to what comes then

    def talk(self) -> Talk[list[Outcome]]:
        """An outcome for each of the recipients, in their order.

        Raises Unreadable if the envelope holds what no envelope can hold.
        """
        peer, size = self._peer.extensions, self._letter.envelope.facts.size
        if (peer.smtputf8 or self._ascii) and not (peer.size and size > peer.size):
            return self._deliver()
        refusals = [self._refuse_locally(recipient) for recipient in self._recipients]
        self._recipients = [r for r, refusal in zip(self._recipients, refusals, strict=True) if not refusal]
        return self._deliver_rest(refusals)

    def _deliver_rest(self, refusals: Sequence[Failed | None]) -> Talk[list[Outcome]]:
        settled = (yield from self._deliver()) if self._recipients else []
        rest = iter(settled)
        return [refusal or next(rest) for refusal in refusals]

    def _refuse_locally(self, recipient: Recipient) -> Failed | None:
        host, peer, size = self._peer.host, self._peer.extensions, self._letter.envelope.facts.size
        if peer.size and size > peer.size:
            return Failed(TOO_BIG, host, f"the message has {size} octets, {host} takes at most {peer.size}")
        if not peer.smtputf8 and not (self._letter.envelope.sender + recipient.address).isascii():
            text = f"{host} does not offer SMTPUTF8, which an address needs (RFC 6531 §3.5)"
            return Failed(NO_UTF8_ADDRESS, host, text)
        return None

    def _deliver(self) -> Talk[list[Outcome]]:
        """What the replies to MAIL and RCPT leave open is settled by the last reply, or by the end of the session."""
        peer, heard = self._peer, self._heard
        try:
            for step in self._steps():
                phases, replies = step.phases, (yield step)
                while True:
                    if not peer.hear(phases, replies, heard):
                        self._look_closely()
                    if len(replies) == len(phases):
                        break
                    phases = phases[len(replies) :]
                    replies = yield Say(phases)
            rest = peer.outcome(heard[-1])
        except TransientError as error:
            self._smooth, peer.over = False, True
            # A reply out of place may be anybody's: the one to the content may have been read before, or never come.
            in_doubt = isinstance(error, InDoubt) or (self._sent and isinstance(error, OutOfPlace))
            rest = Deferred(error.status, peer.host, error.text, refused=True, in_doubt=in_doubt)
        return [rest] * len(self._recipients) if self._smooth else self._outcomes(rest)

    def _outcomes(self, rest: Outcome) -> list[Outcome]:
        if self._reset_refused:
            return [rest] * len(self._recipients)
        if self._sender_refused:
            return [self._peer.outcome(self._heard[self._reset])] * len(self._recipients)
        outcomes = [self._peer.outcome(reply) if reply.refused else rest for reply in self._answers]
        return outcomes + [rest] * (len(self._recipients) - len(outcomes))

    def _look_closely(self) -> None:
        """Raises OutOfPlace where RSET is refused: that is no reason to give up a message, but the session."""
        self._smooth = False
        if self._reset_refused:
            raise OutOfPlace(PROTOCOL_ERROR, self._peer.host, f"RSET was refused: {self._heard[0]}")

    @property
    def _reset_refused(self) -> bool:
        return self._reset and bool(self._heard) and self._heard[0].refused

    @property
    def _sender_refused(self) -> bool:
        return any(reply.refused for reply in self._heard[self._reset : self._reset + 1])

    @property
    def _answers(self) -> Sequence[Reply]:
        """Those to RCPT."""
        start = self._reset + 1
        return self._heard[start : start + len(self._recipients)]

    # --- what is said

    def _steps(self) -> Iterator[Step]:
        """Behind each, its replies have been heard; the last of all decides for all accepted recipients, if any.

        With PIPELINING up to WINDOW commands are one write, and a small message to a proven peer goes out with them.
        """
        peer, extensions = self._peer, self._peer.extensions
        groups = self._groups()
        goes_whole = extensions.chunking and extensions.pipelining and peer.proven and self._letter.small
        whole = groups.pop() if goes_whole else None
        for phases, octets in groups:
            if self._in_vain(phases[0]):
                break
            yield Say(phases, octets)
            peer.transaction_open = True
        step = self._chunk(*whole) if whole and (self._smooth or not self._sender_refused) else self._ending()
        if step:
            self._sent = True
            yield step
            refused = self._heard[-1].refused
            peer.transaction_open = extensions.chunking and refused
            peer.proven |= not refused

    def _ending(self) -> Step | None:
        """How the content is sent; None if it is not to be."""
        if not self._smooth:
            code = self._heard[-1].code
            if self._in_vain(Phase.FINAL):  # RFC 2920 §3.1: nobody was accepted, but content was perhaps asked for
                return Say((Phase.CONTENT,), END) if code // 100 == 3 else None
            if code >= 400 and not self._peer.extensions.chunking:
                return None
        return self._chunk() if self._peer.extensions.chunking else SendContent(self._letter.dotted())

    def _in_vain(self, phase: Phase) -> bool:
        """Whether what belongs to this phase cannot lead to a delivery any more."""
        if self._smooth:
            return False
        return self._sender_refused or (phase > Phase.RCPT and all(reply.refused for reply in self._answers))

    def _chunk(self, phases: tuple[Phase, ...] = (), lead: bytes = b"") -> SendContent:
        """Behind commands that go out with it."""
        size, blocks = self._letter.chunk()
        return SendContent(blocks, b"%bBDAT %d LAST\r\n" % (lead, size), (*phases, Phase.FINAL))

    def _groups(self) -> list[tuple[tuple[Phase, ...], bytes]]:
        """The commands before the content, as many at once as may be, with the phases of their replies."""
        extensions = self._peer.extensions
        lines = [self._mail()]
        for recipient in self._recipients:
            line = f"RCPT TO:<{recipient.address}>"
            lines.append(line + _wishes(recipient) if extensions.dsn else line)
        phases = (Phase.MAIL,) + (Phase.RCPT,) * len(self._recipients)
        if not extensions.chunking:
            lines.append("DATA")
            phases += (Phase.DATA,)
        if self._reset:
            lines.insert(0, "RSET")
            phases = (Phase.MAIL, *phases)
        window = WINDOW if extensions.pipelining else 1
        if len(lines) <= window:
            return [(phases, as_octets(lines))]
        starts = range(0, len(lines), window)
        return [(phases[start : start + window], as_octets(lines[start : start + window])) for start in starts]

    def _mail(self) -> str:
        peer, envelope = self._peer.extensions, self._letter.envelope
        facts = envelope.facts
        line = f"MAIL FROM:<{envelope.sender}>"
        if peer.size is not None:
            line += f" SIZE={facts.size}"
        if facts.eight_bit and peer.eight_bit_mime:
            line += " BODY=8BITMIME"
        if peer.smtputf8 and (facts.utf8_headers or not self._ascii):
            line += " SMTPUTF8"
        if peer.dsn:
            line += f" RET={envelope.ret}" if envelope.ret else ""
            line += f" ENVID={envelope.envid}" if envelope.envid else ""
        return line


def _wishes(recipient: Recipient) -> str:
    notify = f" NOTIFY={','.join(recipient.notify)}" if recipient.notify else ""
    return notify + (f" ORCPT={recipient.orcpt}" if recipient.orcpt and recipient.orcpt.isascii() else "")


def as_octets(commands: Sequence[str]) -> bytes:
    """Lines. What went into them was checked at the door; a line end in one would be somebody else's command.

    Raises Unreadable.
    """
    lines = "\r\n".join(commands)
    if not lines.count("\n") == lines.count("\r") == len(commands) - 1:
        raise Unreadable(f"envelope would make more than one command: {_broken(commands)!r}")
    return lines.encode() + b"\r\n"


def _broken(commands: Sequence[str]) -> str:
    return next(command for command in commands if "\r" in command or "\n" in command)
