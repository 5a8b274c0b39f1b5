# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The record of what setup has made, /var/lib/mailspool/setup.json: written before each step, so none is forgotten.

Root alone may write it, and not the daemon's user: what stands in it is deleted, and run, by root.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mailspool.cli.setup.files import Directory, File, Link
from mailspool.cli.setup.found import Failed
from mailspool.cli.setup.system import Account, Registration

PATH = "/var/lib/mailspool/setup.json"
VERSION = 1

Step = Directory | File | Link | Account | Registration


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    """begun: the key of the last step, as long as nobody knows that it was completed."""

    version: int = VERSION
    steps: list[Step] = []
    begun: str = ""


class Manifest:
    """The steps made so far, by their keys, in the order in which they were made."""

    def __init__(self, path: str = PATH) -> None:
        self._path = Path(path)
        record = self._read()
        self._steps = {step.key: step for step in record.steps}
        self._begun = record.begun

    def get(self, step: Step) -> Any:
        """What was made under the key of `step`, of its own type; None if nothing was.

        Whether a registration was completed nobody can see afterwards: one that was only begun counts as nothing.
        """
        if step.key == self._begun and isinstance(step, Registration):
            return None
        mine = self._steps.get(step.key)
        return mine if type(mine) is type(step) else None

    def steps(self) -> list[Step]:
        """The last one first: so they are taken back."""
        return [*self._steps.values()][::-1]

    def begin(self, step: Step) -> None:
        """It is made next; those before it are complete. Raises OSError."""
        self._steps[step.key], self._begun = step, step.key
        self._write()

    def complete(self) -> None:
        """The last one is made. Raises OSError."""
        self._begun = ""
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

    def _read(self) -> _Record:
        try:
            record = msgspec.json.decode(self._path.read_bytes(), type=_Record)
        except FileNotFoundError:
            return _Record()
        except (OSError, msgspec.MsgspecError) as error:
            raise Failed(f"cannot read {self._path}, the record of what setup has made: {error}") from None
        if record.version != VERSION:
            raise Failed(f"{self._path} was written by another version of mailspool: use that one")
        return record

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        record = _Record(VERSION, [*self._steps.values()], self._begun)
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
