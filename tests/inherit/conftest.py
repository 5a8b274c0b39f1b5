# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Queues of other mail systems, written as their own programs write them."""

import os

import pytest

from mailspool.inherit.source import Source


@pytest.fixture
def folder(tmp_path):
    """Where another mail system has its queue."""
    (tmp_path / "old").mkdir()
    return tmp_path / "old"


@pytest.fixture
def write(folder):
    """write("0/NAME", b"...", at=seconds): one of its files."""

    def write_one(path, content, at=1_007_000_000):
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (at, at))
        return file

    return write_one


@pytest.fixture
def source(folder):
    with Source(str(folder)) as opened:
        yield opened
