# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The record of what setup has made."""

import pytest

from mailspool.cli.setup.files import Directory, File, Link
from mailspool.cli.setup.found import Failed
from mailspool.cli.setup.manifest import Manifest
from mailspool.cli.setup.system import Account, Registration

STEPS = [
    Account("mailspool", "/spool", ("/spool", "/log")),
    Directory("/spool", "mailspool", 0o700, "nothing"),
    File("/etc/file", "/opt/file", "abc", 0o600, yours=True),
    Link("/usr/sbin/sendmail", "/opt/sendmail", vacated=True),
    Registration("alternative", (("one", "two"), ("three",)), (("four",), ())),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "place/setup.json"


def begin(path, steps=STEPS):
    manifest = Manifest(str(path))
    for step in steps:
        manifest.begin(step)
    return manifest


def test_the_steps_are_read_as_they_were_written_the_last_one_first(path):
    begin(path)
    assert Manifest(str(path)).steps() == STEPS[::-1]


def test_with_the_last_step_the_record_goes_and_its_directory(path, tmp_path):
    manifest = begin(path)
    for step in manifest.steps():
        manifest.remove(step)
    assert list(tmp_path.iterdir()) == []
    assert Manifest(str(path)).steps() == []


def test_a_registration_that_was_only_begun_counts_as_none_until_it_is_complete(path):
    manifest = begin(path)
    assert Manifest(str(path)).get(STEPS[-1]) is None
    assert STEPS[-1] in Manifest(str(path)).steps()  # to be taken back, though
    manifest.complete()
    assert Manifest(str(path)).get(STEPS[-1]) == STEPS[-1]


def test_what_stood_under_the_same_name_and_was_another_kind_counts_as_nothing(path):
    assert begin(path).get(Link("/etc/file", "/opt/file")) is None


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "steps": [{"type": "magic"}]}'])
def test_a_record_that_is_not_understood_stops_everything_and_is_left_alone(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(Failed, match=str(path)):
        Manifest(str(path))
    assert path.read_text() == text
