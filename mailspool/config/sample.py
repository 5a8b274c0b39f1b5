# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Writes `etc/mailspool.toml` and `docs/configuration.md` out of the schema: `python -m mailspool.config.sample`.

With --check it writes nothing and ends with 1 if one of them is not what it would write.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from mailspool.config.explain import Option, options, toml
from mailspool.config.generated import ROOT, write_or_check

SECTIONS = {
    "dequeue_dir": "The spool",
    "run_dir": "The daemon",
    "hostname": "Names and messages",
    "smarthost": "Where mail goes",
    "delivery_timeout": "How long things may take",
}
"""Each section by its first option."""

SAMPLE_HEAD = """\
# The configuration of mailspool: /etc/mailspool/mailspool.toml, or the file that $MAILSPOOL_CONFIG names.
# Each option stands here with its default. What you change may also stand in files of its own, conf.d/NAME.toml.
# Durations: "90s", "30m", "1h30m", "5d". Sizes: "10 MB" is 10,000,000 octets; "10 MiB", or "10M", is 10,485,760.
# "mailspool check" finds every fault in it; "mailspool reload" makes the daemon read it again.
"""

DOCS_HEAD = """\
# Configuration

<!-- Written by `python -m mailspool.config.sample` out of mailspool/config/schema.py: change it there. -->

Nothing need be configured: every option has a default. What you set may stand in these places; later ones win:

1. `/etc/mailspool/mailspool.toml`, written in TOML (https://toml.io). `-c FILE` names another file, and so does
   `$MAILSPOOL_CONFIG`.
2. `conf.d/*.toml` beside that file (whichever it is), in the order of their names. Hidden files and other endings do
   not count. The directory must belong to root or to the owner of the file, and not everybody may write to it.
3. The environment: `MAILSPOOL_MAX_AGE=2d` sets `max_age`. A name that is no option is refused, but what begins
   with `MAILSPOOL_REQUIRE_`, `MAILSPOOL_BENCH_` (our tests'), `MAILSPOOL_SERVICE_` or
   `MAILSPOOL_PORT` (which Kubernetes sets for a service called mailspool) is left alone.
4. The command line: `-o max_age=2d`, `-o routes.example.org=mx.example.net`.
5. A program's own properties: `Spool(max_age="2d")`.

In 3 and 4 a value is written as in TOML; what is no TOML is a text as it stands. Tables, such as `routes`, are merged
key by key, so that a file of `conf.d` can add a route. An option must stand above the first line in brackets
(`[routes]`): what is below such a line belongs to that table.

**Durations** are numbers of seconds, or texts: `"90s"`, `"30m"`, `"1h30m"`, `"1.5h"`, `"5d"`, `"2w"`. **Sizes** are
numbers of octets, or texts: `kB`, `MB`, `GB`, `TB` are powers of 1000; `KiB`, `MiB`, `GiB`, `TiB` and the bare letters
`k`, `M`, `G`, `T` are powers of 1024, as for GNU's tools. Capitals and spaces make no difference.

A configuration with a fault is never used, not even where a later place hides the fault. All faults are told at once,
each with file and line, what was found and what is allowed; the program ends with 78 (`EX_CONFIG`), or with 77
(`EX_NOPERM`) where it may not read a file, and a running daemon keeps what it has.

- `mailspool check` finds every fault, in the files and in the spool's directories, before a daemon does.
- `mailspool config` shows what counts and where it comes from, `mailspool config --changed` only what somebody has set.
- `mailspool config explain KEY` tells all there is to know of one option.
- `mailspool reload`, or a HUP, makes the daemon read everything again. Options that say so keep their value until it is
  started anew.
"""


def sample(all_options: Sequence[Option]) -> str:
    """etc/mailspool.toml: every option commented out at its default."""
    lines = [SAMPLE_HEAD]
    for option in all_options:
        if option.name in SECTIONS:
            lines.append(f"\n## {SECTIONS[option.name]}\n")
        lines += [f"# {line}" for line in wrap(f"{option.help} {_restart(option)}".strip(), 100)]
        lines.append(f"#{option.name} = {toml(option.default, option.unit)}\n")
    return "\n".join(lines)


def docs(all_options: Sequence[Option]) -> str:
    """docs/configuration.md."""
    lines = [DOCS_HEAD]
    for option in all_options:
        if option.name in SECTIONS:
            lines.append(f"## {SECTIONS[option.name]}\n")
        lines.append(f"### `{option.name}`\n")
        lines += wrap(f"{option.help} {_restart(option)}".strip(), 110)
        allowed = option.allowed[0].upper() + option.allowed[1:]
        lines.append(f"\n{allowed}; default `{toml(option.default, option.unit)}`.\n")
    return "\n".join(lines)


def _restart(option: Option) -> str:
    return "A change needs a restart." if option.restart else ""


def files(root: Path) -> Mapping[Path, str]:
    """What each of the generated files is to hold."""
    return {root / "etc/mailspool.toml": sample(options()), root / "docs/configuration.md": docs(options())}


def main(arguments: Sequence[str]) -> int:
    """Write both files where they are stale, or with --check only tell so. Returns the exit code."""
    return write_or_check(files(ROOT), arguments, "mailspool.config.sample")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
