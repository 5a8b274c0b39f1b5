# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What is compared of a shown output, and what is not: else a document could show anything."""

import pytest

from tests.docs.page import Otherwise, blocks, ids_in

A, B = "0TOX7IG19H3HFVLYKAOJ", "0TOXIA42OXDBSPXJ305O"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["1     1      5s"], "1     1      17m 3s    \n"),
        (["due 2026-11-23 00:50:28, in 29m 56s"], "due 2027-01-02 23:01:02, in 4s\n"),
        (["host mx.example.org[192.0.2.25]:25, after 0.0s"], "host 127.0.0.1[127.0.0.1]:43307, after 12.5s\n"),
        (["…", "second"], "first\nsecond\n"),
        (["…", "second"], "second\n"),
        (["first", "…"], "first\nsecond\nthird\n"),
        (["first", "…", "fourth"], "first\nsecond\nthird\nfourth\n"),
    ],
)
def test_what_differs_from_run_to_run_is_not_compared(shown, printed):
    assert ids_in(shown, printed) == {}


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["1 node held"], "1 node released\n"),
        (["first"], "first\nsecond\n"),
        (["first", "second"], "first\n"),
        (["first", "…", "third"], "first\nsecond\n"),
        (["a.b"], "axb\n"),
        ([f"{A} {A}"], f"{A} {B}\n"),
    ],
)
def test_everything_else_is(shown, printed):
    with pytest.raises(Otherwise):
        ids_in(shown, printed)


def test_a_shown_queue_id_stands_for_the_real_one():
    assert ids_in([f"accepted as {A}", f"{A}.0 tier 1"], f"accepted as {B}\n{B}.1 tier 0\n") == {A: B}


def test_commands_go_on_behind_a_backslash_and_until_the_end_of_a_here_document(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.docs.page.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```console\n$ cat <<END\n$ no command\nEND\nshown\n# one \\\n  two\n```\n")
    (block,) = blocks(page)
    first, second = block.commands
    assert (first.prompt, first.text, first.output) == ("$", "cat <<END\n$ no command\nEND", ["shown"])
    assert (second.prompt, second.text, second.output) == ("#", "one \\\n  two", [])


def test_a_comment_above_a_block_says_what_is_special_about_it(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.docs.page.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- in another terminal -->\n```console\n$ x\n```\n\n"
        "<!-- file: /etc/x; on the file server -->\n```toml\nx = 1\n```\n"
    )
    terminal, file = blocks(page)
    assert (terminal.host, terminal.file, terminal.in_another_terminal) == ("", "", True)
    assert (file.host, file.file, file.in_another_terminal) == ("the file server", "/etc/x", False)
    assert file.commands == []
