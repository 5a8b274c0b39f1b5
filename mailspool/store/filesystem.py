# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""A Store in a directory: nodes are names, and each move of a node is one rename.

docs/spool-format.md lists every state that a node can be in and what is left by a crash between any two steps.
Nothing here is decided by a look beforehand: a step is taken, and its error tells.
"""

# ruff: noqa: PTH100, PTH118, PTH119, PTH120 - paths are strings: pathlib is slow to load, and slow for each node
# ruff: noqa: D102 - the contract in base.py says what each method does

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import lru_cache, partial
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from mailspool.errors import ClaimLost, SpoolError, SpoolForbidden, Unreadable
from mailspool.model.envelope import Envelope, Survey
from mailspool.model.outcome import Attempt
from mailspool.store import fsops, messagefile, nodename
from mailspool.store.base import Batch, Location, State, Store, Stored
from mailspool.store.claim import Owner
from mailspool.store.descriptors import Folder

if TYPE_CHECKING:
    from mailspool.store.folders import Depths
    from mailspool.store.waiting import Waiting

DIRECTORIES = ("incoming", "claimed", "history", "held", "quarantine", "hosts")
BOOT_CLOCK = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds since this host's boot, those in which it slept included; no administrator sets it."""

WRITING_TIME = 86400.0
"""Seconds (24 h) after which who still writes a message gives up: well before others may take it for abandoned
(`recover.ABANDONED`). What comes out of a pipe may take its time: cron's job runs for as long as its mail."""

_CHUNK = 1 << 20
_T = TypeVar("_T")
_More = TypeVarTuple("_More")


