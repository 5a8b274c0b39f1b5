# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""`mailspool sink`: a server to try a mail program against. It needs no configuration and no privileges."""

import re
import signal
import time
from contextlib import suppress
from functools import partial
from random import Random

import click

from mailspool.cli.options import examples, exits, read_by, say
from mailspool.cli.sink.certificate import server_context
from mailspool.cli.sink.faults import Drop, Fault, Faults, Greylist, Hang, parse_failure, parse_silence
from mailspool.cli.sink.host import Rules, Sink, bracketed
from mailspool.cli.sink.keep import Keep
from mailspool.cli.text import count, octets
from mailspool.config.units import parse_duration
from mailspool.supervisor.signals import Signals

_PORT = 2525
_ROUND = 3600.0  # seconds: what happens wakes it
_END = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT})
_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))?(?::(?P<port>[0-9]{1,5}))?")


def _parse_listen(text: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(text)
    port = int(found["port"] or _PORT) if found else -1
    if not found or not 0 <= port <= 65535:
        raise ValueError(f"{text!r} is not like 127.0.0.1:{_PORT}, :{_PORT} or [::1]:{_PORT}")
    return found["six"] or found["host"] or "127.0.0.1", port


def _parse_span(text: str) -> float:
    """Seconds of a duration as in the configuration, or of so many milliseconds."""
    with suppress(ValueError):
        return int(text.removesuffix("ms")) / 1000 if text.endswith("ms") else parse_duration(text)
    raise ValueError(f"{text!r} is not a time such as 10s, 500ms or 2m")


_EXAMPLES = examples(
    "mailspool sink --store /tmp/mail",
    "mailspool sink --fail rcpt:451:30% --fail 'final:554:1%:5.7.1 spam' --seed 7",
    "mailspool sink --tls --greylist 10s --count",
)


@click.command(epilog=_EXAMPLES)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=f"127.0.0.1:{_PORT}",
    show_default=True,
    callback=read_by(_parse_listen),
    help="Where to listen; port 0 is any free one.",
)
@click.option(
    "--store", metavar="DIR", default="", help="Store each message as .eml, and its envelope as .json beside it."
)
@click.option("--count", "quiet", is_flag=True, help="Show no line for each message, only the totals in the end.")
@click.option(
    "--fail",
    multiple=True,
    metavar="STAGE:CODE[:N%][:TEXT]",
    callback=read_by(parse_failure),
    help="Refuse at connect, ehlo, mail, rcpt, data or final. 421 hangs up, too.",
)
@click.option(
    "--hang",
    multiple=True,
    metavar="STAGE[:N%]",
    callback=read_by(partial(parse_silence, happens=Hang)),
    help="Say nothing more from this stage on.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="STAGE[:N%]",
    callback=read_by(partial(parse_silence, happens=Drop)),
    help="Close the connection at this stage without a word.",
)
@click.option(
    "--drip",
    metavar="SPAN",
    is_flag=False,
    flag_value="1s",
    callback=read_by(_parse_span),
    help="Say one octet at a time, each so long after the other.  [1s]",
)
@click.option(
    "--greylist",
    metavar="SPAN",
    callback=read_by(_parse_span),
    help="Refuse each sender's mail to each recipient for so long after the first try.",
)
@click.option("--tls", is_flag=True, help="Offer STARTTLS, with a certificate made on the spot.")
@click.option("--tls-cert", metavar="FILE", default="", help="Offer STARTTLS with this certificate, PEM.")
@click.option("--tls-key", metavar="FILE", default="", help="Its key, where it is not in the same file.")
@click.option("--max-size", type=click.IntRange(min=0), default=0, metavar="OCTETS", help="Refuse larger messages.")
@click.option("--seed", type=int, metavar="N", help="Roll the same dice each time.")
@exits
def sink(
    *,
    listen: tuple[str, int],
    store: str,
    quiet: bool,
    fail: tuple[Fault, ...],
    hang: tuple[Fault, ...],
    drop: tuple[Fault, ...],
    drip: float | None,
    greylist: float | None,
    tls: bool,
    tls_cert: str,
    tls_key: str,
    max_size: int,
    seed: int | None,
) -> None:
    """Take mail and send none, with faults to order.

    It is an SMTP server to try programs against.

    It shows a line for each message. It ends at INT and TERM, and then tells the totals.
    """
    if tls_key and not tls_cert:
        raise click.UsageError("--tls-key needs --tls-cert")
    keep = Keep(store, None if quiet else click.echo)
    faults = Faults((*hang, *drop, *fail), Random(seed).random)  # noqa: S311  # dice of a game, no secret
    rules = Rules(
        keep,
        faults,
        None if greylist is None else Greylist(greylist, time.monotonic),
        size=max_size,
        tls=server_context(tls_cert, tls_key) if tls or tls_cert else None,
    )
    with Signals() as signals, Sink(rules) as server:
        host, port = listen
        port = server.listen(host, port, drip or 0.0)
        say(f"listening on {bracketed(host)}:{port}; it ends at INT and TERM")
        server.wake_for(signals)
        while not _END.intersection(signals.take()):
            server.serve(_ROUND)
        click.echo(_totals(server, keep, faults))


def _totals(server: Sink, keep: Keep, faults: Faults) -> str:
    taken = f"{count(keep.messages, 'message')} to {count(keep.recipients, 'recipient')}, {octets(keep.octets)} octets"
    struck = [f"{number} x {fault}" for fault, number in sorted(faults.struck.items())]
    return "; ".join([f"{count(server.accepted, 'connection')}, {taken}", *struck])
