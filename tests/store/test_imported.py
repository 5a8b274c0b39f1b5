# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""The record of imports outlives what may happen to it, and two never write it at once."""

import pytest

from mailspool.errors import SpoolError
from mailspool.store.imported import FILE, Imported, Record, Stage, read


def record(source, stage=Stage.BEGUN):
    return Record(source, f"ID{source}", 1, stage)


def test_what_was_added_is_there_the_next_time_and_the_last_stage_counts(tmp_path):
    with Imported(str(tmp_path)) as imported:
        imported.add([record("a"), record("b")])
        imported.add([record("a", Stage.ACCEPTED)])
        assert imported.records["a"].stage is Stage.ACCEPTED
    assert read(str(tmp_path)) == {"a": record("a", Stage.ACCEPTED), "b": record("b")}
    with Imported(str(tmp_path)) as imported:
        assert imported.records == read(str(tmp_path))


def test_where_nothing_was_imported_nothing_is_known_and_looking_makes_nothing(tmp_path):
    assert read(str(tmp_path)) == {}
    assert not list(tmp_path.iterdir())


def test_a_torn_line_spoils_no_other(tmp_path):
    with Imported(str(tmp_path)) as imported:
        imported.add([record("a")])
        imported.add([record("b")])
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-9])
    with Imported(str(tmp_path)) as imported:
        imported.add([record("c")])
    assert read(str(tmp_path)).keys() == {"a", "c"}


def test_two_imports_at_once_are_refused(tmp_path):
    with Imported(str(tmp_path)), pytest.raises(SpoolError, match="another import"), Imported(str(tmp_path)):
        raise AssertionError
    with Imported(str(tmp_path)):
        assert read(str(tmp_path)) == {}


def test_a_symbolic_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / FILE).symlink_to("elsewhere")
    with pytest.raises(SpoolError), Imported(str(tmp_path)):
        raise AssertionError
    assert not (tmp_path / "elsewhere").exists()
