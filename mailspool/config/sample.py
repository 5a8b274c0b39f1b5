# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Writes `etc/mailspool.toml` and `docs/configuration.md` out of the schema: `python -m mailspool.config.sample`.

With --check it writes nothing and ends with 1 if one of them is not what it would write.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from mailspool.config.explain import Option, options

ROOT = Path(__file__).parents[2]

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
# Each option stands here with its default. A HUP makes the daemon read the file again.
"""

DOCS_HEAD = """\
# Configuration

<!-- Written by `python -m mailspool.config.sample` out of mailspool/config/schema.py: change it there. -->

mailspool reads `/etc/mailspool/mailspool.toml`, or the file that `$MAILSPOOL_CONFIG` or the command line names. It is
written in TOML and need not exist: every option has a default. `NAME=VALUE` on a command line wins over the file.

A configuration with a fault is never used. All its faults are told at once, each with file and line; the program ends
with 78 (`EX_CONFIG`), and a running daemon keeps what it has.

A HUP makes the daemon read the file again. Options that say so keep their value until it is started anew.
"""


def sample(all_options: Sequence[Option]) -> str:
    """etc/mailspool.toml: every option commented out at its default."""
    lines = [SAMPLE_HEAD]
    for option in all_options:
        if option.name in SECTIONS:
            lines.append(f"\n## {SECTIONS[option.name]}\n")
        lines += [f"# {line}" for line in wrap(f"{option.help} {_restart(option)}".strip(), 100)]
        lines.append(f"#{option.name} = {toml(option.default)}\n")
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
        lines.append(f"\n{allowed}; default `{toml(option.default)}`.\n")
    return "\n".join(lines)


def _restart(option: Option) -> str:
    return "A change needs a restart." if option.restart else ""


def toml(value: object) -> str:
    """A default as it is written in TOML."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else str(int(value))
    return json.dumps(value)


def files(root: Path) -> Mapping[Path, str]:
    """What each of the generated files is to hold."""
    return {root / "etc/mailspool.toml": sample(options()), root / "docs/configuration.md": docs(options())}


def stale(root: Path) -> Iterator[Path]:
    """Those of them that hold something else."""
    for path, text in files(root).items():
        if not path.exists() or path.read_text("utf-8") != text:
            yield path


def main(arguments: Sequence[str]) -> int:
    """Write both files, or with --check tell which are stale. Returns the exit code."""
    if list(arguments) == ["--check"]:
        complaints = [
            f"{path.relative_to(ROOT)} is stale: run `python -m mailspool.config.sample`\n" for path in stale(ROOT)
        ]
        sys.stderr.writelines(complaints)
        return 1 if complaints else 0
    for path, text in files(ROOT).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
