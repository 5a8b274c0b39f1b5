# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool demo`: a whole spool at work within seconds, as anybody, without a configuration, on loopback only.

The daemon is the real one with its real periods; only its clock is the demo's own (`demo.play`). Whatever was started
is ended and whatever was written is removed, unless `--keep` is given; the exit code is 0 only if nothing was lost.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

import click
from rich.console import Console

from mailspool import log
from mailspool.cli.demo.play import Clock, Play
from mailspool.cli.demo.scenes import FAULTS, GREYLISTED, HOME, HOSTS, Arrived, Fate, Scene
from mailspool.cli.demo.view import WIDTH, print_fates, say, view_on
from mailspool.cli.options import examples, exits
from mailspool.cli.sink.faults import Faults, Greylist
from mailspool.cli.sink.host import Rules, Sink
from mailspool.cli.sink.keep import HandOn
from mailspool.errors import MailspoolError
from mailspool.spool import Spool
from mailspool.supervisor.child import fork_child

PATIENCE = 5.0
"""Seconds that the daemon has to stop before it is killed."""

_ROUND = 0.05  # seconds within which the sink hears that it is over
_INTRODUCTION = """\
A spool, its daemon and six hosts, all on this machine; nothing leaves it.
When there is nothing to do the clock is wound on: four days take ten seconds.
"""
_HINT = "\nTo look around in what is left of it: mailspool demo --keep"
_SENDMAIL = "import sys; from mailspool.cli.sendmail import main; sys.exit(main(sys.argv))"
_CONFIG_NAME = "mailspool.toml"
_CONFIG = """\
# What `mailspool demo` ran with. Times that make sense on a real spool are longer: see docs/configuration.md.
dequeue_dir = {folder}/spool"
run_dir = {folder}/run"
hostname = "{home}"
mail_name = "{home}"
dequeue_timeout = 0.1
dequeue_priority = [1, 1, 1, 1, 1, 1, 1]
max_dequeue_processes = 6
cool_down = 0
greeting_timeout = 1
shutdown_timeout = 2
"""


@click.command(epilog=examples("mailspool demo --keep"))
@click.option("--keep", is_flag=True, help="Leave the spool and its configuration file to be explored.")
@exits
def demo(*, keep: bool) -> int:
    """Show mailspool at work: a spool, its daemon and a dozen messages, all thrown away afterwards.

    It needs no configuration and no privileges, and speaks to this machine only.
    """
    fates = _perform(Console(width=WIDTH, highlight=False), keep=keep)
    return int(any(fate.fault for fate in fates))


def _perform(console: Console, *, keep: bool) -> Sequence[Fate]:
    say(console, _INTRODUCTION)
    with _folder(keep=keep) as folder:
        with _stage(folder) as play, view_on(console) as view:
            play.perform(view.show)
        fates = play.fates()  # the daemon has ended: nothing moves any more
        print_fates(console, fates)
        if keep:
            _print_next_steps(console, folder, fates)
        else:
            say(console, _HINT, "dim")
    return fates


def _print_next_steps(console: Console, folder: Path, fates: Sequence[Fate]) -> None:
    waiting = next((fate.sent.queue_id for fate in fates if fate.waiting), "ID")
    say(console, f"\nThe spool, its configuration and its daemon's log are still there:\n\n  cd {folder}")
    if sys.prefix != sys.base_prefix:  # a virtual environment: who came by bin/dev has not activated it
        say(console, f"  PATH={sys.prefix}/bin:$PATH")
    for words, what in (
        ("queue", "what waits"),
        (f"why {waiting}", "and why"),
        ("run", "the daemon again"),
        ("status", "and how it is"),
    ):
        say(console, f"  mailspool -c {_CONFIG_NAME} {words:<25} # {what}")
    say(console, f"  rm -r {folder}")


# --- what takes part


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mailspool-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)


@contextmanager
def _stage(folder: Path) -> Iterator[Play]:
    """Everything at work: six hosts, the daemon, and who hands in the mail."""
    log.configure("error", "stderr")  # of what we hand in, the host's own log need not know
    clock = Clock()
    arrived: list[Arrived] = []
    keeper = HandOn(lambda one: arrived.append(Arrived(clock(), one.recipients, one.content)))
    with Sink(Rules(keeper, Faults(FAULTS), Greylist(0, clock, GREYLISTED))) as sink:
        ports = {domain: sink.listen(pace=pace) for domain, pace in HOSTS.items()}
        config = _write_config(folder, ports)
        spool = Spool.from_config(str(config), clock=clock)
        spool.create_dequeue_dirs()  # mail may come in before the daemon is ready
        daemon = Daemon(spool, folder / "log")  # forked while there is no other thread
        with _serving(sink), closing(daemon):  # the hosts hear the last goodbyes
            yield Play(spool, clock, arrived, ports, daemon.log, partial(_sendmail, config))


def _write_config(folder: Path, ports: Mapping[str, int]) -> Path:
    """Other domains than the demo's own have a route as well: nothing ever leaves this machine."""
    path = folder / _CONFIG_NAME
    quoted = json.dumps(str(folder))[:-1]  # TOML's strings are written like those of JSON
    user = ['user = "root"\n'] if os.geteuid() == 0 else []
    routes = [f'routes."{domain}" = "127.0.0.1:{port}"\n' for domain, port in {**ports, "*": ports[HOME]}.items()]
    path.write_text("".join([_CONFIG.format(folder=quoted, home=HOME), *user, *routes]), "utf-8")
    return path


@contextmanager
def _serving(sink: Sink) -> Iterator[None]:
    over = Event()

    def serve() -> None:
        while not over.is_set():
            sink.serve(_ROUND)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sendmail(config: Path, scene: Scene) -> str:
    """Hand it to the program `sendmail`; returns the queue id. Raises MailspoolError."""
    script = Path(__file__).parents[3] / "bin" / "sendmail"  # in a checkout; where it is installed depends
    program = [str(script)] if script.is_file() else ["-c", _SENDMAIL]
    ended = subprocess.run(
        [sys.executable, *program, "-C", config, "-v", "-i", "-t", "-f", scene.sender],
        input=scene.message,
        capture_output=True,
        check=False,
    )
    said = ended.stderr.decode(errors="replace").strip()
    if ended.returncode:
        raise MailspoolError(f"sendmail ended with {ended.returncode}: {said}")
    return said.rpartition(" ")[2]


# --- the daemon


class Daemon:
    """The supervisor, in a process of its own that never outlives this one."""

    def __init__(self, spool: Spool, log_file: Path) -> None:
        self._log = log_file

        def serve() -> None:
            os.setsid()  # what is typed on the terminal is for us: we end it ourselves
            with log_file.open("wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            log.configure("info", "stderr")  # its start may fail before it does so itself
            spool.daemon(foreground=True)

        self._pid = fork_child("supervisor of the demo", serve)
        self._pidfd = os.pidfd_open(self._pid)

    def log(self) -> str:
        """All that it has logged so far. Raises MailspoolError if it has ended."""
        ended = self._has_ended(0)
        text = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        if ended:
            raise MailspoolError(f"the daemon has ended by itself; its last words:\n{text[-2000:]}")
        return text

    def close(self) -> None:
        """Ask it to stop, insist if it does not, and wait until it has."""
        os.kill(self._pid, signal.SIGTERM)
        if not self._has_ended(PATIENCE):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._pidfd)

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._pidfd], [], [], seconds)[0])
