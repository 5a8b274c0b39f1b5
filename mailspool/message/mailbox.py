# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Address lists as header fields and command lines hold them (RFC 5322 §3.4, obsolete forms of §4.4 included).

Display names, comments, groups and source routes (RFC 5321 appendix C) are taken off; each address left is checked by
`model.address`. A text is read as the grammar says or refused: never is a recipient guessed out of a malformed one.
The time taken is linear, and comments may be nested to any depth.
"""

import re
from collections.abc import Iterator

import msgspec

from mailspool.errors import AddressError
from mailspool.model.address import Address, parse_address

# As texts, and with flags in them: `re` compiles them when they are first needed. A plain address needs only _PLAIN.
_LEXEME = r"""(?x)(?P<space>[ \t\r\n]+)
      | (?P<comment>\()
      | (?P<literal>\[[^\[\]\\]*\])
      | (?P<word>"(?:[^"\\\r\n]|\\[^\r\n])*" | [^ \t\r\n"()<>\[\]:;@\\,.]+)
      | [<>:;@,.]"""
_TO_NEXT_PARENTHESIS = r"(?s)(?:[^()\\]|\\.)*([()])"
_LETTERS = {"space": " ", "comment": " ", "literal": "l", "word": "w"}

# The grammar is a regular one over a text that has one letter for each token: `w` a word, `l` a literal, a blank for
# white space and comments, any other token itself.
_DOMAIN = r"(?:l|w(?: ?\. ?w)*\.?)"
_ADDR_SPEC = rf"w(?: ?\. ?w)*(?: ?@ ?{_DOMAIN})?"
_ROUTE = rf"@ ?{_DOMAIN}(?:[ ,]*@ ?{_DOMAIN})*[ ,]*:"
_ITEM = (
    rf"(?P<group>w[w. ]*:)"
    rf"|(?:(?P<phrase>[w.@ ]*)< ?(?:{_ROUTE} ?)?(?P<angle>{_ADDR_SPEC}) ?>|(?P<plain>{_ADDR_SPEC})) ?(?=[,;]|$)"
    rf"|(?P<end>;)"
    rf"|[, ]"
)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ATOMS = rf"{_ATOM}(?: {_ATOM})*"
_PLAIN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9.-]+").fullmatch


class Mailbox(msgspec.Struct, frozen=True):
    """One address of a list. phrase: the display name without its quotes, encoded words (RFC 2047) as they came.

    completed: it came without a domain.
    """

    phrase: str
    checked: Address
    completed: bool = False

    @property
    def address(self) -> str:
        """local@domain, as an envelope holds it."""
        return str(self.checked)

    @property
    def domain(self) -> str:
        """In lower-case A-labels, or an address literal."""
        return self.checked.domain

    @property
    def host(self) -> str:
        """The domain, by the other name that Mail::Address has for it."""
        return self.checked.domain

    @property
    def name(self) -> str:
        """The display name as a person reads it; the phrase itself where its encoded words cannot be decoded."""
        if "=?" not in self.phrase:
            return self.phrase
        from email.header import decode_header, make_header  # only names that are read pay for it

        try:
            return str(make_header(decode_header(self.phrase)))
        except (LookupError, ValueError):
            return self.phrase

    def format(self) -> str:
        """As it stands in a header field: `"Doe, Jane" <jane@example.org>`, all of it ASCII if the address is."""
        return f"{format_phrase(self.phrase)} <{self.address}>" if self.phrase else self.address


def format_phrase(text: str) -> str:
    """A display name as a phrase: as it is, quoted, or in encoded words (RFC 5322 §3.2.5, RFC 2047 §5)."""
    if not text.isascii():
        from binascii import b2a_base64  # only such names need it

        pieces = (text[start : start + 10].encode(errors="replace") for start in range(0, len(text), 10))
        return " ".join(f"=?utf-8?b?{b2a_base64(piece, newline=False).decode()}?=" for piece in pieces)
    if re.fullmatch(_ATOMS, text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_for_address(line: str, mail_name: str = "") -> list[Mailbox]:
    """The mailboxes of an address list, groups expanded; [] for an empty one.

    mail_name: the domain for an address that has none (`root`). Raises AddressError naming the line and the fault.
    """
    if _PLAIN(line):
        return [Mailbox("", _check(line, mail_name))]  # it has a domain
    item_at = re.compile(_ITEM).match
    tokens = list(_tokens(line))
    grammar = "".join(letter for letter, _ in tokens)
    found, in_group, start = [], False, 0
    while start < len(grammar):
        item = item_at(grammar, start)
        if not item or (item["group"] and in_group) or (item["end"] and not in_group):
            raise _malformed(line, "".join(text for _, text in tokens[start:]))
        in_group = bool(item["group"]) or (in_group and not item["end"])
        if part := "angle" if item["angle"] else "plain" if item["plain"] else "":
            spec = "".join(text for letter, text in tokens[slice(*item.span(part))] if letter != " ")
            phrase = _phrase(tokens[slice(*item.span("phrase"))])
            found.append(Mailbox(phrase, _check(spec, mail_name), "@" not in spec))
        start = item.end()
    if in_group:
        raise _malformed(line, "a group without its semicolon")
    return found


def _tokens(line: str) -> Iterator[tuple[str, str]]:
    """(letter, text) of each token; white space and comments that touch are one token."""
    token_at = re.compile(_LEXEME).match
    start, blank = 0, False
    while start < len(line):
        token = token_at(line, start)
        if not token:
            raise _malformed(line, line[start:])
        start = _comment_end(line, token.end()) if token["comment"] else token.end()
        letter = _LETTERS.get(token.lastgroup or "", token[0])
        if letter != " " or not blank:
            yield letter, " " if letter == " " else token[0]
        blank = letter == " "


def _comment_end(line: str, start: int) -> int:
    depth = 1
    while depth:
        part = re.compile(_TO_NEXT_PARENTHESIS).match(line, start)
        if not part:
            raise _malformed(line, "a comment without its end")
        depth += 1 if part[1] == "(" else -1
        start = part.end()
    return start


def _phrase(tokens: list[tuple[str, str]]) -> str:
    words = (re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text for _, text in tokens)
    return "".join(words).strip(" ")


def _check(spec: str, mail_name: str) -> Address:
    qualified = f"{spec}@{mail_name}" if mail_name and "@" not in spec else spec
    return parse_address(qualified)


def _malformed(line: str, where: str) -> AddressError:
    return AddressError(f"{line[:200]!r} is not a list of addresses (RFC 5322 §3.4): cannot read {where[:80]!r}")
