# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The house stands: imports go down only, in no circle, and each dangerous thing is done in its one place.

It reads the sources and runs none of them, so an import inside a function or under TYPE_CHECKING counts too.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "mailspool"

FLOORS = {
    "cli": 7,
    "mailspool": 6.5,  # __init__.py lends the names of spool.py to its users
    "spool": 6,
    "delivery": 5,
    "inherit": 5,
    "submission": 4,
    "smtp": 4,
    "dsn": 4,
    "store": 3,
    "message": 3,
    "config": 3,
    "tls": 3,
    "supervisor": 2,
    "dns": 2,
    "model": 1.5,  # plain values: supervisor and dns may speak in them too
    "log": 1,
    "version": 1,
    "errors": 1,
}


class Danger(NamedTuple):
    """What is dangerous, and who may do it, each with the reason.

    names: dotted names; one that ends with a dot stands for all that begin so. methods: of whatever object.
    mentioned: even to name it is to do it, since it could be passed on; else only to call it.
    """

    names: frozenset[str]
    allowed: dict[str, str]
    methods: frozenset[str] = frozenset()
    mentioned: bool = False


def words(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + word for word in text.split())


DANGERS = {
    "changing the file system": Danger(
        words(
            "rename renames replace link symlink unlink remove rmdir removedirs mkdir makedirs mkfifo mknod "
            "fsync fdatasync sync truncate ftruncate chmod fchmod chown fchown lchown utime",
            "os.",
        )
        | words("mkstemp mkdtemp NamedTemporaryFile TemporaryDirectory", "tempfile.")
        | {"shutil."},
        {
            "store/fsops.py": "the one place where the spool changes",
            "store/descriptors.py": "underneath it",
            "store/syncfs.py": "the sync that Python does not have",
            "supervisor/entrance.py": "its socket's own path, in run_dir",
            "supervisor/trigger.py": "the trigger's own path, in run_dir",
            "supervisor/daemonize.py": "the pid file",
            "supervisor/places.py": "the daemon's own directories and log file, which root makes for it",
            "config/generated.py": "writes the documentation in a checkout",
            "cli/demo/command.py": "a spool to throw away",
            "cli/setup/": "installs files of the host, none of the spool",
            "cli/sink/certificate.py": "a key to throw away",
        },
        words("unlink rmdir mkdir touch hardlink_to symlink_to write_text write_bytes rename chmod syncfs"),
        mentioned=True,
    ),
    "processes": Danger(
        words("fork forkpty wait wait3 wait4 waitpid waitid kill killpg _exit setsid pidfd_open", "os.")
        | words("setuid setgid setreuid setregid setresuid setresgid setgroups initgroups system popen", "os.")
        | words("execv execve execvp execvpe execl execle execlp spawnv spawnl posix_spawn posix_spawnp", "os.")
        | {"subprocess.", "multiprocessing.", "threading.", "daemon."},
        {
            "supervisor/": "the one room with processes",
            "dns/resolver.py": "what one thread may ask nobody for, another asks for meanwhile",
            "delivery/scout.py": "locks: the scout's threads share what they know of addresses",
            "delivery/lease.py": "a thread: the lease of a process that delivers without a supervisor",
            "submission/listener.py": "ends its own children, one for each message",
            "cli/demo/command.py": "starts a whole daemon to look at",
            "cli/sendmail.py": "ends itself as soon as all is said",
            "cli/shares.py": "ends those that read for a long list",
            "cli/mount/crew.py": "processes that race for a name, or that may hang on a dead file server",
            "cli/doctor/finding.py": "threads: checks that wait, beside each other",
            "cli/setup/": "calls the system's own programs, and enters another root",
            "cli/sink/certificate.py": "openssl makes a certificate",
        },
        mentioned=True,
    ),
    "signals": Danger(
        words(
            "signal setitimer alarm set_wakeup_fd siginterrupt pause pthread_sigmask sigwait raise_signal", "signal."
        ),
        {
            "supervisor/signals.py": "the parent's",
            "supervisor/station.py": "a worker's",
            "submission/listener.py": "the deadline of its children",
            "supervisor/daemonize.py": "of the caller that waits until the daemon is ready",
            "cli/interrupt.py": "Ctrl-C of a command",
        },
    ),
    "sockets": Danger(
        frozenset(
            {
                "socket.",
                "_socket.",
                "socketserver.",
                "asyncio.",
                "dns.query.",
                "dns.resolver.Resolver",
                "http.",
                "urllib.request.",
                "smtplib.",
            }
        ),
        {
            "smtp/stream.py": "connections to hosts",
            "dns/resolver.py": "questions to name servers",
            "submission/listener.py": "where messages are handed in",
            "submission/client.py": "handing a message over to the listener",
            "supervisor/": "the control socket, and socket pairs between parent and children",
            "log/writer.py": "syslog and journald",
            "cli/sink/host.py": "a server to try programs against",
        },
    ),
    "the environment": Danger(
        words("environ environb getenv putenv", "os."),
        {
            "config/load.py": "MAILSPOOL_CONFIG",
            "cli/terminal.py": "NO_COLOR",
            "log/journal.py": "JOURNAL_STREAM",
            "supervisor/notify.py": "how systemd says where it listens; taken out, so that no child speaks for us",
            "cli/sendmail.py": "NAME, the sender's; MAILSPOOL_RUN_DIR, before a configuration is loaded",
        },
        mentioned=True,
    ),
    "clocks and dice": Danger(
        words("time time_ns monotonic monotonic_ns sleep clock_gettime", "time.")
        | {"random.", "secrets.", "os.urandom", "os.getrandom", "datetime.datetime.now", "datetime.datetime.utcnow"}
        | {"uuid.uuid1", "uuid.uuid4"},
        {
            "cli/": "the outermost place of the programs",
            "supervisor/": "the outermost place of the daemon",
        },
    ),
}


