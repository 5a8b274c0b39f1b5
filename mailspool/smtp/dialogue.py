# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The client's rules of SMTP without any I/O: what to say next, and what the replies mean for each recipient.

RFC 5321, with RFC 3207 (STARTTLS), 4954 (AUTH), 8314 §3.3 (implicit TLS); one message: `transaction`. Each talk is
made of `steps`. No rule of SMTP stands anywhere else, so all of them are tested without a socket.
"""

from mailspool.errors import LoginFailed, TransientError
from mailspool.model.credentials import Credentials
from mailspool.model.phase import Phase
from mailspool.model.status import NO_LOGIN, PROTOCOL_ERROR, TLS_TROUBLE
from mailspool.smtp import auth
from mailspool.smtp.extensions import Extensions, parse_extensions
from mailspool.smtp.peer import Peer
from mailspool.smtp.reply import Judge, Reply, judge_by_code
from mailspool.smtp.steps import Say, Secure, Talk, Whisper
from mailspool.smtp.transaction import as_octets
from mailspool.tls.policy import TlsPolicy


class Dialogue(Peer):
    """All that one session says. helo_name: what we call ourselves. names: what the peer calls itself.

    credentials: to log in with, which a peer that does not let us do so must not be sent mail without.
    """

    def __init__(
        self, host: str, helo_name: str, judge: Judge = judge_by_code, credentials: Credentials | None = None
    ) -> None:
        super().__init__(host, judge)
        self.names: set[str] = set()
        self._helo_name = helo_name
        self._credentials = credentials

    # --- opening

    def greet(self, tls: TlsPolicy) -> Talk[None]:
        """From the greeting until mail may be sent.

        Raises PermanentError or TransientError: by the peer's refusal, for TLS that is required but not to be had;
        LoginFailed.
        """
        greeting = Secure((Phase.GREETING,)) if tls.wrap else Say((Phase.GREETING,))
        self._note_name((yield from self.command(greeting)))
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
        reply = yield from self.ask(Say((Phase.STARTTLS,), b"STARTTLS\r\n"))
        return str(reply) if reply.refused else ""

    def _hello(self, step: type[Say] | type[Secure]) -> Talk[None]:
        """EHLO, and HELO for a peer that does not know it (RFC 5321 §3.2)."""
        reply = yield from self.ask(step((Phase.EHLO,), as_octets([f"EHLO {self._helo_name}"])))
        if reply.code >= 500:
            self.extensions = Extensions()
            reply = yield from self.command(Say((Phase.EHLO,), as_octets([f"HELO {self._helo_name}"])))
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
        opening = _whisper(f"{command} ", said, credentials) if said else Say((Phase.AUTH,), as_octets([command]))
        reply = yield from self.ask(opening)
        for answer in mechanism.answers[1:] if said else mechanism.answers:
            challenge = auth.read_challenge(reply)
            if challenge is None:
                break
            reply = yield from self.ask(_whisper("", auth.encode(answer(credentials, challenge)), credentials))
        if reply.code == auth.CONTINUE:
            reply = yield from self.ask(Say((Phase.AUTH,), auth.CANCEL))
            if not reply.refused:
                raise TransientError(PROTOCOL_ERROR, self.host, f"out of place after AUTH was cancelled: {reply}")
        return reply

    def _note_name(self, reply: Reply) -> None:
        """The first word is the peer's name (RFC 5321 §4.2)."""
        self.names.add(reply.lines[0].partition(" ")[0].lower())

    # --- closing

    def quit(self) -> Talk[None]:
        """Whatever the answer is, it changes nothing."""
        self.over = True
        yield Say((Phase.QUIT,), b"QUIT\r\n")


def _whisper(prefix: str, said: bytes, credentials: Credentials) -> Whisper:
    shown = as_octets([f"{prefix}***"])
    return Whisper((Phase.AUTH,), prefix.encode() + said + b"\r\n", shown, auth.concealer(credentials, said))
