# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
import re
import tomllib

from mailspool.config.explain import options
from mailspool.config.generated import ROOT, stale
from mailspool.config.load import load, make
from mailspool.config.sample import SECTIONS, docs, files, main, sample


def test_the_sample_with_every_comment_sign_removed_is_the_default_configuration(tmp_path):
    text = re.sub(r"^#(?=\w)", "", sample(options()), flags=re.MULTILINE)
    path = tmp_path / "mailspool.toml"
    path.write_text(text)
    assert load(str(path), environ={}) == make()
    assert tomllib.loads(text).keys() == {option.name for option in options()}


def test_the_sample_as_it_is_sets_nothing():
    assert tomllib.loads(sample(options())) == {}


def test_every_option_and_every_section_stands_in_the_documentation():
    text = docs(options())
    assert all(f"### `{option.name}`\n" in text for option in options())
    assert all(f"## {title}\n" in text for title in SECTIONS.values())


def test_the_generated_files_in_the_checkout_are_what_the_schema_says():
    assert list(stale(files(ROOT))) == []
    assert main(["--check"]) == 0


def test_a_missing_or_changed_file_is_stale(tmp_path):
    assert len(list(stale(files(tmp_path)))) == 2
