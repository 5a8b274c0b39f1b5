# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What a host asks for in the words of a temporary refusal: fewer messages, or that one comes back after a while.

No RFC has a syntax for it. RFC 3463 §3.5 has a status for congestion (X.4.5), greylisting (RFC 6647) goes by X.7.1 and
by words that say so; how long to wait stands in the text alone, if anywhere. So this reads what Postfix, postgrey,
milter-greylist, rspamd and the large providers write. It is data of a peer, of which nothing but the pace
depends: whether a message is delivered, deferred or given up never does. Only 4yz is read.
"""

import re
from enum import Enum
from typing import NamedTuple

LONGEST = 3600.0
"""Seconds; whoever asks for more is asked again after this."""

SHORTEST = 30.0
"""Seconds; whoever asks for less gets this, since clocks and counters are not exact."""

GREYLISTED = 310.0
"""Seconds after which a greylisted message is tried again where the host does not say when: the usual five minutes."""


class Kind(Enum):
    """What a host asks for."""

    SLOWER = "slower"  # fewer messages, or connections, of all our mail for it
    GREYLISTED = "greylisted"  # this message again, a little later
    LATER = "later"  # the same, for whatever reason


class Hint(NamedTuple):
    """seconds: between SHORTEST and LONGEST; 0.0 if the host does not say how long."""

    kind: Kind
    seconds: float


_TEMPORARY = re.compile(r"4[0-9]{2}(?: (4\.[0-9]{1,3}\.[0-9]{1,3})(?= |$))?(?: |$)")
_CONGESTED = "4.4.5"
_REFUSED = "4.7.1"

_SLOWER = re.compile(
    r"too (?:many|much) (?:\S+ ){0,4}?(?:connections?|sessions?|messages?|e?-?mails?|requests?|deliver|traffic)"
    r"|\brate[- ]?limit|\bthrottl|too (?:fast|quickly|frequent)|slow(?:ing)? down|sending rate|at a rate"
    r"|\b(?:limit|rate|quota) (?:\S+ ){0,3}?exceeded|exceed(?:ed|s|ing)? (?:\S+ ){0,4}?(?:limit|rate)\b|unusual rate"
    r"|temporarily deferred due to|connection limit",
    re.IGNORECASE,
)
_GREY = re.compile(r"gr[ae]y-?list", re.IGNORECASE)
_AGAIN = re.compile(r"try again|retry|come back|resend", re.IGNORECASE)

_WHEN = re.compile(
    r"(?:try|retry|retrying|again|come back|reconnect|resend|wait|later|gr[ae]y-?list\w*|deferred|delayed)\b"
    r"[^0-9.;]{0,30}?\b(?:"
    r"(?P<clock>[0-9]{1,2}(?::[0-9]{2}){1,2})\b"
    r"|(?P<number>[0-9]{1,6})\s*(?P<unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b)",
    re.IGNORECASE,
)
_UNITS = {"s": 1, "m": 60, "h": 3600}


def parse_hint(text: str) -> Hint | None:
    """Read "450 4.7.1 Greylisted, try again in 300 seconds", a reply with its code; None if it asks for nothing."""
    reply = _TEMPORARY.match(text)
    if not reply:
        return None
    seconds = _seconds(text[reply.end() :])
    kind = _kind(text[reply.end() :], reply[1] or "", hinted=seconds > 0)
    if kind is Kind.GREYLISTED:
        seconds = seconds or GREYLISTED
    return Hint(kind, min(max(seconds, SHORTEST), LONGEST) if seconds else 0.0) if kind else None


def _kind(words: str, status: str, *, hinted: bool) -> Kind | None:
    if _GREY.search(words):
        return Kind.GREYLISTED
    if status == _CONGESTED or _SLOWER.search(words):
        return Kind.SLOWER
    if status == _REFUSED and not hinted and _AGAIN.search(words):
        return Kind.GREYLISTED
    return Kind.LATER if hinted else None


def _seconds(words: str) -> float:
    """How long to wait, 0 if it does not say."""
    found = _WHEN.search(words)
    if not found:
        return 0.0
    if found["number"]:
        return float(int(found["number"]) * _UNITS[found["unit"][0].lower()])
    parts = [int(part) for part in found["clock"].split(":")]
    return float(sum(part * 60**power for power, part in enumerate(reversed(parts))))
