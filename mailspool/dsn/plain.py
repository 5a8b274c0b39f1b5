# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Foreign text made fit to stand in a report: no line break, no control character, never too long for a line.

Hosts say what they like and reports quote them. Nothing that passed here can start a header field, a part or a
line of its own (RFC 5322 §2.1.1, §2.2).
"""

import re
import textwrap

MAX_OCTETS = 900  # with an indent or a field name before it, still under the 998 of RFC 5322 §2.1.1
WIDTH = 76

_XTEXT = re.compile(r"\+([2-7][0-9A-F])")


def plain(text: str, *, utf8: bool) -> str:
    r"""One line of visible characters, at most about MAX_OCTETS octets; ASCII only unless `utf8`.

    What is not visible is written as RFC 6533 §3 writes it in addresses: `\x{202E}`.
    """
    visible = "".join(map(_visible, text[: MAX_OCTETS + 1]))
    octets = visible.encode("utf-8" if utf8 else "ascii", "backslashreplace")
    if len(octets) > MAX_OCTETS:
        octets = octets[:MAX_OCTETS] + b" [...]"
    return octets.decode(errors="ignore")


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\t\r\n" else f"\\x{{{ord(character):02X}}}"


def fold(text: str, indent: str) -> str:
    """Plain text in lines of WIDTH characters, where its words allow it, each after `indent`; CRLF between them."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\r\n".join(lines)


def decode_xtext(text: str) -> str:
    """ORCPT and ENVID as they were meant (RFC 3461 §4): `+2B` is a plus sign. Only visible ASCII is decoded."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
