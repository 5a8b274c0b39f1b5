# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The files of a checkout that repeat the code: written anew out of it, or, with --check, only compared with it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def stale(files: Mapping[Path, str]) -> Iterator[Path]:
    """Those that do not hold what they should."""
    for path, text in files.items():
        if not path.exists() or path.read_text("utf-8") != text:
            yield path


def write_or_check(files: Mapping[Path, str], arguments: Sequence[str], module: str) -> int:
    """Write what is stale, or with --check tell of it. module: which writes them. Returns the exit code."""
    found = list(stale(files))
    if list(arguments) == ["--check"]:
        sys.stderr.writelines(f"{path.relative_to(ROOT)} is stale: run `python -m {module}`\n" for path in found)
        return 1 if found else 0
    for path in found:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path], "utf-8")
    return 0
