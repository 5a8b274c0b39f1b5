# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a process of ours may do: whom root becomes, what it gives up for good, and with whom it dies. Linux's prctl(2).

Core dumps hold mail, so there are none. Nothing forbids ptrace: where root started us the kernel does that already
(a change of user makes a process undumpable), and who runs us as himself may look at what is his.
"""

import ctypes
import os
import pwd
import resource
import signal
from pathlib import Path

from mailspool.errors import OptionError

UMASK = 0o077

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PROGRAM = Path(__file__).parents[1]
_ASKED = {"-r": os.R_OK, "-w": os.W_OK, "-x": os.X_OK}

_libc = ctypes.CDLL(None, use_errno=True)


def resolve_user(user: str) -> pwd.struct_passwd | None:
    """Whom root becomes; None if we are not root and stay who we are. Raises OptionError if there is no such user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        make = f"adduser --system --group --no-create-home {user}"
        raise OptionError(
            "user", f"there is no user {user!r}{_nearest(user)}: make it with '{make}', or set user"
        ) from None


def _nearest(user: str) -> str:
    from difflib import get_close_matches  # only a fault needs it

    near = get_close_matches(user, [entry.pw_name for entry in pwd.getpwall()], 1)
    return f" ({near[0]!r} is the nearest)" if near else ""


def become(owner: pwd.struct_passwd | None) -> None:
    """Drop root for good, with the user's own groups, and what no delivery needs: new privileges and core dumps."""
    os.umask(UMASK)
    if owner:
        os.initgroups(owner.pw_name, owner.pw_gid)  # DaemonContext would leave the primary group root's
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def check_program(owner: pwd.struct_passwd) -> None:
    """Raise OptionError if that user, whom we have become, cannot read this program, or Python.

    A daemon imports for years what it needs only then.
    """
    for module, whole in ((__file__, _PROGRAM), (os.__file__, Path(os.__file__).parent)):
        if not os.access(module, os.R_OK):
            raise OptionError("user", f"{owner.pw_name!r} cannot read {whole}: install it where everybody can")


def may(owner: pwd.struct_passwd | None, what: str, path: str) -> bool:
    """Whether a process of that user's may do what test(1) calls "-r", "-w" or "-x". None: whether we may."""
    if not owner:
        return os.access(path, _ASKED[what])
    import subprocess  # a daemon never asks for another

    groups = os.getgrouplist(owner.pw_name, owner.pw_gid)
    asked = subprocess.run(
        ["test", what, path], user=owner.pw_uid, group=owner.pw_gid, extra_groups=groups, check=False
    )
    return asked.returncode == 0


def die_with_parent() -> None:
    """From now on the parent's death kills this process; whether it is dead already, see getppid."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
