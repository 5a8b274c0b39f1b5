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


def test_each_host_tells_how_long_a_name_takes_to_be_seen_and_opened(find):
    for found in find(listing.delay, hosts=3):
        assert levels(found) == ["ok", "ok"]
        assert [text.split(" within ")[0] for _, text, _ in found] == [
            "what another host makes is seen in its directory, there and back,",
            "what another host makes is opened, once it is seen,",
        ]


def delayed(sees, seconds):
    """A look that remembers for so long that a name was not there."""
    known: dict = {}

    def look(directory, name):
        first = known.setdefault((directory, name), time.monotonic())
        return time.monotonic() - first > seconds and sees(directory, name)

    return look


def test_a_cache_that_remembers_what_was_not_there_is_told(find, monkeypatch):
    monkeypatch.setattr(listing, "LATE", 0.5)
    monkeypatch.setattr(listing, "_opened", delayed(listing._opened, 2.0))
    for found in find(listing.delay, hosts=2):
        (last,) = (each for each in found if "opened" in each[1])
        assert last[0] == "warning"
        assert "lookupcache=positive" in last[2]


def test_directories_that_are_stale_for_a_good_part_of_the_lease_are_a_problem(find, monkeypatch):
    monkeypatch.setattr(listing, "TOO_LATE", 0.2)
    monkeypatch.setattr(listing, "_listed", delayed(listing._listed, 0.3))
    for found in find(listing.delay, hosts=2):
        assert levels(found)[0] == "problem" or levels(found)[1] == "problem"
        assert any("seen in its directory" in text for level, text, _ in found if level == "problem")


def test_a_name_that_is_never_seen_is_an_error_in_time(find, monkeypatch):
    monkeypatch.setattr(listing, "PATIENCE", 0.2)
    monkeypatch.setattr(listing, "_listed", lambda *_: False)
    with pytest.raises(SpoolError, match=r"is not seen within 0.2 s of being made"):
        find(listing.delay, hosts=2)
