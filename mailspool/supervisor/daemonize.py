# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Becoming the one supervisor of this host: privileges, lock, pid file, and the way into the background.

Order matters: the user is changed before the lock is taken and long before a message is read; the caller's
terminal gets every error of the start, since it waits until the daemon says that it is ready.
"""

import contextlib
import os
import pwd
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NoReturn

from daemon import DaemonContext
from filelock import FileLock, Timeout

from mailspool.errors import AlreadyRunning, ConfigError, MailspoolError, SpoolError
from mailspool.log import get_logger

UMASK = 0o077

_READY = b"ready"
_PROGRAM = Path(__file__).parents[1]

log = get_logger()


def resolve_user(user: str) -> pwd.struct_passwd | None:
    """Whom root becomes; None if we are not root and stay who we are. Raises ConfigError if there is no such user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(
            [
                (
                    f"user: there is no user {user!r}: make it with"
                    f" 'adduser --system --group --no-create-home {user}', or set user"
                )
            ]
        ) from None


def make_own_directory(option: str, directory: str, owner: pwd.struct_passwd | None) -> None:
    """Make `run_dir` or `dequeue_dir`, for its user alone, while we may still be root. Raises SpoolError."""
    path = Path(directory)
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
            if owner:
                os.chown(path, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise SpoolError(
            f"cannot make {option} {directory}: {error.strerror}: start as root, or set {option} to a place of yours"
        ) from None


def become(owner: pwd.struct_passwd | None) -> None:
    """Drop root for good, with the user's own groups. DaemonContext would leave the primary group root's.

    Raises ConfigError if the user cannot read this program: what is imported only when needed would be missing then.
    """
    os.umask(UMASK)
    if owner:
        os.initgroups(owner.pw_name, owner.pw_gid)
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)
        if not os.access(__file__, os.R_OK):
            raise ConfigError([f"user: {owner.pw_name!r} cannot read {_PROGRAM}: install it where everybody can"])


@contextlib.contextmanager
def only_one(run_dir: str) -> Iterator[None]:
    """Hold this host's lock and keep the pid file. Raises AlreadyRunning, naming who is."""
    lock = FileLock(Path(run_dir, "lock"), mode=0o600)
    pid_file = Path(run_dir, "pid")
    try:
        lock.acquire(timeout=1)  # a supervisor that is killed leaves its lock within a moment
    except Timeout:
        raise AlreadyRunning(_who_is_running(pid_file)) from None
    except OSError as error:
        raise SpoolError(f"cannot lock {run_dir}: {error.strerror}") from None
    try:
        pid_file.write_text(f"{os.getpid()}\n")
        yield
    finally:
        pid_file.unlink(missing_ok=True)
        lock.release()


def running_pid(run_dir: str) -> int:
    """The pid in the pid file, 0 if there is none."""
    try:
        return int(Path(run_dir, "pid").read_text())
    except (OSError, ValueError):
        return 0


def _who_is_running(pid_file: Path) -> str:
    try:
        pid = int(pid_file.read_text())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(pid_file.stat().st_mtime))
    except (OSError, ValueError):
        return f"already running (the lock beside {pid_file} is held)"
    return f"already running as {pid} since {since}"


def in_foreground(serve: Callable[[Callable[[], object]], None]) -> None:
    """Run `serve` here. It is given what to call when it is ready."""
    with DaemonContext(
        umask=UMASK,
        detach_process=False,
        working_directory="/",
        stdin=None,
        stdout=sys.stdout,
        stderr=sys.stderr,
        signal_map={},
    ):
        serve(lambda: None)


def in_background(serve: Callable[[Callable[[], object]], None]) -> int:
    """Run `serve` as a daemon; return in the caller's process once it is ready, with the exit code to end with.

    An error before it is ready is printed on the caller's stderr.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)  # it detaches at once; the daemon itself is its grandchild
        return _wait_until_ready(reader)
    os.close(reader)
    return _serve_detached(serve, os.fdopen(writer, "wb", buffering=0))


def _serve_detached(serve: Callable[[Callable[[], object]], None], terminal: IO[bytes]) -> NoReturn:
    code = MailspoolError.exit_code
    try:
        with DaemonContext(
            umask=UMASK, detach_process=True, working_directory="/", files_preserve=[terminal], signal_map={}
        ):
            try:
                serve(lambda: _tell(terminal, _READY))
                code = 0
            except Exception as error:  # the terminal must hear of whatever it is, and later the log
                code = error.exit_code if isinstance(error, MailspoolError) else code
                words = str(error) if isinstance(error, MailspoolError) else f"{type(error).__name__}: {error}"
                if not _tell(terminal, bytes([code]) + words.encode()):
                    log.exception("supervisor ended by an error")
    finally:
        os._exit(code)


def _tell(terminal: IO[bytes], message: bytes) -> bool:
    """False if it has been told before: the caller has gone, and the descriptor may be somebody else's by now."""
    if terminal.closed:
        return False
    with contextlib.suppress(OSError), terminal:
        terminal.write(message)
    return True


def _wait_until_ready(reader: int) -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    message = os.read(reader, 65536)  # one write; not until the end of file, which children may hold
    if message == _READY:
        return 0
    code, text = (message[0], message[1:].decode(errors="replace")) if message else (70, "it died without a word")
    sys.stderr.write(f"mailspoold: cannot start: {text}\n")
    return code