# --- reading


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def bound_names(tree: ast.AST, module: str = "") -> dict[str, str]:
    """For each name that an import binds, the dotted name that it stands for. `posix` is what `os` is made of."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: relative import"
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: re.sub(r"^posix\b", "os", meant) for name, meant in names.items()}


def imported_modules(module: str) -> set[str]:
    """The modules of this package that `module` imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else str(node.module) for name in inside}
    return {name for name in found if name in SOURCES} - {module}


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """What an expression such as `o.path.join` stands for; "" if its root is not imported."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (root := dotted(node.value, names)):
        return f"{root}.{node.attr}"
    return ""


def is_method_of_something(node: ast.AST, names: dict[str, str]) -> bool:
    """Of an object that may be a pathlib.Path: not of a module, not of oneself."""
    return (
        isinstance(node, ast.Attribute)
        and not dotted(node, names)
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    )


def does(danger: Danger, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each place in `tree` where it is done."""
    names = bound_names(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Name, ast.Attribute)) or not (danger.mentioned or id(node) in called):
            continue
        name = dotted(node, names)
        if name in danger.names or any(name.startswith(prefix) for prefix in danger.names if prefix.endswith(".")):
            yield node.lineno, name
        elif is_method_of_something(node, names) and node.attr in danger.methods and id(node) in called:
            yield node.lineno, f".{node.attr}"


def allowances(danger: Danger, path: str) -> list[str]:
    return [place for place in danger.allowed if path == place or (place.endswith("/") and path.startswith(place))]


# --- the promises


def test_every_room_has_its_floor_and_no_floor_is_of_a_room_that_is_gone():
    assert {room(module) for module in SOURCES} == FLOORS.keys()


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_from_lower_floors_or_its_own_room_only(module):
    for other in sorted(imported_modules(module)):
        if room(other) != room(module):
            assert FLOORS[room(other)] < FLOORS[room(module)], f"{module} imports {other}"


def test_no_imports_go_in_a_circle():
    below = {module: imported_modules(module) for module in SOURCES}
    while free := {module for module, others in below.items() if not others & below.keys()}:
        below = {module: others for module, others in below.items() if module not in free}
    assert not below, f"a circle among {sorted(below)}"


@pytest.mark.parametrize("name", DANGERS)
def test_a_dangerous_thing_is_done_only_in_its_place(name):
    danger = DANGERS[name]
    found = []
    for path in SOURCES.values():
        relative = str(path.relative_to(PACKAGE))
        if not allowances(danger, relative):
            found += [
                f"mailspool/{relative}:{line}: {what}"
                for line, what in does(danger, ast.parse(path.read_text("utf-8")))
            ]
    assert not found, f"{name}: " + ", ".join(found)


@pytest.mark.parametrize("name", DANGERS)
def test_no_allowance_is_left_over(name):
    danger, used = DANGERS[name], set()
    for path in SOURCES.values():
        relative = str(path.relative_to(PACKAGE))
        if list(does(danger, ast.parse(path.read_text("utf-8")))):
            used |= set(allowances(danger, relative))
    assert not danger.allowed.keys() - used, f"{name}: {danger.allowed.keys() - used} may, but do not"


# --- the reader itself


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("changing the file system", "import os\nos.rename(a, b)"),
        ("changing the file system", "import os as o\ndef f():\n    o.unlink(a)"),
        ("changing the file system", "from os import fsync as sure\nsure(1)"),
        ("changing the file system", "import os\nretry(os.link, a, b)"),
        ("changing the file system", "from pathlib import Path\nPath(x).unlink()"),
        ("changing the file system", "import shutil\nshutil.rmtree(x)"),
        ("processes", "import os\nos.fork()"),
        ("processes", "import posix\nposix.fork()"),
        ("processes", "import os\nos.execv(a, b)"),
        ("processes", "def f():\n    from subprocess import run\n    run([])"),
        ("signals", "import signal\nsignal.signal(1, f)"),
        ("sockets", "import socket\nsocket.create_connection(a)"),
        ("the environment", "import os\nx = os.environ"),
        ("clocks and dice", "from time import monotonic\nmonotonic()"),
        ("clocks and dice", "import random\nrandom.random()"),
    ],
)
def test_the_reader_sees_a_danger_under_any_name(name, source):
    assert list(does(DANGERS[name], ast.parse(source)))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (
            "changing the file system",
            "text.replace('a', 'b')\nself.unlink()\nfrom mailspool.store import fsops\nfsops.rename(a)",
        ),
        (
            "sockets",
            "import socket\ndef f(s: socket.socket) -> None:\n    try: s.send(b'')\n    except socket.timeout: pass",
        ),
        ("clocks and dice", "import time\ndef f(clock=time.monotonic): return clock()"),
        ("signals", "import signal\nwanted = {signal.SIGHUP}"),
    ],
)
def test_the_reader_sees_none_where_there_is_none(name, source):
    assert not list(does(DANGERS[name], ast.parse(source)))
