# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Selectors: which nodes a command line means, the same for each command that looks at nodes or changes them.

What is given must all hold; of one option given several times, any. Names alone decide wherever they can: only
--from and --to need envelopes. Everything is chosen by no accident, only by the word ALL. No I/O but standard input's.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, NamedTuple

import click

from mailspool.cli import completion
from mailspool.cli.options import read_by
from mailspool.config.units import SECONDS, parse_duration
from mailspool.errors import AddressError, Unreadable
from mailspool.model.address import parse_domain
from mailspool.model.envelope import Envelope
from mailspool.store import nodename
from mailspool.store.base import Location, State

ALL = "ALL"
_STDIN = "-"

_TOGETHER = "What is asked for must all hold; of one option given several times, any."
_TIERS = re.compile(r"([0-9]{1,4})(-([0-9]{1,4})?)?")

_Parameters = tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...]


class Selector(NamedTuple):
    """What was asked for. None, and no states or tiers: no matter which.

    words: IDs, IDs with N, or whole names. older, younger: seconds since the message's arrival.
    """

    words: frozenset[str] | None = None
    everything: bool = False
    states: frozenset[State] = frozenset()
    tiers: tuple[range, ...] = ()
    domains: tuple[re.Pattern[str], ...] = ()
    senders: tuple[re.Pattern[str], ...] = ()
    recipients: tuple[re.Pattern[str], ...] = ()
    older: float | None = None
    younger: float | None = None

    @property
    def narrows(self) -> bool:
        """Whether some nodes are not meant."""
        return self._replace(everything=False) != Selector()

    def within(self, states: frozenset[State]) -> "Selector":
        """The same, of nodes in these states only, unless it names IDs or states itself."""
        return self if self.states or self.words is not None else self._replace(states=states)

    @property
    def reads(self) -> bool:
        """Whether names do not tell everything."""
        return bool(self.senders or self.recipients)

    def fits_name(self, at: Location, now: float) -> bool:
        """Whether a node may be meant, as far as its name tells; `words` are not looked at. now: Unix seconds."""
        return (
            (not self.states or at.state in self.states)
            and (not self.tiers or _is_in(at, self.tiers))
            and (not self.domains or _any(self.domains, nodename.destination_in(at.name)))
            and (self.older is self.younger is None or self._fits_age(at, now))
        )

    def fits_envelope(self, envelope: Envelope, recipient: str) -> bool:
        """Whether a node whose name fits is meant. recipient: its address."""
        return (not self.senders or _any(self.senders, envelope.sender)) and (
            not self.recipients or _any(self.recipients, recipient)
        )

    def _fits_age(self, at: Location, now: float) -> bool:
        try:
            age = now - nodename.arrival_of(nodename.message_id_of(at.name))
        except Unreadable:
            return False
        return (self.older is None or age > self.older) and (self.younger is None or age < self.younger)


def _is_in(at: Location, tiers: Iterable[range]) -> bool:
    return at.state is not State.QUARANTINED and any(at.tier in numbers for numbers in tiers)


def _any(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in patterns)


# --- reading what was given; each fault is a ValueError whose text is a line


def parse_tiers(text: str) -> range:
    """`2`, `2-4` or `3-`, both ends included. Raises ValueError."""
    found = _TIERS.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no tier: write 2, 2-4 or 3-")
    low = int(found[1])
    high = int(found[3]) if found[3] else sys.maxsize - 1 if found[2] else low
    if high < low:
        raise ValueError(f"{text!r} is empty: write the lower tier first")
    return range(low, high + 1)


def parse_age(text: str) -> float:
    """Seconds of `90s`, `2h`, `1d12h`: as in the configuration, but never without its unit. Raises ValueError."""
    with suppress(ValueError):
        if not SECONDS.keys().isdisjoint(text.lower()):
            return parse_duration(text)
    raise ValueError(f"{text!r} is no age: write it with its unit, as 90s, 5m, 2h, 3d, 1w or 1d12h")


def parse_domain_pattern(text: str) -> re.Pattern[str]:
    """A domain, or a pattern in which `*` is any characters and `?` is one. Matches destinations in node names.

    A domain that is too long for a name is found only if it is written out. Raises ValueError.
    """
    text = text.removeprefix("@")
    return _glob(text) if _is_pattern(text) else _exactly(nodename.destination_of(_domain(text)))


