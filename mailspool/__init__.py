# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A durable outbound mail spool and its delivery daemon, after Perl's Mail::Spool.

`Spool` is the interface; `send_mail`, `dequeue` and `daemon` are its methods on the system's own spool.
"""

TYPE_CHECKING = False  # as in `typing`, which alone would cost `sendmail` as much as all that it needs to hand mail in
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Spool", "daemon", "dequeue", "send_mail"]


def __getattr__(name: str) -> "Any":
    if name == "__version__":
        from mailspool.version import VERSION  # `sendmail` never asks

        return VERSION
    if name == "Spool":
        from mailspool.spool import Spool  # `import mailspool.errors` must not load the whole house

        return Spool
    raise AttributeError(f"module 'mailspool' has no attribute {name!r}")


def send_mail(*args: "Any", **arguments: "Any") -> str:
    """`Spool().send_mail(…)`: into the spool of this host's configuration."""
    from mailspool.spool import Spool

    return Spool().send_mail(*args, **arguments)


def dequeue() -> dict[str, int]:
    """`Spool().dequeue()`: one pass in the calling process."""
    from mailspool.spool import Spool

    return Spool().dequeue()


def daemon(*, foreground: bool = False) -> int:
    """`Spool().daemon()`."""
    from mailspool.spool import Spool

    return Spool().daemon(foreground=foreground)
