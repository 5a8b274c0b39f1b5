# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The one tree of errors: what went wrong, who must act, and the exit code a command ends with.

Exit codes are those of sysexits.h. Nothing ever decides by the text of an error: what matters is its class
and, for a delivery error, its status (RFC 3463). A local fault (disk, DNS server, configuration, our own
bug) is never a `PermanentError`: no message is given up because of us. What an SMTP client of ours is told follows
from an error's status too: `submission.reply`.
"""

from collections.abc import Sequence
from typing import ClassVar


class MailspoolError(Exception):
    """Anything mailspool raises on purpose. Its text names the thing, the value and what to do."""

    exit_code: ClassVar[int] = 75  # EX_TEMPFAIL: whatever is not known better may be tried again
    status = "4.3.0"  # RFC 3463, as above: other mail system status


class UsageError(MailspoolError):
    """The caller asked for something that makes no sense: wrong arguments, missing recipients."""

    exit_code = 64  # EX_USAGE
    status = "5.5.4"  # invalid command arguments


class InputError(MailspoolError):
    """The message or an address as handed in cannot be accepted; nothing was stored."""

    exit_code = 65  # EX_DATAERR
    status = "5.6.0"  # other media error


class TooLarge(InputError):
    """The message has more octets than are allowed."""

    status = "5.3.4"  # message too big for system


class AddressError(InputError):
    """An address that is not one, or that is over the limits of RFC 5321 §4.5.3.1."""

    status = "5.1.3"  # bad destination mailbox address syntax


class NoSuchUser(AddressError):
    """A name without a domain for which there is no alias: nobody has a mailbox here."""

    exit_code = 67  # EX_NOUSER


class ConfigError(MailspoolError):
    """The configuration is wrong. `problems` lists every fault found, one line each."""

    exit_code = 78  # EX_CONFIG
    status = "4.3.5"  # system incorrectly configured

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class OptionError(ConfigError):
    """The value of one option is of no use on this machine. option: its name; text: what is wrong, one line."""

    def __init__(self, option: str, text: str) -> None:
        super().__init__([f"{option}: {text}"])
        self.option, self.text = option, text


class ConfigUnreadable(ConfigError):
    """A file of the configuration is there and could not be read just now."""

    exit_code = MailspoolError.exit_code


class ConfigForbidden(ConfigError):
    """Who asks may not read a part of the configuration, or look at what it speaks of."""

    exit_code = 77  # EX_NOPERM


class AlreadyRunning(MailspoolError):
    """Another supervisor holds this host's lock."""


class NotRunning(MailspoolError):
    """No supervisor answers on the control socket."""

    exit_code = 69  # EX_UNAVAILABLE


class NoAnswer(NotRunning):
    """One listens there, and says nothing."""


class ControlForbidden(MailspoolError):
    """Whether a supervisor runs is not for this user to know."""

    exit_code = 77  # EX_NOPERM


class SpoolError(MailspoolError):
    """A local fault of the spool (disk full, permission, I/O error). Nothing was accepted, nothing is lost."""


class SpoolForbidden(SpoolError):
    """The spool is not this user's to look into."""

    exit_code = 77  # EX_NOPERM


class ClaimLost(SpoolError):
    """The node is not, or no longer, where its claim says: it is somebody else's now. Repair nothing."""


class LeaseLost(SpoolError):
    """Our owner's lease is gone: others took it for dead, and its claims with it. It ends; who goes on is a new one."""


class LeaseStale(SpoolError):
    """Our owner's lease could not be renewed in time: others may take it for dead. Begin nothing until it is fresh."""


class Unreadable(SpoolError):
    """What stands in the spool cannot be read as a node. It goes to quarantine with this text as the reason."""


class DeliveryError(MailspoolError):
    """A delivery, or a part of it, did not succeed.

    status: enhanced status code, RFC 3463, as "4.4.1".
    host: the host that said so, or "" where it was ourselves.
    text: the host's reply or our own words, one line.
    """

    def __init__(self, status: str, host: str, text: str) -> None:
        super().__init__(status, host, text)
        self.status, self.host, self.text = status, host, text

    def __str__(self) -> str:
        said = f"host {self.host} said: {self.text}" if self.host else self.text
        return f"{said} ({self.status})"


class TransientError(DeliveryError):
    """It may succeed later (4yz, timeouts, DNS trouble, every local fault)."""


class LoginFailed(TransientError):
    """A host that we have credentials for does not let us in: a local fault, for an administrator to mend."""


class InDoubt(TransientError):
    """The final dot may have been read and no reply to it was: another host asked now would make a second copy."""


class PermanentError(DeliveryError):
    """It will never succeed as it stands (5yz, no such domain, null MX)."""

    exit_code = 69  # EX_UNAVAILABLE


class NotAdmitted(MailspoolError):
    """A host has a limit that was not asked for: nothing was tried, what was claimed is given back, and asked for."""


class Interrupted(BaseException):
    """Raised by a worker's signal handler into a delivery. It is no Exception, so that no library swallows it."""


class DeadlineExceeded(Interrupted):
    """SIGALRM: the delivery used up its budget, or others wait for its worker. Its text says so, for the history."""

    def __init__(self, text: str = "the delivery took too long") -> None:
        super().__init__(text)


class ShutdownRequested(Interrupted):
    """The supervisor wants its claims back now."""
