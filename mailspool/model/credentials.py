# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What we log in with at hosts that ask for it, as values whose `repr` tells no secret.

Passwords are read by `config.credentials`, spoken by `smtp.auth`, and go nowhere else.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For one host. tls: the least that a session must have before the password is said on it (`tls.policy`)."""

    user: str
    password: str
    tls: Literal["may", "encrypt", "verify"] = "verify"

    def __repr__(self) -> str:
        """Not even the user's name: with some providers that is the secret, too."""
        return f"Credentials(***, tls={self.tls!r})"


class Keyring:
    """Which credentials are for which host. entries: by host and port; port 0: whatever the port."""

    def __init__(self, entries: Mapping[tuple[str, int], Credentials] | None = None) -> None:
        self._entries = dict(entries or {})

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """For which hosts and ports there are some."""
        return iter(self._entries)

    def find(self, host: str, port: int) -> Credentials | None:
        """host: a name in lower case, or an IP address, as `model.target` gives them."""
        return self._entries.get((host, port)) or self._entries.get((host, 0))
