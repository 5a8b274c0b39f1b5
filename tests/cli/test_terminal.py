# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What takes long shows how far it is, on terminals only, and loses nothing on the way."""

import io

import pytest

from mailspool.cli import terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("error", [io.StringIO(), Screen()], ids=["pipe", "terminal"])
def test_every_item_comes_once_with_or_without_a_bar(monkeypatch, error):
    monkeypatch.setattr("sys.stderr", error)
    clock = iter(range(10**6))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock) / 2)
    monkeypatch.setenv("TERM", "xterm")
    assert list(terminal.watched(range(10), "counting")) == list(range(10))
    assert bool(error.getvalue()) is error.isatty()


def test_what_is_quick_shows_no_bar(monkeypatch):
    monkeypatch.setattr("sys.stderr", screen := Screen())
    monkeypatch.setattr(terminal.time, "monotonic", lambda: 0.0)
    assert list(terminal.watched("abc", "counting")) == ["a", "b", "c"]
    assert screen.getvalue() == ""
