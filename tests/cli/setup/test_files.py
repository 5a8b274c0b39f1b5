# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""What setup makes of files: whole or not at all, never over a stranger's, and taken back only as it was made."""

import pytest

from mailspool.cli.setup.files import Directory, File, Link, sha256_of
from mailspool.cli.setup.found import Found, Kept, Refused
from tests.running import me


@pytest.fixture
def file(tmp_path):
    """A step whose source has come."""
    source = tmp_path / "source"
    source.write_text("ours\n")
    return File(str(tmp_path / "file"), str(source), sha256_of(str(source)), 0o640)


def changed(file, text, tmp_path):
    """The same step of a later version."""
    source = tmp_path / "source2"
    source.write_text(text)
    return File(file.path, str(source), sha256_of(str(source)), file.mode)


def test_a_file_is_made_with_its_mode_and_nothing_beside_it(file, tmp_path):
    assert file.look(None) is Found.MISSING
    file.make(None)
    assert file.look(None) is Found.THERE
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o640
    assert {path.name for path in tmp_path.iterdir()} == {"source", "file"}


def test_a_file_that_has_come_since_the_look_is_not_overwritten(file, tmp_path):
    (tmp_path / "file").write_text("theirs\n")
    with pytest.raises(FileExistsError):
        file.make(None)
    assert (tmp_path / "file").read_text() == "theirs\n"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "file"}


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_strangers_thing_is_refused_by_name(file, tmp_path, kind):
    path = tmp_path / "file"
    match kind:
        case "file":
            path.write_text("theirs\n")
        case "link":
            path.symlink_to(file.source)  # even to the right content: it is not ours to unlink
        case "directory":
            path.mkdir()
    with pytest.raises(Refused, match=f"{path} is there"):
        file.look(None)


def test_an_upgrade_replaces_what_setup_made_and_only_that(file, tmp_path):
    file.make(None)
    later = changed(file, "later\n", tmp_path)
    assert later.look(file) is Found.MISSING
    later.make(file)
    assert (tmp_path / "file").read_text() == "later\n"
    (tmp_path / "file").write_text("theirs\n")
    assert file.look(later) is Found.CHANGED


def test_what_was_changed_is_not_taken_back(file, tmp_path):
    file.make(None)
    (tmp_path / "file").write_text("theirs\n")
    with pytest.raises(Kept):
        file.take_back()
    assert (tmp_path / "file").read_text() == "theirs\n"


def test_what_a_kill_left_of_a_file_is_taken_back_too(file, tmp_path):
    (tmp_path / "file.mailspool-new").write_text("ou")
    file.take_back()
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_a_link_leads_on_to_where_the_programs_have_moved(tmp_path):
    path = tmp_path / "link"
    old, new = Link(str(path), "/old/sendmail"), Link(str(path), "/new/sendmail")
    old.make(None)
    assert (new.look(old), new.look(new)) == (Found.MISSING, Found.CHANGED)
    new.make(old)
    assert str(path.readlink()) == "/new/sendmail"
    with pytest.raises(Kept):
        old.take_back()
    new.take_back()
    assert not path.is_symlink()


def test_of_what_is_in_the_way_of_a_link_only_what_was_moved_before_it_may_be_there(tmp_path):
    path = tmp_path / "link"
    path.write_text("theirs\n")
    with pytest.raises(Refused):
        Link(str(path), "/bin/true").look(None)
    assert Link(str(path), "/bin/true", vacated=True).look(None) is Found.MISSING
    with pytest.raises(FileExistsError):
        Link(str(path), "/bin/true", vacated=True).make(None)


@pytest.mark.parametrize(("holds", "stays"), [("ours", True), ("nothing", False), ("anybody's", True)])
def test_a_directory_goes_with_what_means_nothing_and_stays_for_all_else(tmp_path, holds, stays):
    step = Directory(str(tmp_path / "place"), me(), 0o700, holds)
    step.make(None)
    (tmp_path / "place/0").mkdir()
    (tmp_path / "place/0/node").touch()
    if holds == "ours":
        with pytest.raises(Kept, match="place/0/node is in it"):
            step.take_back()
    else:
        step.take_back()
    assert (tmp_path / "place/0/node").exists() is stays


def test_a_directory_with_nothing_but_directories_goes(tmp_path):
    step = Directory(str(tmp_path / "place"), me(), 0o700)
    step.make(None)
    (tmp_path / "place/claimed/0").mkdir(parents=True)
    step.take_back()
    assert not (tmp_path / "place").exists()
