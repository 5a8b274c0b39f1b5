# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The command line of `sendmail`: what each option has always meant, after Postfix's sendmail(1).

Options that mean something only to other mail systems are accepted and do nothing; letters that nobody knows are
ignored and named in `Options.ignored`, for the log. It imports nothing, so that handing mail over costs hardly more
than a start of Python.
"""

TYPE_CHECKING = False  # as in `typing`, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any


class Options:
    """What the command line says.

    mode: the letter behind -b, or "q" and what stands behind -q. sender: None where -f is not given. delivery: as
    `Spool.send_mail` has it. config: path of the configuration file, None for the usual one. ignored: unknown letters.
    """

    mode: str = "m"
    recipients: "tuple[str, ...]" = ()
    from_header: bool = False
    ignore_dots: bool = False
    sender: "str | None" = None
    full_name: str = ""
    delivery: str = "Deferred"
    notify: "tuple[str, ...]" = ()
    ret: str = ""
    envid: str = ""
    config: "str | None" = None
    verbose: bool = False
    ignored: str = ""

    def __init__(self, **given: "Any") -> None:
        self.__dict__.update(given)

    @property
    def addressed(self) -> bool:
        """Whether it says to whom, or where that is said."""
        return bool(self.recipients or self.from_header)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in _FIELDS))

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in sorted(self.__dict__.items()))})"


_FIELDS = tuple(Options.__annotations__)

PROGRAMS = {"mailq": "p", "newaliases": "i"}
"""Names under which the program has a mode of its own."""

_FLAGS = "tivIGUcmnsx"
_VALUED = "fFrCNRVboBhLXODMpeAa"  # the value is the rest of the word, or the next one
_ATTACHED = "qd"  # the value is the rest of the word, if there is one

# sendmail's "interactive" keeps what could not be delivered at once, which is our Background; its "background" only
# means that the daemon is told.
_DELIVERY = {"i": "Background"}


def _nothing(_value: str) -> "dict[str, Any]":
    return {}


_MEANING_OF_O: "dict[str, Callable[[str], dict[str, Any]]]" = {
    "i": lambda _: {"ignore_dots": True},
    "d": lambda value: {"delivery": _DELIVERY.get(value[1:], "Deferred")},
}
_MEANING: "dict[str, Callable[[str], dict[str, Any]]]" = {
    "t": lambda _: {"from_header": True},
    "i": lambda _: {"ignore_dots": True},
    "v": lambda _: {"verbose": True},
    "I": lambda _: {"mode": "i"},
    "f": lambda value: {"sender": value},
    "r": lambda value: {"sender": value},
    "F": lambda value: {"full_name": value},
    "C": lambda value: {"config": value},
    "N": lambda value: {"notify": tuple(value.split(","))},
    "R": lambda value: {"ret": value},
    "V": lambda value: {"envid": value},
    "b": lambda value: {"mode": value},
    "q": lambda value: {"mode": f"q{value}"},
    "o": lambda value: _MEANING_OF_O.get(value[:1], _nothing)(value),
}


def parse_arguments(argv: "Sequence[str]") -> Options:
    """The meaning of a command line, the program's name included. Raises UsageError.

    As with sendmail, options end at the first word that is none.
    """
    words = list(argv[1:])
    found: dict[str, Any] = {"mode": PROGRAMS.get(argv[0].rpartition("/")[2], "m")} if argv else {}
    ignored = ""
    for letter, value in _take_options(words):
        if letter not in _FLAGS + _VALUED + _ATTACHED:
            ignored += letter
        # -bd -q15m is one daemon that looks every 15 minutes
        elif not (letter == "q" and found["mode"] == "d"):
            found |= _MEANING.get(letter, _nothing)(value)
    return Options(recipients=tuple(words), ignored=ignored, **found)


def _take_options(words: "list[str]") -> "Iterator[tuple[str, str]]":
    """(letter, value) of each option, taken off the front of `words`."""
    while words and words[0].startswith("-") and words[0] != "-":
        cluster = words.pop(0)[1:]
        if cluster == "-":
            return
        if cluster.startswith("-"):  # as letters, msmtp's --read-recipients would name a sender
            from mailspool.errors import UsageError

            raise UsageError(f"there are no long options: -{cluster} is not known; see sendmail(1)")
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter not in _VALUED + _ATTACHED:
                yield letter, ""
                continue
            if letter in _VALUED and not cluster and not words:
                from mailspool.errors import UsageError  # only who complains pays for it

                raise UsageError(f"option -{letter} needs a value behind it")
            yield letter, cluster or (words.pop(0) if letter in _VALUED else "")
            cluster = ""