def parse_address_pattern(text: str) -> re.Pattern[str]:
    """An address, `@domain` for all in a domain, `<>` for the null sender, or a pattern (`*` any characters, `?` one).

    Case does not matter. Raises ValueError.
    """
    inner = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    local, at, domain = inner.rpartition("@")
    if at and not domain:
        raise ValueError(
            f"{text!r} is no address, it has no domain: write {inner}DOMAIN, or a pattern such as {inner}*"
        )
    if _is_pattern(domain) or not at:
        if inner and not _is_pattern(inner):
            raise ValueError(f"{text!r} is no address: write {text}@DOMAIN, @DOMAIN, or a pattern such as {text}@*")
        return _glob(inner) if local or not at else _glob(f"*{inner}")
    return _glob(local or "*", f"@{_domain(domain)}")


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except AddressError as error:
        raise ValueError(str(error)) from None


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _exactly(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text), re.IGNORECASE)


def _glob(pattern: str, literal: str = "") -> re.Pattern[str]:
    """Not fnmatch's: its brackets would find other things than an address literal."""
    parts = ({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.compile("".join(parts) + re.escape(literal), re.IGNORECASE | re.DOTALL)


# --- on the command line


def selects(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command IDs and all selecting options; it gets them as its argument `selector`."""
    return _given(command, _WHICH + _WHERE)


def selects_in_quarantine(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same without the options that ask where a node is."""
    return _given(command, _WHICH)


def _given(command: Callable[..., Any], parameters: _Parameters) -> Callable[..., Any]:
    @wraps(command)
    def run(
        ids: Sequence[str], more_ids: Sequence[str], *, older: float | None, younger: float | None, **given: Any
    ) -> Any:
        named = (*ids, *more_ids)
        selector = Selector(
            words=_words([word for word in named if word != ALL]),
            everything=ALL in named,
            states=frozenset(state for state in State if given.pop(state.value, False)),
            older=older,
            younger=younger,
            **{name: given.pop(name, ()) for name in ("tiers", "domains", "senders", "recipients")},
        )
        return command(selector=selector, **given)

    run.__doc__ = f"{command.__doc__}\n    {_TOGETHER}"
    for parameter in reversed(parameters):
        parameter(run)  # notes itself on the function
    return run


def _words(given: Sequence[str]) -> frozenset[str] | None:
    """None if no word was given. An empty standard input gives words, of which there are none: it chooses nothing."""
    if not given:
        return None
    more = sys.stdin.read().split() if _STDIN in given else []
    return frozenset({*given} - {_STDIN} | {*more})


_WHICH: _Parameters = (
    click.argument("ids", metavar="[ID…|ALL]", nargs=-1, shell_complete=completion.ids),
    click.option(
        "--id",
        "more_ids",
        metavar="ID",
        multiple=True,
        help="A message's ID, a node's ID.N, or - for those on standard input.",
        shell_complete=completion.ids,
    ),
    click.option(
        "--from",
        "senders",
        metavar="ADDRESS",
        multiple=True,
        callback=read_by(parse_address_pattern),
        help="The sender: an address, @DOMAIN, a pattern (*@example.org), or <>.",
    ),
    click.option(
        "--to",
        "recipients",
        metavar="ADDRESS",
        multiple=True,
        callback=read_by(parse_address_pattern),
        help="The recipient, likewise.",
    ),
    click.option(
        "--domain",
        "domains",
        metavar="DOMAIN",
        multiple=True,
        callback=read_by(parse_domain_pattern),
        help="The recipient's domain, or a pattern (*.example.org).",
        shell_complete=completion.domains,
    ),
    click.option(
        "--older", metavar="AGE", callback=read_by(parse_age), help="Arrived longer ago than 90s, 5m, 2h or 1d."
    ),
    click.option("--younger", metavar="AGE", callback=read_by(parse_age), help="Arrived since then."),
)
_WHERE: _Parameters = (
    click.option(
        "--tier",
        "tiers",
        metavar="TIERS",
        multiple=True,
        callback=read_by(parse_tiers),
        help="In this tier, or out of it: 2, 2-4, or 3-.",
    ),
    click.option("--queued", is_flag=True, help="Waiting in a tier."),
    click.option("--claimed", is_flag=True, help="Being delivered."),
    click.option("--held", is_flag=True, help="Held by an operator."),
    click.option("--quarantined", is_flag=True, help="In quarantine."),
)
