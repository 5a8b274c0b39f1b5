# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How an attempt to deliver one node ended: Delivered, Deferred or Failed, with status (RFC 3463), host and text."""

import msgspec


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One host tried for one node, and what came back: a line in the history, a line in the bounce."""

    time: float  # Unix seconds
    tier: int
    host: str  # "mx.example.org[192.0.2.1]:25", or "" where no host was reached
    status: str  # RFC 3463
    text: str  # the reply with its code, or our own words; one line
    seconds: float = 0.0  # how long it took


class Outcome(msgspec.Struct, frozen=True):
    """The verdict on one node. `attempts` lists each host tried in this look, the decisive one last."""

    status: str
    host: str
    text: str
    attempts: tuple[Attempt, ...] = ()


class Delivered(Outcome, frozen=True):
    """A host took responsibility: its positive reply to the final dot was read (RFC 5321 §4.2.5).

    silent: it sends no reports of its own (RFC 3461 §5.2.2): what we know is all that the sender can ever hear.
    """

    silent: bool = False


class Deferred(Outcome, frozen=True):
    """Not now: fall back to the next tier.

    refused: no session came to be with any host of the destination (or it ended with 421), so that trying its
    other nodes now would be in vain: the destination cools down.
    in_doubt: the final dot was said and no reply heard, so that no other host is to be asked in the same look.
    untried: no host was asked, because the destination cools down. It uses up no tier but by the time that passes.
    """

    refused: bool = False
    in_doubt: bool = False
    untried: bool = False


class Failed(Outcome, frozen=True):
    """Never: a bounce goes to the sender."""