class FileStore(Store):
    """root: the spool's directory. owner: whose claims these are, and whose name is on what is being written.

    clock: Unix seconds. boot_clock: see `BOOT_CLOCK`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        owner: Owner,
        clock: Callable[[], float] = time.time,
        boot_clock: Callable[[], float] = BOOT_CLOCK,
    ) -> None:
        parent, name = os.path.split(os.path.abspath(root))  # absolute: a daemon changes its directory
        self.root = os.path.join(os.path.realpath(parent), name)
        self.owner = owner
        self._owner = str(owner)
        self._clock, self._boot_clock = clock, boot_clock
        self._made: set[str] = set()
        self._depths: dict[int, Depths] = {}

    def become(self, owner: Owner) -> None:
        """Claim and write as another owner from now on, in the same directory, without a look at it."""
        self.owner, self._owner, self._made = owner, str(owner), set()

    # --- the house itself

    def create(self, tiers: int) -> None:
        self.check()
        if fsops.make_directory(self.root):
            fsops.sync_directory(os.path.dirname(self.root))
        for directory in (*DIRECTORIES, *map(str, range(tiers))):
            fsops.make_directory(f"{self.root}/{directory}")
        fsops.sync_directory(self.root)

    def check(self) -> None:
        """Raise SpoolError, with the fix, if others could plant their files in the spool, or read ours."""
        try:
            facts = os.lstat(self.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SpoolError(f"cannot look at the spool {self.root}: {error.strerror}") from error
        if not stat.S_ISDIR(facts.st_mode):
            raise SpoolError(f"the spool {self.root} is no directory: name the real one, without symbolic links")
        if facts.st_mode & stat.S_IWOTH:
            raise SpoolError(f"anybody may write to the spool {self.root}: chmod 0700 {self.root}")
        if os.geteuid() not in (0, facts.st_uid):
            raise SpoolForbidden(f"the spool {self.root} belongs to uid {facts.st_uid}: ask again as root")

    def tiers(self) -> list[int]:
        return tiers_in(self.root)

    # --- the way in

    def accept(
        self, envelope: Envelope, chunks: Iterable[bytes], entered: int, state: State = State.QUEUED
    ) -> tuple[str, ...]:
        until = self.writing_ends()
        names = nodename.names_of(envelope, entered)
        directory = _directory(self.root, state, 0)
        if state is not State.QUEUED and fsops.make_directory(directory):
            fsops.sync_directory(os.path.dirname(directory))
        self.publish({self.draft(envelope, chunks, until): names}, directory, until)
        return names

    def batch(self) -> AbstractContextManager[Batch]:
        from mailspool.store.batch import file_batch  # who hands in one message does without

        return file_batch(self)

    def writing_ends(self) -> float:
        """When who begins to write now must have become a node: seconds of the boot clock."""
        return self._boot_clock() + WRITING_TIME

    def draft(
        self,
        envelope: Envelope,
        chunks: Iterable[bytes],
        until: float,
        *,
        synced: bool = True,
        incoming: Folder | None = None,
    ) -> str:
        """Write a message in `incoming`, and return its path. synced: it is durable. Raises SpoolError, with advice."""
        try:
            return self._write(envelope, chunks, until, synced, incoming)
        except SpoolError as error:
            if (advice := self._advice(error.__cause__)) is None:
                raise
            raise SpoolError(f"{error}: {advice}") from error

    def publish(self, drafts: Mapping[str, Sequence[str]], directory: str, until: float) -> None:
        """Make durable drafts nodes under these names, durably, and take the drafts away; or both, if it raises."""
        made = list(drafts)
        try:
            for draft, names in drafts.items():
                for name in names:
                    self._check_time(until)
                    made.append(self._make_node(draft, f"{directory}/{name}"))
            fsops.sync_directory(directory)
        except BaseException as error:
            fsops.discard(reversed(made))
            if isinstance(error, ClaimLost):  # no claim was asked for: whoever settles must not take it for its own
                raise SpoolError(str(error)) from error
            raise
        fsops.discard(drafts)  # accepted: what is left over in incoming/ is swept when this owner has died

    def _advice(self, cause: BaseException | None) -> str | None:
        """What to do about the two faults that a new user meets first."""
        if isinstance(cause, FileNotFoundError):
            return f"there is no spool at {self.root}; starting mailspoold makes it, as does create_dequeue_dirs()"
        if isinstance(cause, PermissionError):
            return f"only root and the owner of {self.root} may hand in mail"
        return None

    def _write(
        self,
        envelope: Envelope,
        chunks: Iterable[bytes],
        until: float,
        synced: bool,
        incoming: Folder | None,
    ) -> str:
        path = self._incoming(envelope.id)
        blank = messagefile.blank_line(envelope)
        survey = Survey(chunks)
        with fsops.new_file(path, synced=synced, folder=incoming) as file:
            fsops.write(file, blank)
            for chunk in survey:
                self._check_time(until)
                fsops.write(file, chunk)
            fsops.rewrite(file, messagefile.envelope_line(envelope, survey.facts(), len(blank)))
        return path

    def _check_time(self, until: float) -> None:
        """Raise SpoolError where it is over: from then on somebody may sweep what we write."""
        if self._boot_clock() > until:
            raise SpoolError(f"the message took longer than {WRITING_TIME / 3600:.0f} hours to write: hand it in again")

    def _make_node(self, written: str, node: str) -> str:
        try:
            fsops.link(written, node)
        except fsops.CannotLink:
            self._copy(written, self._incoming(nodename.node_id_of(os.path.basename(node))), node)
        return node

    def _copy(self, written: str, draft: str, node: str) -> None:
        """A node must never be seen half written, so it is written elsewhere and renamed."""
        file, _ = fsops.open_regular(written)
        with file, fsops.new_file(draft) as copy:
            while chunk := file.read(_CHUNK):
                fsops.write(copy, chunk)
        try:
            fsops.rename_to_new(draft, node)
        except BaseException as error:
            if isinstance(error, ClaimLost) and fsops.is_there(node):  # done and denied: nobody else has this ID.N
                return
            with suppress(SpoolError):
                fsops.unlink(draft)
            raise

    def _incoming(self, name: str) -> str:
        return f"{self.root}/incoming/{name}~{self._owner}"

    # --- looking

    def names(self, tier: int, state: State = State.QUEUED) -> list[str]:
        directory = _directory(self.root, state, tier, self._owner)
        if state is State.QUEUED:
            from mailspool.store import folders  # the way in has none

            return folders.names(directory)
        names = fsops.read_names(directory)
        return [n for n in names if not n.endswith(nodename.REASON)] if state is State.QUARANTINED else names

    def look(self, tier: int, waiting: "Waiting") -> tuple[list[str], int]:
        """Empty folders whose time is over are taken away."""
        from mailspool.store import folders  # as above

        depths = self._depths.setdefault(tier, {})
        return folders.look(_directory(self.root, State.QUEUED, tier), waiting, depths, self._clock())

    def locations(self) -> Iterator[Location]:
        for state, tiers in ((State.QUEUED, self.tiers()), (State.HELD, tiers_in(f"{self.root}/held"))):
            for tier in tiers:
                yield from _located(state, tier, self.names(tier, state))
        for owner in fsops.read_names(f"{self.root}/claimed"):
            yield from self.claims_of(owner)
        yield from _located(State.QUARANTINED, 0, self.names(0, State.QUARANTINED))

    def find(self, message_id: str) -> list[Location]:
        return [at for at in self.locations() if nodename.is_of_message(at.name, message_id)]

    def open(self, location: Location) -> Stored:
        file, size = self._wherever(location, fsops.open_regular)
        try:
            return messagefile.read(file, size, location)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):
                raise SpoolError(f"cannot read {self.path(location)}: {error.strerror}") from error
            raise

    def envelopes(self) -> AbstractContextManager[Callable[[Location], Envelope]]:
        from mailspool.store.envelopes import Envelopes  # who hands in or delivers does without

        return Envelopes(self.place, self.envelope)

    def peek(self, location: Location, octets: int) -> bytes:
        return self._wherever(location, fsops.read, octets)

    # --- moving

    def expect_claims(self, tiers: Iterable[int]) -> None:
        """Make room for claims out of these tiers now, as far as the disk lets us: later it may have no inode left."""
        with suppress(SpoolError):
            for tier in tiers:
                self._make_directory(Location(State.CLAIMED, tier, "", self._owner))

    def claim(self, location: Location, attempt: str) -> Location:
        claim = Location(State.CLAIMED, location.tier, f"{location.node}~{attempt}", self._owner)
        return self._take(location, claim)

    def seal(self, claim: Location) -> Location:
        return self._take(claim, Location(claim.state, claim.tier, nodename.sealed(claim.name), claim.owner))

    def _take(self, source: Location, claim: Location) -> Location:
        target = self._path_made(claim)
        try:
            self._wherever(source, fsops.rename, target)
        except ClaimLost:
            # NFS may deny what it did when the request was repeated: only the unique name knows whose the node is.
            if not fsops.is_there(target):
                raise
        return claim

    def move(self, source: Location, target: Location) -> Location:
        to = self._path_made(target)
        self._wherever(source, self._rename_to_new, to, target)
        if source.state is State.QUARANTINED:
            self._forget_reason(source)
        return target

    def _rename_to_new(self, path: str, to: str, target: Location) -> None:
        if target.tier and (direct := self.elsewhere(target)):
            from mailspool.store import folders  # the way in has none

            folders.enter(path, to, direct)
        else:
            fsops.rename_to_new(path, to)

    def delete(self, location: Location) -> None:
        self._wherever(location, fsops.unlink)
        if location.state is State.QUARANTINED:
            self._forget_reason(location)
        if _may_have_failed(location):
            with suppress(SpoolError):  # the node has ended; a history left over is swept
                fsops.unlink(self._history(nodename.node_id_of(location.name)))

    def quarantine(self, location: Location, reason: str) -> Location:
        for name in nodename.quarantine_names(location.node or location.name):
            target = Location(State.QUARANTINED, 0, name)
            path = self._path_made(target)
            with suppress(fsops.Exists):
                self._wherever(location, self._quarantine_as, path, reason)
                return target
        raise AssertionError  # there is always another name

    def _quarantine_as(self, source: str, path: str, reason: str) -> None:
        _write_reason(path, reason)
        try:
            fsops.rename_to_new(source, path)
        except BaseException:
            with suppress(SpoolError):
                fsops.unlink(path + nodename.REASON)
            raise

    def reason(self, location: Location) -> str:
        try:
            return fsops.read(self.path(location) + nodename.REASON).decode(errors="replace").rstrip("\n")
        except (ClaimLost, Unreadable):
            return ""

    def explain(self, location: Location, reason: str) -> None:
        """Write down why something is in quarantine that came there without. Raises Exists if somebody was first."""
        _write_reason(self.path(location), reason)

    def _forget_reason(self, location: Location) -> None:
        with suppress(SpoolError):
            fsops.unlink(self.path(location) + nodename.REASON)

    # --- history

    def record(self, node_id: str, attempts: Sequence[Attempt]) -> None:
        from mailspool.store import history  # the way in has none

        history.append(self._history(node_id), attempts)

    def history(self, node_id: str) -> list[Attempt]:
        from mailspool.store import history  # the way in has none

        return history.read(self._history(node_id))

    def tried(self) -> Collection[str]:
        return frozenset(fsops.read_names(f"{self.root}/history"))

    def _history(self, node_id: str) -> str:
        return f"{self.root}/history/{_safe(node_id)}"

    # --- recovering

    def recover(self) -> list[Location]:
        from mailspool.store import recover  # only who starts

        moved = recover.recover(self, self.root, self.owner, self._clock())
        recover.sweep_histories(self, self.root)
        return moved

    def claims(self, attempt_prefix: str) -> list[Location]:
        return [at for at in self.claims_of(self._owner) if nodename.split_claim(at.name)[1].startswith(attempt_prefix)]

    def claims_of(self, owner: str) -> Iterator[Location]:
        for tier in tiers_in(f"{self.root}/claimed/{owner}"):
            yield from _located(State.CLAIMED, tier, fsops.read_names(f"{self.root}/claimed/{owner}/{tier}"), owner)

    # --- paths

    def path(self, location: Location) -> str:
        """Where a location is on disk. Raises Unreadable for a name that would lead out of its directory.

        Of a node that is nowhere: where it would be put by hand.
        """
        path, other = self.place(location), self.elsewhere(location)
        return next(filter(fsops.is_there, (path, other)), min(path, other, key=len)) if other else path

    def place(self, location: Location) -> str:
        """The path to which it is moved. Raises Unreadable."""
        state, tier, name, owner = location
        begin = nodename.beginnings(name) if tier and state is State.QUEUED else ""
        return f"{_folder(self.root, state, tier, owner, begin)}/{_safe(name)}"

    def elsewhere(self, location: Location) -> str:
        """The other path at which a node in a tier may stand, "" if there is none. Raises Unreadable."""
        state, tier, name, owner = location
        other = nodename.elsewhere(tier, _safe(name)) if state is State.QUEUED else ""
        return other and f"{_directory(self.root, state, tier, owner)}/{other}"

    def _wherever(self, location: Location, act: Callable[[str, *_More], _T], *more: *_More) -> _T:
        """Do it at the path where it is: `act(path, *more)`.

        A claim is lost only if its name is gone: else it would stay claimed, and nobody would know. ENOENT may mean the
        directory to move to, and NFS says ESTALE of more than what is gone. Raises ClaimLost; SpoolError for such.
        """
        path = self.place(location)
        try:
            return act(path, *more)
        except ClaimLost as lost:
            if location.state is State.CLAIMED and fsops.is_there(path):
                raise SpoolError(f"{lost}, but it is there") from lost
            if not (other := self.elsewhere(location)):
                raise
        return act(other, *more)

    def _path_made(self, target: Location) -> str:
        """The path of a place to move to, its directory made if we have not seen it yet."""
        if _directory(self.root, target.state, target.tier, target.owner) not in self._made:
            self._make_directory(target)
        return self.place(target)

    def _make_directory(self, target: Location) -> None:
        directory = _directory(self.root, target.state, target.tier, target.owner)
        if target.state is State.CLAIMED:
            fsops.make_directory(os.path.dirname(directory))
        fsops.make_directory(directory)
        self._made.add(directory)


@lru_cache(1000)  # asked for with each look at a node, of which many stand together
def _folder(root: str, state: State, tier: int, owner: str, begin: str) -> str:
    """Where a node stands whose TIME and ID begin so; "" where that does not matter."""
    directory = _directory(root, state, tier, owner)
    return f"{directory}/{begin}" if nodename.is_folder(begin) else directory


@lru_cache(1000)  # asked for six times for each message
def _directory(root: str, state: State, tier: int, owner: str = "") -> str:
    match state:
        case State.QUEUED:
            return f"{root}/{tier}"
        case State.CLAIMED:
            return f"{root}/claimed/{_safe(owner)}/{tier}"
        case State.HELD:
            return f"{root}/held/{tier}"
        case State.QUARANTINED:
            return f"{root}/quarantine"


def _located(state: State, tier: int, names: Iterable[str], owner: str = "") -> Iterator[Location]:
    """Made without a call for each, as there would be of `Location` itself: a spool may be of a hundred thousand."""
    return map(partial(tuple.__new__, Location), zip(repeat(state), repeat(tier), names, repeat(owner), strict=False))


def tiers_in(directory: str) -> list[int]:
    """The tiers whose directories stand in this one, ascending."""
    return sorted(int(name) for name in fsops.read_names(directory) if name.isdecimal() and str(int(name)) == name)


def _write_reason(path: str, reason: str) -> None:
    with fsops.new_file(path + nodename.REASON) as file:
        fsops.write(file, reason.encode(errors="backslashreplace") + b"\n")


def _safe(name: str) -> str:
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise Unreadable(f"{name!r} can be no name in a spool")
    return name


def _may_have_failed(location: Location) -> bool:
    """A node that was never tried, or delivered at once, has no history: it is spared the look for one."""
    return location.state is not State.CLAIMED or location.tier > 0 or location.name.startswith("0-")
