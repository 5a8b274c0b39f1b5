# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Many messages into a directory at once: all are written, then all are made durable, then all become nodes.

The wait for the disk is what one message costs most. Here all share it: one sync of the whole file system makes their
contents durable where that does as much as an fsync of each (`store/syncfs.py`), and one of the tier their names. Until
the first has its name nothing can be seen of any; docs/spool-format.md says what each crash leaves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from mailspool.model.envelope import Envelope
from mailspool.store import fsops, nodename
from mailspool.store.base import Batch
from mailspool.store.descriptors import Folder


class Drafts(Protocol):
    """What a batch asks of its store, a `filesystem.FileStore`."""

    root: str

    def writing_ends(self) -> float:
        """When who begins to write now must have ended: seconds of the store's own clock."""

    def draft(
        self, envelope: Envelope, chunks: Iterable[bytes], until: float, *, synced: bool, incoming: Folder
    ) -> str:
        """Write a message where nobody looks for nodes, and return its path."""

    def publish(self, drafts: Mapping[str, Sequence[str]], directory: str, until: float) -> None:
        """Make durable drafts nodes under these names."""


class FileBatch(Batch):
    """store: where they go. synced: each is durable as soon as it is written. The time to write is one for all.

    incoming: where they are written.
    """

    def __init__(self, store: Drafts, incoming: Folder, *, synced: bool) -> None:
        self._store, self._incoming, self._synced = store, incoming, synced
        self.until = store.writing_ends()
        self.drafts: dict[str, Sequence[str]] = {}  # node names by path

    def accept(self, envelope: Envelope, chunks: Iterable[bytes], entered: int) -> tuple[str, ...]:
        """As `Batch.accept`."""
        names = nodename.names_of(envelope, entered)
        draft = self._store.draft(envelope, chunks, self.until, synced=self._synced, incoming=self._incoming)
        self.drafts[draft] = names
        return names


@contextmanager
def file_batch(store: Drafts) -> Iterator[FileBatch]:
    """See `Store.batch`. Raises SpoolError."""
    with fsops.file_system(store.root) as whole, Folder(f"{store.root}/incoming") as incoming:
        batch = FileBatch(store, incoming, synced=whole is None)
        try:
            yield batch
            if whole is not None and batch.drafts:
                fsops.sync_file_system(whole, store.root)
        except BaseException:
            fsops.discard(batch.drafts)
            raise
        if batch.drafts:
            store.publish(batch.drafts, f"{store.root}/0", batch.until)
