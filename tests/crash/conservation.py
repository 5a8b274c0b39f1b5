# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""One life with a fault in it, the next one without, and what is wrong then with where the messages are."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mailspool.errors import MailspoolError
from tests.crash.operations import Operation
from tests.crash.shim import DENY, KILL, Disk, Fault, is_met_by
from tests.crash.world import DEAD, ELSEWHERE, Here, Outside, recovered


def cases_of(fault: Fault, calls: Sequence[str]) -> list[str]:
    """Those calls that can meet the fault."""
    return [call for call in calls if is_met_by(fault, call.partition(" ")[0])]


class Case:
    """An operation in a fresh spool at `root`, by an owner that is dead for whoever comes later."""

    def __init__(self, operation: Operation, root: str) -> None:
        self._operation, self._root = operation, root
        self._outside = Outside()
        self._fault: Fault | None = None
        self._met = ""
        self._raised: BaseException | None = None
        self.calls: list[str] = []
        shutil.rmtree(root, ignore_errors=True)

    def run(self, fault: Fault | None = None, at: int = 0) -> "Case":
        self._fault = fault
        if fault == KILL:
            self._run_in_child(at)
        else:
            self._run(self._outside, at)
        return self

    def _run(self, outside: Outside, at: int) -> None:
        spool = Here.at(self._root, DEAD, outside)
        subject = self._operation.given(spool)
        with Disk(os.path.dirname(self._root), self._fault, at) as disk:
            try:
                self._operation.do(spool, subject)
            except BaseException as error:
                self._raised = error
        self.calls, self._met = disk.calls, disk.met

    def _run_in_child(self, at: int) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                self._run(Outside(lambda line: os.write(writer, f"{line}\n".encode()) and None), at)
            finally:
                os._exit(1)
        os.close(writer)
        with open(reader, encoding="ascii") as lines:
            for line in lines:
                self._outside.hear(line)
        _, status = os.waitpid(child, 0)
        self._met = "killed" if os.WIFSIGNALED(status) else ""

    # --- what is wrong

    def wrong(self) -> list[str]:
        """In words; [] if every promise was kept."""
        return [*self._as_left(), *self._in_the_end()]

    def _as_left(self) -> Iterator[str]:
        if self._fault and not self._met:
            yield "was not met"
        if self._raised and not self._fault:
            yield f"raised {self._raised!r} without a fault"
        if self._raised and not isinstance(self._raised, MailspoolError | ExceptionGroup):
            yield f"raised {self._raised!r}"
        places = Here.at(self._root, DEAD, self._outside).places()
        yield from (f"{node} is {there}" for node, there in places.items() if node and len(there) > 1)
        if self._operation.accepts and self._raised and not self._fault.for_good:
            yield from (f"refused, and left {path}" for path in Path(self._root).rglob("*") if not path.is_dir())
        if self._operation.settles and not self._raised and self._fault != KILL:
            claimed = [node for node, (state, *_) in places.items() if state == "claimed"]
            yield from (f"{n} is claimed, and nobody knows" for n in claimed if n not in self._outside.taken)
        for history in Path(self._root).glob("history/*"):
            if "internal error" in history.read_text():
                yield f"a fault was taken for a bug of ours: {history.read_text()}"

    @property
    def _is_error(self) -> bool:
        return self._fault not in (None, KILL) and not self._fault.for_good

    def _in_the_end(self) -> Iterator[str]:
        before = dict(self._outside.taken)
        try:
            spool = recovered(self._root, self._outside)
        except MailspoolError as error:
            yield f"cannot be recovered: {error}"
            return
        places = spool.places()
        for node, address in self._outside.accepted.items():
            there = [*map(str, places.get(node, []))]
            taken, told = self._outside.taken[node], self._outside.told[address]
            if len(there) + bool(taken + told) != 1 or not set(there) <= set(self._operation.ends):
                yield f"{node} for {address} is {there}, {taken} times taken, {told} times bounced"
            if (told and address.startswith("ok")) or (taken and address.startswith("never")):
                yield f"{node} for {address} got the wrong verdict"
            if taken > 1 + (node in before and self._may_send_again):
                yield f"{node} for {address} was taken {taken} times"
            if told > 2:
                yield f"{address} was bounced {told} times"
        for room in (
            "incoming/*",
            "history/*",
            "claimed/*/*/*",
            f"claimed/{DEAD}",
            f"hosts/{DEAD}*",
            f"hosts/{ELSEWHERE}*",
        ):
            yield from (f"{left} is left" for left in map(str, Path(self._root).glob(room)) if not places)

    @property
    def _may_send_again(self) -> bool:
        """Whoever is killed, or can write no more, between a final dot and its record."""
        return not self._is_error or (self._fault != DENY and self._met.startswith("unlink"))
