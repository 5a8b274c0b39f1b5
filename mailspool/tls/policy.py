# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How much TLS a session with one host must have (RFC 3207, 7435, 8314), as a value that others can look at.

It decides nothing about certificates itself: `context` builds what a level asks for, `smtp.dialogue` acts on it.
"""

from enum import StrEnum

import msgspec


class TlsLevel(StrEnum):
    """What is asked of the peer; each level asks for more than the one before."""

    NONE = "none"  # never STARTTLS
    MAY = "may"  # STARTTLS where it is offered and works, else in clear (RFC 7435)
    ENCRYPT = "encrypt"  # no delivery without TLS; whoever answers is believed
    VERIFY = "verify"  # no delivery without a certificate that names the host, from an authority we know


_LEVELS = list(TlsLevel)


class TlsPolicy(msgspec.Struct, frozen=True):
    """What holds for one host. wrap: TLS begins before the first word (RFC 8314 §3.3)."""

    level: TlsLevel = TlsLevel.MAY
    wrap: bool = False

    @property
    def wanted(self) -> bool:
        """Whether STARTTLS is tried at all."""
        return self.level is not TlsLevel.NONE

    @property
    def required(self) -> bool:
        """Whether a session in clear must not carry mail."""
        return self.wrap or self.level in {TlsLevel.ENCRYPT, TlsLevel.VERIFY}

    def at_least(self, level: TlsLevel) -> "TlsPolicy":
        """The same, or one that asks for more."""
        return msgspec.structs.replace(self, level=max(self.level, level, key=_LEVELS.index))


NO_TLS = TlsPolicy(TlsLevel.NONE)
