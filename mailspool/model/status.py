# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Enhanced status codes (RFC 3463, registry of RFC 5248): the ones we give ourselves, and reading those of others."""

import re

DELIVERED = "2.0.0"
LOCAL_FAULT = "4.3.0"  # other mail system status: disk, our own bug
NO_ANSWER = "4.4.1"  # no answer from host
BAD_CONNECTION = "4.4.2"  # connection dropped or timed out in the middle
DNS_TROUBLE = "4.4.3"  # directory server failure
NOT_ROUTED = "4.4.4"  # unable to route for now
EXPIRED = "4.4.7"  # delivery time expired
PROTOCOL_ERROR = "4.5.0"
TLS_TROUBLE = "4.7.5"  # cryptographic failure
NO_LOGIN = "4.7.8"  # authentication credentials invalid (RFC 5248): ours, so that it is for us to mend
BAD_DOMAIN = "5.1.2"  # bad destination system address: no such domain
NULL_MX = "5.1.10"  # recipient address has null MX (RFC 7505 §4.2)
TOO_BIG = "5.3.4"  # message too big for system (RFC 1870 §6.3 as used by SIZE)
LOOP = "5.4.6"  # routing loop detected
NO_UTF8_ADDRESS = "5.6.7"  # non-ASCII address and the peer lacks SMTPUTF8 (RFC 6531 §3.5)

LOCAL_FAULTS = frozenset((LOCAL_FAULT, NO_LOGIN))
"""What a message is never given up for before `max_age`: it is not the message's fault, nor its recipient's."""

_LEADING = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:\s|$)")


def parse_status(code: int, text: str) -> str:
    """The status that begins a reply's text, if its class agrees with the reply code (RFC 2034 §4), else "C.0.0"."""
    found = _LEADING.match(text)
    if found and found[1] == str(code)[0]:
        return f"{found[1]}.{int(found[2])}.{int(found[3])}"
    return f"{code // 100}.0.0"


def as_permanent(status: str) -> str:
    """The same status as a final verdict, for a report: 4.4.1 becomes 5.4.1; 4.4.7 stays (RFC 3463 §3.5)."""
    return status if status == EXPIRED else "5" + status[1:]
