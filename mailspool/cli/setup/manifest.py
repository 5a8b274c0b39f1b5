# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The record of what setup has made, /var/lib/mailspool/setup.json: written before each step, so none is forgotten.

Root alone may write it, and not the daemon's user: what stands in it is deleted, and run, by root.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mailspool.cli.setup.steps import Failed, Step

PATH = "/var/lib/mailspool/setup.json"
VERSION = 1


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    steps: list[Step]


class Manifest:
    """The steps made so far, by their keys, in the order in which they were made."""

    def __init__(self, path: str = PATH) -> None:
        self._path = Path(path)
        self._steps = {step.key: step for step in self._read()}

    def __contains__(self, step: Step) -> bool:
        return step.key in self._steps

    def get(self, step: Step) -> Any:
        """What was made under the key of `step`, of its own type; None if nothing was."""
        mine = self._steps.get(step.key)
        return mine if type(mine) is type(step) else None

    def steps(self) -> list[Step]:
        """The last one first: so they are taken back."""
        return [*self._steps.values()][::-1]

    def add(self, step: Step) -> None:
        """Raises OSError."""
        self._steps[step.key] = step
        self._write()

    def remove(self, step: Step) -> None:
        """With the last step the record itself goes, and its directory if nothing else is in it. Raises OSError."""
        self._steps.pop(step.key)
        if self._steps:
            self._write()
            return
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._path.parent.rmdir()

    def _read(self) -> list[Step]:
        try:
            record = msgspec.json.decode(self._path.read_bytes(), type=_Record)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            raise Failed(f"cannot read {self._path}, the record of what setup has made: {error}") from None
        if record.version != VERSION:
            raise Failed(f"{self._path} was written by another version of mailspool: use that one")
        return record.steps

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_Record(VERSION, [*self._steps.values()]))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
