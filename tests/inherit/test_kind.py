# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Whose queue a directory is, is told by what is in it, or asked for."""

import pytest

from mailspool.errors import UsageError
from mailspool.inherit.kind import KINDS, kind_of

LAYOUTS = {"mail-spool": ("0", "1", "6"), "nullmailer": ("queue", "tmp", "failed"), "dma": ("flush",)}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_known_even_when_empty(source, folder, name):
    for inside in LAYOUTS[name]:
        (folder / inside).touch() if inside == "flush" else (folder / inside).mkdir()
    kind = kind_of(source)
    assert kind is KINDS[name]
    assert kind.names(source) == []


def test_what_nobody_knows_is_asked_for(source, folder):
    (folder / "new").mkdir()
    with pytest.raises(UsageError, match="no queue that is known here"):
        kind_of(source)


def test_what_looks_like_two_is_asked_for(source, folder):
    for name in ("0", "queue", "tmp"):
        (folder / name).mkdir()
    with pytest.raises(UsageError, match=r"several.*--from mail-spool or nullmailer or dma"):
        kind_of(source)


def test_a_spool_of_our_own_is_not_imported(source, make_spool, folder):
    make_spool(dequeue_dir=str(folder))
    with pytest.raises(UsageError, match="own"):
        kind_of(source)
