# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a peer says it can do: the keywords in its reply to EHLO (RFC 5321 §4.1.1.1), as a value.

Keywords are read without regard to case; unknown and malformed ones are passed over.
"""

import re

import msgspec

from mailspool.smtp.reply import Reply


class Extensions(msgspec.Struct, frozen=True):
    """The default is a peer that knows HELO only."""

    pipelining: bool = False  # RFC 2920
    size: int | None = None  # RFC 1870: octets that a message may have; 0: no limit is known; None: not offered
    eight_bit_mime: bool = False  # RFC 6152
    starttls: bool = False  # RFC 3207
    smtputf8: bool = False  # RFC 6531
    dsn: bool = False  # RFC 3461
    chunking: bool = False  # RFC 3030
    auth: frozenset[str] = frozenset()  # RFC 4954: names of SASL mechanisms, in upper case


_OLD_AUTH = re.compile("^AUTH=", re.IGNORECASE)
"""As hosts offered it before RFC 2554; those that still do so add it beside the proper line, or instead of it."""

_FLAGS = {
    "PIPELINING": "pipelining",
    "8BITMIME": "eight_bit_mime",
    "STARTTLS": "starttls",
    "SMTPUTF8": "smtputf8",
    "DSN": "dsn",
    "CHUNKING": "chunking",
}


def parse_extensions(reply: Reply) -> Extensions:
    """Read a positive reply to EHLO; its first line is the peer's name and greeting."""
    offered = dict(_keyword(line) for line in reply.lines[1:])
    flags = {field: True for keyword, field in _FLAGS.items() if keyword in offered}
    auth = frozenset(offered.get("AUTH", "").upper().split())
    return Extensions(size=_size(offered.get("SIZE")), auth=auth, **flags)


def _keyword(line: str) -> tuple[str, str]:
    keyword, _, parameters = _OLD_AUTH.sub("AUTH ", line).partition(" ")
    return keyword.upper(), parameters.strip()


def _size(parameter: str | None) -> int | None:
    """At most 20 digits (RFC 1870 §3); anything else is an offer without a limit."""
    if parameter is None:
        return None
    return int(parameter) if parameter.isascii() and parameter.isdigit() and len(parameter) <= 20 else 0
