# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Races on a file system that keeps the rules, and on some that do not: each breach is told."""

import os
import shutil
from contextlib import suppress
from functools import partial

import pytest

from mailspool.cli.mount.races import RACES, Tally, judged, onto_itself, race, race_for_links
from mailspool.errors import ClaimLost
from mailspool.store import fsops
from tests.cli.mount.conftest import levels


@pytest.mark.parametrize("kind", RACES.values(), ids=RACES)
@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        (1, "100 had by exactly one of 4 processes on 1 host each, "),
        (3, "300 had by exactly one of 12 processes on 3 hosts each, "),
    ],
)
def test_one_of_many_gets_each(find, kind, hosts, told):
    found = find(partial(race, kind), hosts=hosts)
    for ((level, text, _),) in found if hosts > 1 else [found]:
        assert level == "ok"
        assert text.startswith(told)


def problems(found):
    return [text for level, text, fix in found if level == "problem" and fix]


def test_a_rename_that_copies_is_told(find, monkeypatch):
    rename = fsops.rename

    def copy(source, target):
        if "~rename" in target:
            shutil.copy(source, target)
        else:
            rename(source, target)

    monkeypatch.setattr(fsops, "rename", copy)
    texts = problems(find(partial(race, RACES["rename"])))
    assert any("times it was said to be done, and was not" in text for text in texts)


def test_a_rename_that_gives_it_to_two_is_told(find, monkeypatch):
    rename = fsops.rename

    def link_and_forget(source, target):
        if "~rename" in target:
            shutil.copy(f"{source}.of-all", target)
            with suppress(ClaimLost):
                fsops.unlink(source)
        else:
            rename(source, target)

    def prepare(path):
        for name in (path, f"{path}.of-all"):
            fsops.close(fsops.create(name))

    monkeypatch.setattr(fsops, "rename", link_and_forget)
    texts = problems(find(partial(race, RACES["rename"]._replace(prepare=prepare))))
    assert any("100 of 100 were had by more than one: mail would be sent twice" in text for text in texts)


def test_a_rename_that_loses_the_file_is_told(find, monkeypatch):
    rename = fsops.rename

    def lose(source, target):
        if "~rename" in target:
            fsops.unlink(source)
        else:
            rename(source, target)

    monkeypatch.setattr(fsops, "rename", lose)
    texts = problems(find(partial(race, RACES["rename"])))
    assert any("100 of 100 were had by nobody: mail would be lost" in text for text in texts)


def test_a_rename_that_is_denied_though_done_is_settled_and_counted(find, monkeypatch):
    rename = fsops.rename

    def deny(source, target):
        rename(source, target)
        if "~rename7" in target:
            raise ClaimLost("No such file or directory")

    monkeypatch.setattr(fsops, "rename", deny)
    found = find(partial(race, RACES["rename"]))
    assert levels(found) == ["ok", "warning"]
    assert found[1][1].startswith("11 times it was denied though done")


def test_a_link_that_replaces_is_told(find, monkeypatch):
    def replace(source, target):
        os.link(source, f"{source}.draft")
        os.replace(f"{source}.draft", target)

    monkeypatch.setattr(fsops, "link", replace)
    assert problems(find(partial(race, RACES["link"])))


def test_o_excl_that_is_none_is_told(find, monkeypatch):
    create = fsops.create

    def overwrite(path, _folder=None):
        return open(path, "wb") if "/create" in path and "~" not in path.rpartition("/")[2] else create(path)

    monkeypatch.setattr(fsops, "create", overwrite)
    assert problems(find(partial(race, RACES["create"])))


def test_two_winners_of_two_hosts_are_told_by_both():
    tallies = [[Tally(["a"], 0, [], 1.0)], [Tally(["a", "b"], 0, [], 1.0)]]
    ((level, text, fix),) = judged(["a", "b"], tallies)
    assert (level, text[:35]) == ("problem", "1 of 2 were had by more than one: m")
    assert fix


def test_who_was_told_yes_and_has_nothing_is_told():
    texts = problems(judged(["a"], [[Tally([], 0, ["a"], 1.0)]]))
    assert any("1 times it was said to be done, and was not" in text for text in texts)


def test_without_links_there_is_no_race_for_them(find, monkeypatch):
    def cannot(source, target):
        raise fsops.CannotLink("cannot link: Operation not permitted")

    monkeypatch.setattr(fsops, "link", cannot)
    assert find(race_for_links) == []


def test_onto_another_link_of_itself_nothing_happens(find):
    ((level, text, _),) = find(onto_itself)
    assert level == "ok"
    assert "it does nothing and says yes" in text


def test_onto_itself_must_not_lose_the_file(find, monkeypatch):
    rename = fsops.rename
    monkeypatch.setattr(fsops, "rename", lambda a, b: fsops.unlink(b) if b.endswith("itself~2") else rename(a, b))
    ((level, text, _),) = find(onto_itself)
    assert (level, text) == ("problem", "a file renamed onto another link of itself is gone")
