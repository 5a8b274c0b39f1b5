# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Where everything is measured: this checkout, installed into a clean virtual environment, in namespaces of its own.

The environment is what a user gets from `pip install .`: no test tool in it, bytecode cached. For root there are
private network, mount and process namespaces, so that nothing but loopback can be reached and every process ends
with the run. Whatever was made goes when the run ends.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

_FOLDER = "BENCH_FOLDER"  # set inside of the environment; a MAILSPOOL_* would be a configuration
_PYTHON = "BENCH_PYTHON"  # one that has mailspool already, for tests of the drivers
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
_UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40


def measure(main: Callable[[Path], int], prepare: Callable[[], None] = lambda: None) -> int:
    """Call `main` with an empty folder on a real disk, inside the environment. prepare: called before, outside."""
    if _FOLDER in os.environ:
        if os.getpid() == 1:
            _bring_loopback_up()
        return main(Path(os.environ[_FOLDER]))
    prepare()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mailspool-bench.", dir=CACHE) as folder:
        python = os.environ.get(_PYTHON) or str(_install(Path(folder)))
        work = Path(folder) / "work"
        work.mkdir()
        environment = {k: value for k, value in os.environ.items() if not k.startswith(("PYTHON", "MAILSPOOL_"))}
        command = [*_namespaces(), python, *sys.argv]
        return subprocess.run(command, env={**environment, _FOLDER: str(work)}, check=False).returncode


def _install(folder: Path) -> Path:
    """A Python that has this checkout as it is now, and what that needs. From a copy: pip would build in it."""
    say("installing this checkout into a clean virtual environment …")
    shutil.copytree(CHECKOUT, folder / "copy", ignore=_NOT_COPIED)
    python = folder / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for command in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", str(folder / "copy")],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stdout}{done.stderr}")
    return python


def _namespaces() -> list[str]:
    if os.geteuid() == 0 and subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0:
        return _UNSHARE
    say("no private namespaces here: using free ports of this machine's loopback")
    return []


def _bring_loopback_up() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
