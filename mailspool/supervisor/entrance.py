# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A listening Unix socket in `run_dir`: made once by the supervisor, held open by whoever serves it, gone with it."""

import contextlib
import os
import socket

from mailspool.errors import SpoolError

_BACKLOG = 1024


class Entrance:
    """Where clients of this host come in. mode: of the socket, so who may. Raises SpoolError if it cannot be made."""

    def __init__(self, path: str, mode: int) -> None:
        self._path = path
        # One left by a supervisor that was killed is in the way; the lock says that nobody else lives here.
        self._unlink()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        try:
            self.socket.bind(path)
            os.chmod(path, mode)  # noqa: PTH101 - a path is a string wherever a socket is bound
        except OSError as error:
            raise SpoolError(f"cannot make the socket {path}: {error.strerror or error}") from None
        self.socket.listen(_BACKLOG)

    def fileno(self) -> int:
        """For a selector: readable when somebody is there."""
        return self.socket.fileno()

    def close(self, *, unlink: bool) -> None:
        """unlink: only the supervisor itself, at its end; not its children."""
        self.socket.close()
        if unlink:
            self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - as above
