# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Becoming the one supervisor of this host: lock, pid file, and the way into the background.

The caller's terminal gets every error of the start, since it waits until the daemon says that it is ready.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NoReturn

from daemon import DaemonContext
from filelock import FileLock, Timeout

from mailspool.errors import AlreadyRunning, MailspoolError, SpoolError
from mailspool.log import get_logger, reopen
from mailspool.supervisor.privileges import UMASK

_READY = b"ready"

log = get_logger()


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
        raise SpoolError(f"cannot lock {run_dir}/lock: {error.strerror}: rm {run_dir}/lock") from None
    try:
        _write_pid(pid_file)
        yield
    finally:
        pid_file.unlink(missing_ok=True)
        lock.release()


def _write_pid(pid_file: Path) -> None:
    try:
        pid_file.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise SpoolError(f"cannot write {pid_file}: {error.strerror}") from None


def _who_is_running(pid_file: Path) -> str:
    try:
        pid = int(pid_file.read_text())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(pid_file.stat().st_mtime))
    except (OSError, ValueError):
        return f"already running (the lock beside {pid_file} is held)"
    return f"already running as {pid} since {since}"


def in_foreground(serve: Callable[[Callable[[], object]], None]) -> None:
    """Run `serve` here. It is given what to call when it is ready."""
    reopen()  # DaemonContext closes whatever is open
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
        reopen()  # DaemonContext closes whatever is open
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
    sys.stderr.writelines(f"mailspoold: cannot start: {line}\n" for line in text.splitlines())
    return code
