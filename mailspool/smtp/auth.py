# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""SASL mechanisms for AUTH as pure functions: what to answer to which challenge (RFC 4954).

CRAM-MD5 (RFC 2195), PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00, what hosts without PLAIN offer).
When each is said, and what the host's replies mean, is decided in `dialogue`.
"""

import base64
import hmac
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from mailspool.model.credentials import Credentials
from mailspool.smtp.reply import Reply

MAX_LINE = 512
"""Octets of a command with its CRLF (RFC 5321 §4.5.3.1.4): an initial response that is longer waits for a 334."""

TRY_ANOTHER = frozenset((432, 501, 504, 534, 538))
"""Refusals that concern the mechanism, not the credentials (RFC 4954 §4, §6); 501 also answers a cancelled one."""

CONTINUE = 334
CANCEL = b"*\r\n"

_CONCEALED = "***"
_TELLING = 8  # so many characters of a secret are the secret; fewer than half of them are no secret

Answer = Callable[[Credentials, bytes], bytes]


class Mechanism(NamedTuple):
    """answers: one for each challenge. initial: the first challenge is empty, so its answer may go with the command."""

    name: str
    answers: tuple[Answer, ...]
    initial: bool = False


def _cram_md5(credentials: Credentials, challenge: bytes) -> bytes:
    digest = hmac.new(credentials.password.encode(), challenge, "md5").hexdigest()
    return f"{credentials.user} {digest}".encode()


def _plain(credentials: Credentials, _challenge: bytes) -> bytes:
    """No authorization identity: the host derives it (RFC 4616 §2)."""
    return f"\0{credentials.user}\0{credentials.password}".encode()


def _user(credentials: Credentials, _challenge: bytes) -> bytes:
    return credentials.user.encode()


def _password(credentials: Credentials, _challenge: bytes) -> bytes:
    return credentials.password.encode()


_MECHANISMS = (  # the strongest first
    Mechanism("CRAM-MD5", (_cram_md5,)),
    Mechanism("PLAIN", (_plain,), initial=True),
    Mechanism("LOGIN", (_user, _password)),
)


def choose(offered: Collection[str]) -> list[Mechanism]:
    """The mechanisms that we know of those offered (in upper case), the one to try first in front."""
    return [mechanism for mechanism in _MECHANISMS if mechanism.name in offered]


def encode(answer: bytes) -> bytes:
    """As it goes over the wire, without CRLF (RFC 4954 §4)."""
    return base64.b64encode(answer)


def initial_response(mechanism: Mechanism, credentials: Credentials) -> bytes:
    """What goes with the command, encoded; b"" if nothing may, or if it would make too long a line (RFC 4954 §4)."""
    if not mechanism.initial:
        return b""
    said = encode(mechanism.answers[0](credentials, b""))
    return said if len(f"AUTH {mechanism.name} \r\n") + len(said) <= MAX_LINE else b""


def read_challenge(reply: Reply) -> bytes | None:
    """The octets in a 334 reply, whose size the reader of replies bounds; None if it is none, or holds no base64."""
    if reply.code != CONTINUE or len(reply.lines) != 1:
        return None
    try:
        return base64.b64decode(reply.lines[0].strip(), validate=True)
    except ValueError:  # binascii.Error, and what is not even ASCII
        return None


def concealer(credentials: Credentials, said: bytes) -> Callable[[str], str]:
    """A function that takes out of a host's words what it repeats of our answer `said` or of the password.

    Hosts do: "500 unknown command AUTH PLAIN AGpvZQ…", or a part of it.
    """
    secrets = {said.decode(), credentials.password, encode(credentials.password.encode()).decode()}
    telling = sorted(re.escape(secret[:_TELLING]) for secret in secrets if len(secret) >= _TELLING // 2)
    pattern = re.compile("|".join(rf"{start}[^\s\"'<>]*" for start in telling) or "(?!)")
    return lambda text: pattern.sub(_CONCEALED, text)
