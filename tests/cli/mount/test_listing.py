# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""How long a host waits for a name that another made: told by each, for both ways to look."""

import time

import pytest

from mailspool.cli.mount import listing
from mailspool.errors import SpoolError
from tests.cli.mount.conftest import levels


def test_alone_there_is_nothing_to_wait_for(find):
    ((level, text, _),) = find(listing.delay)
    assert (level, text) == ("ok", "not tried with one host alone: --peers does it")


def test_each_host_tells_both_ways(find):
    for found in find(listing.delay, hosts=3):
        assert levels(found) == ["ok", "ok"]
        assert [text.split(" in ")[0] for _, text, _ in found] == [
            "what another host makes is seen by readdir",
            "what another host makes is seen by open",
        ]


def delayed(sees, seconds):
    """A look that remembers for so long that a name was not there."""
    known: dict = {}

    def look(directory, name):
        first = known.setdefault((directory, name), time.monotonic())
        return time.monotonic() - first > seconds and sees(directory, name)

    return look


def test_a_cache_that_remembers_what_was_not_there_is_told(find, monkeypatch):
    monkeypatch.setattr(listing, "LATE", 0.2)
    monkeypatch.setitem(listing._WAYS, "open", delayed(listing._opened, 0.3))
    for found in find(listing.delay, hosts=2):
        assert levels(found) == ["ok", "warning"]
        assert "seen by open in 0." in found[1][1]
        assert "acdirmin" in found[1][2]


def test_one_that_remembers_for_a_good_part_of_the_lease_is_a_problem(find, monkeypatch):
    monkeypatch.setattr(listing, "TOO_LATE", 0.2)
    monkeypatch.setitem(listing._WAYS, "readdir", delayed(listing._listed, 0.3))
    for found in find(listing.delay, hosts=2):
        assert levels(found) == ["problem", "ok"]


def test_a_name_that_is_never_seen_is_an_error_in_time(find, monkeypatch):
    monkeypatch.setattr(listing, "PATIENCE", 0.2)
    monkeypatch.setitem(listing._WAYS, "readdir", lambda *_: False)
    with pytest.raises(SpoolError, match=r"is not seen within 0.2 s of being made"):
        find(listing.delay, hosts=2)
