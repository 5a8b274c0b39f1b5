# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The arguments of MAIL and RCPT as values (RFC 5321 §4.1.1), with their parameters (RFC 1870, 3461, 6152, 6531).

What is no path, no parameter, or not offered is Refused. Whether a path is an address that can be taken is the
policy's to say: `<root>` may be one here.
"""

import re

import msgspec

from mailspool.model.envelope import Recipient
from mailspool.submission.prepare import check_envid, check_notify, check_orcpt, check_ret
from mailspool.submission.reply import Refused

MAX_SIZE_DIGITS = 20  # RFC 1870 §3

_ARGUMENT = re.compile(r'(FROM|TO): ?<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>((?: +[^ ]+)*) *', re.IGNORECASE)
_SOURCE_ROUTE = re.compile(r"@[^:]*:")  # accepted and ignored (RFC 5321 appendix C)
_BODIES = frozenset({"7BIT", "8BITMIME"})


class Transaction(msgspec.Struct, kw_only=True):
    """One mail transaction (RFC 5321 §3.3) as far as it has come.

    client: what it called itself. protocol: for the Received field, as "ESMTP" (RFC 3848). sender: "" for the null
    sender. size: octets as announced, 0 if they were not. ret, envid: RFC 3461 §4.
    """

    client: str
    protocol: str
    sender: str
    size: int = 0
    body: str = ""
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    recipients: list[Recipient] = []  # msgspec makes a new one for each


def read_mail(argument: str, client: str, protocol: str) -> Transaction:
    """What stands behind MAIL. Raises Refused, UsageError."""
    path, parameters = _read(argument, "FROM", "MAIL FROM:<address>")
    size, body = parameters.pop("SIZE", "0"), parameters.pop("BODY", "7BIT").upper()
    if not (size.isascii() and size.isdigit() and len(size) <= MAX_SIZE_DIGITS):
        raise Refused(501, "5.5.4", f"SIZE={size} is no number of octets (RFC 1870)")
    if body not in _BODIES:
        raise Refused(501, "5.5.4", f"BODY={body} is neither 7BIT nor 8BITMIME (RFC 6152)")
    smtputf8 = parameters.pop("SMTPUTF8", None)
    if smtputf8:
        raise Refused(501, "5.5.4", "SMTPUTF8 takes no value (RFC 6531)")
    transaction = Transaction(
        client=client,
        protocol=protocol,
        sender=path,
        size=int(size),
        body=body,
        smtputf8=smtputf8 is not None,
        ret=check_ret(parameters.pop("RET", "")),
        envid=check_envid(parameters.pop("ENVID", "")),
    )
    _refuse_others("MAIL", parameters)
    _check_utf8(transaction, path)
    return transaction


def read_rcpt(argument: str, transaction: Transaction) -> Recipient:
    """What stands behind RCPT. Raises Refused, UsageError."""
    path, parameters = _read(argument, "TO", "RCPT TO:<address>")
    if not path:
        raise Refused(501, "5.1.3", "a recipient cannot be empty: that is RCPT TO:<address>")
    notify = check_notify(parameters.pop("NOTIFY", "").split(",")) if "NOTIFY" in parameters else ()
    orcpt = check_orcpt(parameters.pop("ORCPT", ""))
    _refuse_others("RCPT", parameters)
    _check_utf8(transaction, path)
    return Recipient(path, notify, orcpt)


def _read(argument: str, keyword: str, form: str) -> tuple[str, dict[str, str]]:
    """Path and parameters."""
    found = _ARGUMENT.fullmatch(argument)
    if not found or found[1].upper() != keyword:
        raise Refused(501, "5.5.4", f"that is: {form}")
    parameters: dict[str, str] = {}
    for word in found[3].split():
        name, _, value = word.partition("=")
        if name.upper() in parameters:
            raise Refused(501, "5.5.4", f"{name.upper()} is given twice")
        parameters[name.upper()] = value
    return _SOURCE_ROUTE.sub("", found[2], 1) if found[2].startswith("@") else found[2], parameters


def _refuse_others(command: str, parameters: dict[str, str]) -> None:
    for name in parameters:
        raise Refused(555, "5.5.4", f"{command} has no parameter {name} here")


def _check_utf8(transaction: Transaction, path: str) -> None:
    if not transaction.smtputf8 and not path.isascii():
        raise Refused(553, "5.6.7", "an address that is not ASCII needs SMTPUTF8 behind MAIL (RFC 6531)")
