# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One mail address (RFC 5321 §4.1.2, RFC 6531), checked once at the door and trusted from then on.

An `Address` cannot hold CR, LF, NUL or any other control character, and is within the limits of RFC 5321
§4.5.3.1. Its domain is in lower case and in A-labels (RFC 5890), or an address literal. Display names and
comments are none of its business: `message.parse` takes them off.
"""

import re
from functools import lru_cache

import msgspec

from mailspool.errors import AddressError

MAX_LOCAL_OCTETS = 64  # RFC 5321 §4.5.3.1.1
MAX_DOMAIN_OCTETS = 255  # RFC 5321 §4.5.3.1.2; a name that DNS can hold has at most 253 (RFC 1035 §2.3.4)
MAX_PATH_OCTETS = 256  # RFC 5321 §4.5.3.1.3, with the angle brackets

# RFC 5321's atext and RFC 6531's additions, told by what they leave out: a class that names them compiles 30 x slower.
_ATOM = r'[^\x00- "(),.:;<>@[\\\]\x7f]+'
_DOT_STRING = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_QUOTED_STRING = r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"'
# Underscores stand in real host names although RFC 1123 knows none; every mail system lets them through.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# As texts: `re` compiles them when they are first needed, which for most programs that hand mail in is never.
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_CONTROL_NAMES = {"\r": "a CR", "\n": "an LF", "\0": "a NUL"}


class Address(msgspec.Struct, frozen=True):
    """A checked address: `local` as it was written, `domain` in lower-case A-labels or as `[literal]`."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


@lru_cache(maxsize=1024)  # each is asked for twice on its way in, a sender for every message
def parse_address(text: str) -> Address:
    """Check `local@domain` (no display name, no angle brackets).

    Raises AddressError naming the address and the fault.
    """
    if fault := control_character(text):
        raise AddressError(f"address {text!r} holds {fault}: remove it")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise AddressError(f"address {text!r} is not of the form local@domain")
    if not (_DOT_STRING.fullmatch(local) or re.fullmatch(_QUOTED_STRING, local)):
        raise AddressError(
            f"address {text!r}: the part before the @ is neither a dot-atom nor a quoted string (RFC 5321 §4.1.2)"
        )
    _check_length(text, "the part before the @", local, MAX_LOCAL_OCTETS, "RFC 5321 §4.5.3.1.1")
    address = Address(local, parse_domain(domain))
    _check_length(text, "the whole address", f"<{address}>", MAX_PATH_OCTETS, "RFC 5321 §4.5.3.1.3")
    return address


def parse_domain(text: str) -> str:
    """The domain in lower-case A-labels, or an address literal in its canonical form. Raises AddressError."""
    if text.startswith("["):
        return _parse_literal(text)
    domain = text.lower().removesuffix(".") if text.isascii() else _to_a_labels(text)
    _check_length(text, "the domain", domain, MAX_DOMAIN_OCTETS - 2, "RFC 1035 §2.3.4")
    if not _DOMAIN.fullmatch(domain):
        raise AddressError(f"{text!r} is not a domain name")
    return domain


def literal_address(domain: str) -> str:
    """The IP address in an address literal, "" for any other domain (RFC 5321 §4.1.3)."""
    if not domain.startswith("["):
        return ""
    return domain[1:-1].removeprefix("IPv6:")


def control_character(text: str) -> str:
    """The name of the first control character in `text` (CR, LF, NUL, …), "" if there is none.

    Surrogates count (they cannot be written as UTF-8), and the two Unicode line separators, at which
    `str.splitlines` and other readers of text end a line.
    """
    if text.isprintable():
        return ""
    found = re.search(_CONTROL, text)
    if not found:
        return ""
    return _CONTROL_NAMES.get(found[0], f"the character U+{ord(found[0]):04X}")


def _check_length(text: str, part: str, value: str, limit: int, source: str) -> None:
    octets = len(value.encode())
    if octets > limit:
        raise AddressError(f"address {text[:80]!r}: {part} has {octets} octets, at most {limit} are allowed ({source})")


def _parse_literal(text: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3)."""
    from ipaddress import AddressValueError, IPv4Address, IPv6Address  # literals are rare: `sendmail` starts without

    try:
        if not text.endswith("]") or "%" in text:  # a scope (RFC 4007 §11) means nothing to other hosts
            raise AddressValueError
        if text[1:6].lower() == "ipv6:":
            return f"[IPv6:{IPv6Address(text[6:-1])}]"
        return f"[{IPv4Address(text[1:-1])}]"
    except AddressValueError:
        raise AddressError(f"{text!r} is not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]") from None


def _to_a_labels(text: str) -> str:
    import idna  # only internationalised domains pay for its tables

    try:
        return idna.encode(text, uts46=True, transitional=False).decode("ascii").lower().removesuffix(".")
    except idna.IDNAError as error:
        raise AddressError(f"{text!r} is not an internationalised domain name: {error}") from None


def is_address(host: str) -> bool:
    """Whether it is an IP address rather than a name."""
    if ":" not in host and not host[-1:].isdigit():  # nearly all are names, and cost nothing
        return False
    from ipaddress import ip_address  # as above

    try:
        ip_address(host)
    except ValueError:
        return False
    return True
