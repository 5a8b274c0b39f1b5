# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What an owner says of itself is exchanged whole, and dated by whoever keeps the disk."""

import os
from pathlib import Path

import pytest

from mailspool.errors import Unreadable
from mailspool.store import rollcall
from mailspool.store.rollcall import RollCall

FIRST, SECOND = RollCall("1.0", "00000000", 3, 5.0), RollCall("1.1", "11111111", 4, 6.0)


@pytest.fixture
def hosts(tmp_path):
    (tmp_path / "hosts").mkdir()
    return tmp_path / "hosts"


def test_what_was_said_last_is_read_with_the_files_own_time(hosts):
    rollcall.write(str(hosts.parent), "me", FIRST)
    rollcall.write(str(hosts.parent), "me", SECOND)
    os.utime(hosts / "me~rollcall", (7, 8))
    assert rollcall.read(str(hosts.parent), "me") == (SECOND, 8.0)
    assert os.listdir(hosts) == ["me~rollcall"]


def test_who_never_said_anything_has_said_nothing(hosts):
    assert rollcall.read(str(hosts.parent), "me") is None


def test_one_that_was_cut_short_is_in_nobodys_way(hosts):
    Path(hosts, "me~rollcall.new").write_bytes(b"{")
    rollcall.write(str(hosts.parent), "me", FIRST)
    assert os.listdir(hosts) == ["me~rollcall"]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"version": 1}', b"\xff"])
def test_what_is_no_roll_call_is_said_to_be_none(hosts, text):
    Path(hosts, "me~rollcall").write_bytes(text)
    with pytest.raises(Unreadable, match="is no roll-call"):
        rollcall.read(str(hosts.parent), "me")
